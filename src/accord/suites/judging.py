"""Pairs asked in both orders, and what that says of the judge."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.judge_bias import JudgeBias
from accord.annotation.tables import Floats
from accord.annotation.win_rates import (
    WinRate,
    agreement_of_orders,
    clustered_standard_error,
    mean_of_orders,
)
from accord.core.interfaces import PairJudge
from accord.core.types import Message, Row
from accord.judges.both_orders import BothOrders
from accord.suites.base import Figure


class TwoOrders(NamedTuple):
    """(N,) probabilities that what was shown first is the better; NaN is an abstention."""

    forth: Floats
    """a was shown first"""
    back: Floats
    """b was shown first"""

    def mean(self) -> Floats:
        """(N,) that a is the better."""
        return mean_of_orders(self.forth, self.back)

    def agreement(self) -> Floats:
        """(N,) 1 or 0 where both orders say so, 1/2 where they differ."""
        return agreement_of_orders(self.forth, self.back)


def ask_both_orders(
    judge: PairJudge,
    prompts: Sequence[Sequence[Message]],
    a: Sequence[str],
    b: Sequence[str],
    columns: Sequence[Row] | None = None,
) -> TwoOrders:
    """Every pair as (a, b) and as (b, a), in one call, so that a judge can batch them.

    Raises:
        ValueError: the judge gave too few numbers, or one outside [0, 1].
    """
    said = BothOrders(judge).judge_pairs(prompts, a, b, columns)
    return TwoOrders(np.array(said.a_first), 1 - np.array(said.b_first))


def win_rate_figure(found: WinRate) -> Figure:
    """A win rate as a suite reports it."""
    return Figure(found.rate, found.low, found.high, found.prompts, found.standard_error)


def bias_figures(bias: JudgeBias) -> dict[str, Figure]:
    """What a judge prefers besides quality: shares, of which 1/2 is no preference."""
    figures = {
        "judge_consistency": Figure(*bias.consistency, bias.pairs),
        "judge_first_share": Figure(*bias.first_share, bias.pairs),
    }
    for name, preference in {"longer": bias.length, "own": bias.own}.items():
        if preference is not None:
            share, low, high = (1 / (1 + np.exp(-x)) for x in preference[:3])
            figures[f"judge_{name}_share"] = Figure(share, low, high, bias.pairs)
    return figures


def mean_figure(values: Floats, clusters: Sequence[Hashable], *, seed: int) -> Figure:
    """The mean of (N,) values, with its interval and error over clusters (prompts)."""
    low, high = cluster_bootstrap(values, clusters, seed=seed)
    error = clustered_standard_error(values, clusters)
    return Figure(float(values.mean()), low, high, len(set(clusters)), error)


def number_or_none(value: float) -> float | None:
    """None for NaN (an abstention), which JSON does not have."""
    return None if np.isnan(value) else float(value)
