"""Reward models that are asked together, so that where they disagree the policy earns less."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from accord.core.types import Message, Row, Scores
from accord.rewards.learned import LearnedReward

Aggregation = Literal["mean", "worst", "uncertainty"]


def aggregated(members: Tensor, aggregation: Aggregation, *, coefficient: float) -> Tensor:
    """(B,) one score a response, from (B, M) scores of M members.

        mean:         mean_m s_m
        worst:        min_m s_m
        uncertainty:  mean_m s_m - coefficient var_m s_m

    Source: Coste et al. 2024, arXiv:2310.02743, section 3.3 (mean, WCO, UWO); the variance is the
    population's.
    """
    if aggregation == "worst":
        return members.min(-1).values
    mean = members.mean(-1)
    if aggregation == "mean":
        return mean
    return mean - coefficient * members.var(-1, correction=0)


def member_margins(
    model: LearnedReward, prompts: Sequence[Sequence[Message]], a: Sequence[str], b: Sequence[str]
) -> Tensor:
    """(N, members) score of response a less score of b, in log-odds."""
    nothing: list[tuple[int, ...]] = [()] * len(prompts)
    sides = [
        model.read(prompts, texts, prompt_ids=nothing, response_ids=nothing).members
        for texts in (a, b)
    ]
    return sides[0] - sides[1]


class EnsembleReward:
    """One score from all members of some reward models, and their disagreement as `spread`.

    A pairwise loss leaves the mean of a member's scores free, and training its scale: so each
    member's scores are standardised by what it scored on its held-out responses, then put into the
    members' mean units. A model that Accord did not train brings no such figures, and enters as it
    is.
    """

    def __init__(
        self, models: Sequence[LearnedReward], aggregation: Aggregation, *, coefficient: float
    ) -> None:
        self.models = list(models)
        self.aggregation = aggregation
        self.coefficient = coefficient
        heads = [model.heads for model in self.models]
        means = [h.means if h else (0.0,) for h in heads]
        stds = [h.stds if h else (1.0,) for h in heads]
        self.means, self.stds = (torch.tensor(sum(v, ())).double() for v in (means, stds))

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """Ask every model once; `spread` is the standard deviation over all members."""
        read = [
            model.read(prompts, responses, prompt_ids=prompt_ids, response_ids=response_ids)
            for model in self.models
        ]
        members = torch.cat([parts.members for parts in read], dim=1)
        members = (members - self.means) / self.stds * self.stds.mean()
        values = aggregated(members, self.aggregation, coefficient=self.coefficient)
        return Scores(values.tolist(), spread=members.std(-1, correction=0).tolist())
