"""The adapter, with a package of that name that a test made up."""

import sys
import types
from typing import Any

import pytest

from accord.core.errors import ConfigError
from accord.rewards import detoxify
from accord.rewards.detoxify import DetoxifyReward
from accord.rewards.functions import FunctionReward


class Fake:
    def __init__(self, variant: str, device: str) -> None:
        if variant == "unknown":
            raise KeyError(variant)

    def predict(self, texts: list[str]) -> dict[str, list[float]]:
        return {"toxicity": [0.25 * ("bad" in t) for t in texts], "insult": [0.5 for _ in texts]}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("detoxify")
    package.Detoxify = Fake
    monkeypatch.setitem(sys.modules, "detoxify", package)


def score(reward: Any, texts: list[str]) -> Any:
    none: list[Any] = [[]] * len(texts)
    rows: list[Any] = [{}] * len(texts)
    return reward.score(none, texts, prompt_ids=none, response_ids=none, columns=rows)


def test_absence_is_rewarded(installed: None) -> None:
    scores = score(DetoxifyReward(), ["bad", "good"])
    assert scores.values == [0.75, 1.0] and scores.parts["insult"] == [0.5, 0.5]
    assert score(DetoxifyReward(), []).values == []


def test_it_is_a_reward_function(installed: None) -> None:
    detoxify._original.cache_clear()
    reward: Any = FunctionReward("accord.rewards.detoxify:harmless")
    assert list(score(reward, ["bad", "good"]).values) == [0.75, 1.0]
    detoxify._original.cache_clear()


def test_errors(installed: None) -> None:
    with pytest.raises(ConfigError, match="'unknown' cannot be loaded"):
        DetoxifyReward("unknown")
    with pytest.raises(ConfigError, match="no label 'x'; it has toxicity, insult"):
        score(DetoxifyReward(label="x"), ["a"])


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detoxify", None)
    with pytest.raises(ConfigError, match="pip install detoxify, or train a classifier"):
        DetoxifyReward()
