"""Several rewards as one: reward models and functions, added by weight."""

from collections.abc import Sequence

import torch

from accord.core.errors import ConfigError
from accord.core.interfaces import Reward
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.rewards.functions import FunctionReward
from accord.rewards.learned import LearnedReward


def load_reward(
    models: Sequence[str],
    functions: Sequence[str],
    *,
    weights: Sequence[float],
    device: torch.device,
    max_length: int,
    policy_encoder: ChatEncoder,
) -> Reward:
    """What a config's reward fields mean: one reward, or a weighted sum of several.

    Args:
        models: directories or hub names of reward models.
        functions: dotted names.
        weights: of the models, then of the functions; empty means 1 each.
        device: where models score.
        max_length: longest prompt plus response in tokens.
        policy_encoder: what makes the ids of rollouts.

    Raises:
        ConfigError: there is no reward, or not one weight each.
    """
    names = [*models, *functions]
    if not names:
        raise ConfigError("no reward: give reward_model_name_or_path, reward_funcs, or both")
    if weights and len(weights) != len(names):
        raise ConfigError(f"{len(weights)} reward_weights for {len(names)} rewards; give one each")
    if len(set(names)) < len(names):
        raise ConfigError(f"a reward is named twice among {', '.join(names)}; weigh it instead")
    learned = [
        LearnedReward(model, device=device, max_length=max_length, policy_encoder=policy_encoder)
        for model in models
    ]
    rewards: list[Reward] = [*learned, *(FunctionReward(name) for name in functions)]
    if len(rewards) == 1 and not weights:
        return rewards[0]
    return MixedReward(dict(zip(names, rewards, strict=True)), weights or [1.0] * len(rewards))


class MixedReward:
    """sum_k weight_k * score_k of several rewards; `parts` has every addend unweighted."""

    def __init__(self, rewards: dict[str, Reward], weights: Sequence[float]) -> None:
        self.rewards = rewards
        self.weights = list(weights)

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],
    ) -> Scores:
        """Ask every reward once."""
        parts = {
            name: reward.score(
                prompts,
                responses,
                prompt_ids=prompt_ids,
                response_ids=response_ids,
                columns=columns,
            ).values
            for name, reward in self.rewards.items()
        }
        values = [
            sum(weight * value for weight, value in zip(self.weights, row, strict=True))
            for row in zip(*parts.values(), strict=True)
        ]
        return Scores(values, parts=parts)
