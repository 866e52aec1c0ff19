"""Several rewards as one."""

from typing import Any

import pytest
import torch

from accord.core.errors import ConfigError
from accord.rewards.functions import FunctionReward
from accord.rewards.mixed import MixedReward, load_reward


def count_a(completions: list[Any], **_: Any) -> list[float]:
    return [float(c[0]["content"].count("a")) for c in completions]


def length(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(c[0]["content"])) for c in completions]


def score(reward: Any, responses: list[str]) -> Any:
    none: list[list[int]] = [[] for _ in responses]
    rows: list[dict[str, Any]] = [{} for _ in responses]
    prompts = [[{"role": "user", "content": "?"}] for _ in responses]
    return reward.score(prompts, responses, prompt_ids=none, response_ids=none, columns=rows)


def test_the_sum_is_weighted_and_the_parts_are_not() -> None:
    rewards = {"a": FunctionReward(count_a), "length": FunctionReward(length)}
    found = score(MixedReward(rewards, [2.0, -0.5]), ["aab", "xyz"])
    assert found.values == [2.0 * 2 - 0.5 * 3, -1.5]
    assert found.parts == {"a": [2.0, 0.0], "length": [3.0, 3.0]}


def test_config_fields_become_a_reward() -> None:
    def load(functions: list[str], weights: list[float]) -> Any:
        encoder: Any = None  # only reward models read it
        return load_reward(
            [], functions, weights=weights, device=torch.device("cpu"), max_length=8,
            policy_encoder=encoder,
        )  # fmt: skip

    names = [f"{__name__}:count_a", f"{__name__}:length"]
    assert score(load(names[:1], []), ["aa"]).values == [2.0]
    assert score(load(names, []), ["aab"]).values == [5.0]
    assert score(load(names[:1], [3.0]), ["aa"]).values == [6.0]
    with pytest.raises(ConfigError, match="1 reward_weights for 2"):
        load(names, [1.0])
    with pytest.raises(ConfigError, match="named twice"):
        load(names[:1] * 2, [])
    with pytest.raises(ConfigError, match="no reward"):
        load([], [])
