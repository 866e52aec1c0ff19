"""Pairs that are worth a judgement: known disagreement, propensities that add up, and the stage."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from accord.core.errors import ConfigError
from accord.core.types import Message, PromptRow
from accord.judges.pairing import Pair
from accord.stages.preferences import choosing
from accord.stages.preferences.choosing import choose_pairs
from accord.stages.preferences.config import Config


class Models:
    """Two members who disagree about responses with an x, and agree about the others."""

    def __init__(self, name: str, **_: Any) -> None:
        self.sign = {"up": 1.0, "down": -1.0}[name]

    def read(self, prompts: Sequence[Any], responses: Sequence[str], **_: Any) -> Any:
        members = torch.tensor([[self.sign * 3.0 * text.count("x")] for text in responses])
        return type("Read", (), {"members": members})


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """40 pairs on prompts with no word in common; the models disagree about every fourth."""
    monkeypatch.setattr(choosing, "LearnedReward", Models)
    found = []
    for n in range(40):
        row = PromptRow((Message(role="user", content=f"word{n}"),), {"id": n})
        found.append(Pair(row, "x" if n % 4 == 0 else "y", "z"))
    return found


def config(**values: Any) -> Config:
    return Config.parse({"judgements": ["x"], **values}, where="test")


def test_disagreement_is_judged_first_and_a_fifth_at_random(pairs: list[Pair]) -> None:
    chosen = choose_pairs(pairs, config(max_judged_pairs=10, choose_by=["up", "down"]))
    assert len(chosen) == 10
    numbers = [pair.row.columns["id"] for pair in chosen]
    assert numbers == sorted(numbers)
    drawn = [pair.row.columns["chosen_at_random"] for pair in chosen]
    assert sum(drawn) == 2
    assert all(n % 4 == 0 for n, random in zip(numbers, drawn, strict=True) if not random)
    assert all(0 < pair.row.columns["propensity"] <= 1 for pair in chosen)
    assert chosen[0].row.columns["id"] == numbers[0]


def test_propensities_are_how_often_a_pair_is_chosen(pairs: list[Pair]) -> None:
    times = np.zeros(40)
    told = np.zeros(40)
    for seed in range(300):
        values = {"max_judged_pairs": 8, "choose_by": ["up", "down"], "random_share": 0.5}
        for pair in choose_pairs(pairs, config(**values, seed=seed)):
            n = pair.row.columns["id"]
            times[n] += 1
            told[n] = pair.row.columns["propensity"]
    assert times / 300 == pytest.approx(told, abs=0.12)
    assert (told > 0).all() and told.sum() == pytest.approx(8)


def test_without_models_all_are_alike(pairs: list[Pair]) -> None:
    chosen = choose_pairs(pairs, config(max_judged_pairs=10))
    assert {pair.row.columns["propensity"] for pair in chosen} == {0.25}
    assert choose_pairs(pairs, config()) == pairs
    assert choose_pairs(pairs, config(max_judged_pairs=40)) == pairs


def test_one_member_cannot_disagree(pairs: list[Pair]) -> None:
    with pytest.raises(ConfigError, match="two of them, or one with members"):
        choose_pairs(pairs, config(max_judged_pairs=3, choose_by=["up"]))


def test_many_prompts_are_compared_in_few_dimensions(pairs: list[Pair]) -> None:
    many = [
        Pair(PromptRow((Message(role="user", content=f"a{n} b{n % 90}"),), {}), "x", "y")
        for n in range(200)
    ]
    assert choosing._features(many, seed=0).shape == (200, 64)
