"""Several rewards as one: reward models and functions, added by weight."""

import math
import re
from collections.abc import Sequence

import torch

from accord.core.errors import ConfigError, DataError
from accord.core.interfaces import Reward
from accord.core.reward_config import RewardConfig
from accord.core.types import Message, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.rewards.ensemble import EnsembleReward
from accord.rewards.functions import FunctionReward
from accord.rewards.learned import LearnedReward
from accord.rewards.process import ProcessReward


def load_reward(
    config: RewardConfig, *, device: torch.device, max_length: int, policy_encoder: ChatEncoder
) -> Reward:
    """What a config's reward fields mean: one reward, an ensemble, or a weighted sum of several.

    Args:
        config: an ensemble has one weight, the first.
        device: where models score.
        max_length: longest prompt plus response in tokens.
        policy_encoder: what makes the ids of rollouts.

    Raises:
        ConfigError: there is no reward, not one weight each, or an ensemble without a model.
    """
    models, functions = config.reward_model_name_or_path, config.reward_funcs
    weights = config.reward_weights
    names = [*models, *functions]
    if config.reward_ensemble and not models:
        raise ConfigError("reward_ensemble needs reward_model_name_or_path")
    if not names:
        raise ConfigError("no reward: give reward_model_name_or_path, reward_funcs, or both")
    if len(set(names)) < len(names):
        raise ConfigError(f"a reward is named twice among {', '.join(names)}; weigh it instead")
    rewards = _loaded(config, device=device, max_length=max_length, policy_encoder=policy_encoder)
    rewards |= {name: FunctionReward(name) for name in functions}
    if weights and len(weights) != len(rewards):
        raise ConfigError(
            f"{len(weights)} reward_weights for {len(rewards)} rewards; give one each"
        )
    if len(rewards) == 1 and not weights and not functions:
        return next(iter(rewards.values()))
    # Also around a single function, for it may leave responses out.
    return MixedReward(_labelled(rewards), weights or [1.0] * len(rewards))


def _loaded(
    config: RewardConfig, *, device: torch.device, max_length: int, policy_encoder: ChatEncoder
) -> dict[str, Reward]:
    """The models' rewards by name, or the one of their ensemble."""
    stepwise: dict[str, Reward] = {}
    learned: dict[str, LearnedReward] = {}
    for name in config.reward_model_name_or_path:
        of_steps = ProcessReward.load_if_process(name, device=device, max_length=max_length)
        if of_steps:
            stepwise[name] = of_steps
        else:
            learned[name] = LearnedReward(
                name, device=device, max_length=max_length, policy_encoder=policy_encoder
            )
    if not config.reward_ensemble:
        both = {**stepwise, **learned}
        return {name: both[name] for name in config.reward_model_name_or_path}
    if stepwise:
        raise ConfigError(f"{next(iter(stepwise))}: scores steps, and cannot join an ensemble")
    together = EnsembleReward(
        list(learned.values()),
        config.reward_ensemble,
        coefficient=config.reward_uncertainty_coef,
    )
    return {"ensemble": together}


def _labelled(rewards: dict[str, Reward]) -> dict[str, Reward]:
    """By short names, for metrics: of `runs/first/reward/model` what tells it from others."""
    short = [re.sub(r"/model/?$", "", name).rsplit("/", maxsplit=1)[-1] for name in rewards]
    if len(set(short)) < len(short):
        return rewards
    return dict(zip(short, rewards.values(), strict=True))


class MixedReward:
    """sum_k weight_k * score_k of several rewards; `parts` has every addend unweighted.

    A function that returned None for a response has no part in its sum, and stands as NaN among
    the parts. The spreads of those that have one are added as the scores are.
    """

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
        """Ask every reward once.

        Raises:
            DataError: none of the rewards had a score for a response.
        """
        found = {
            name: reward.score(
                prompts,
                responses,
                prompt_ids=prompt_ids,
                response_ids=response_ids,
                columns=columns,
            )
            for name, reward in self.rewards.items()
        }
        parts = {name: scores.values for name, scores in found.items()}
        for name, scores in found.items():
            parts |= {f"{name}/{part}": values for part, values in scores.parts.items()}
        rows = zip(*(scores.values for scores in found.values()), strict=True)
        values = [self._sum(index, row) for index, row in enumerate(rows)]
        spreads = [
            [abs(weight) * value for value in scores.spread]
            for weight, scores in zip(self.weights, found.values(), strict=True)
            if scores.spread is not None
        ]
        spread = [sum(row) for row in zip(*spreads, strict=True)] if spreads else None
        return Scores(values, spread=spread, parts=parts)

    def _sum(self, index: int, row: Sequence[float]) -> float:
        addends = [w * v for w, v in zip(self.weights, row, strict=True) if not math.isnan(v)]
        if not addends:
            raise DataError(
                f"no reward scored response {index}: {', '.join(self.rewards)} all returned None"
            )
        return sum(addends)
