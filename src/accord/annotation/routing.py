"""Which judgements of a model are left to people: where it is unsure, or others contradict it."""

from typing import NamedTuple

import numpy as np

from accord.annotation.tables import Floats, Ints


class Routed(NamedTuple):
    """Pairs for people, and why."""

    chosen: Ints
    """places, the most doubtful first"""
    doubt: Floats
    """(N,) in [0, 1] of every pair"""
    reasons: list[str]
    """(N,) "abstained", "unsure" or "disagrees"; empty where the judge is believed"""


def route(judge: Floats, models: Floats | None, *, budget: int, least_doubt: float) -> Routed:
    """The most doubtful pairs, within the budget.

        doubt = max(1 - |2 p - 1|, |p - q|)

    p is the judge's probability, q the reward models': 0 where the judge is certain and nobody
    contradicts, 1 where it cannot tell, or they say the opposite. An abstention has doubt 1, and
    comes first.

    Args:
        judge: (N,) probability that the first response is the better; NaN is an abstention.
        models: (N,) the same by an ensemble of reward models; None without one.
        budget: most pairs for people.
        least_doubt: believe the judge below it, though the budget has room.

    Raises:
        ValueError: a budget below 0, or the lengths differ.
    """
    if budget < 0:
        raise ValueError(f"expected a budget of 0 or more, got {budget}")
    if models is not None and len(models) != len(judge):
        raise ValueError(f"expected as many: {len(judge)} by the judge, {len(models)} by models")
    unsure = 1 - np.abs(2 * judge - 1)
    apart = np.zeros(len(judge)) if models is None else np.abs(judge - models)
    is_silent = np.isnan(judge)
    doubt: Floats = np.where(is_silent, 1.0, np.fmax(unsure, apart))
    names = np.select(
        [is_silent, doubt < least_doubt, unsure >= apart],
        ["abstained", "", "unsure"],
        default="disagrees",
    )
    order = np.lexsort((np.arange(len(judge)), ~is_silent, -np.round(doubt, 12)))
    asked = order[doubt[order] >= least_doubt][:budget]
    return Routed(asked.astype(np.int64), doubt, [str(name) for name in names])
