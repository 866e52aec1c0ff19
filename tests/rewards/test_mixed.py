"""Several rewards as one."""

import math
from typing import Any

import pytest
import torch

from accord.core.errors import ConfigError, DataError
from accord.core.reward_config import RewardConfig
from accord.core.types import Scores
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
        config = RewardConfig(reward_funcs=functions, reward_weights=weights)
        cpu = torch.device("cpu")
        return load_reward(config, device=cpu, max_length=8, policy_encoder=encoder)

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


def only_even(completions: list[Any], **_: Any) -> list[float | None]:
    lengths = [len(c[0]["content"]) for c in completions]
    return [None if n % 2 else 10.0 * n for n in lengths]


def test_a_function_may_leave_responses_to_others() -> None:
    mixed = MixedReward(
        {"even": FunctionReward(only_even), "length": FunctionReward(length)}, [1.0, 2.0]
    )
    found = score(mixed, ["aab", "ab"])
    assert found.values == [6.0, 24.0]
    assert math.isnan(found.parts["even"][0]) and found.parts["even"][1] == 20.0
    alone = RewardConfig(reward_funcs=[f"{__name__}:only_even"])
    encoder: Any = None
    reward = load_reward(alone, device=torch.device("cpu"), max_length=8, policy_encoder=encoder)
    assert score(reward, ["ab"]).values == [20.0]
    with pytest.raises(DataError, match="no reward scored response 1: .*only_even all returned"):
        score(reward, ["ab", "abc"])


def test_spreads_and_parts_of_parts_are_kept() -> None:
    class Doubtful:
        def score(self, prompts: Any, responses: Any, **_: Any) -> Scores:
            count = len(responses)
            return Scores([1.0] * count, spread=[0.5] * count, parts={"kind": [2.0] * count})

    rewards: dict[str, Any] = {"model": Doubtful(), "length": FunctionReward(length)}
    found = score(MixedReward(rewards, [-2.0, 1.0]), ["abc"])
    assert (found.values, found.spread) == ([1.0], [1.0])
    assert found.parts == {"model": [1.0], "length": [3.0], "model/kind": [2.0]}
