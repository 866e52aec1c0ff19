"""What suites want of a judge, and asking it in both orders."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

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
from accord.core.types import Message, Row
from accord.suites.base import Figure


class PairJudge(Protocol):
    """Says which of two responses is the better; it sees them in the order in which it is asked."""

    @property
    def name(self) -> str:
        """Of the judge in tables and records; another model or wording is another name."""

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """The probability, in [0, 1], that response a, which is shown first, is the better.

        NaN where the judge abstained: never a silent win for anybody.
        """


class RubricJudge(Protocol):
    """Grades single responses on a scale of its own."""

    @property
    def name(self) -> str:
        """As for `PairJudge`."""

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """A grade each, higher is better; NaN where the judge abstained."""


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
    count = len(prompts)
    rows = None if columns is None else [*columns, *columns]
    said = np.array(judge.compare([*prompts, *prompts], [*a, *b], [*b, *a], rows), dtype=float)
    if said.shape != (2 * count,):
        raise ValueError(f"judge {judge.name} gave {said.size} numbers for {2 * count} pairs")
    if ((said < 0) | (said > 1)).any():
        raise ValueError(f"judge {judge.name} gave a probability outside [0, 1]")
    return TwoOrders(said[:count], said[count:])


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
