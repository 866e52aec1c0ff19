"""Anchoring: how much more often people say what a model suggests when they are shown it."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from accord.annotation.intervals import wilson_interval
from accord.annotation.monitoring import Share
from accord.annotation.tables import Ints


@dataclass(frozen=True)
class Anchoring:
    """Agreement with a model's suggestions, where they were shown and where they were hidden."""

    shown: Share
    hidden: Share
    effect: tuple[float, float, float]
    """shown less hidden: value, low, high; NaN where either was never tried"""


def anchoring(is_same: Ints, is_shown: Ints, task: Sequence[Hashable]) -> Anchoring:
    """Of votes on tasks whose suggestion was shown or hidden by lot.

    Votes on one task are not independent, so that the intervals count tasks: as wide as if all
    votes on a task were one. They are Wilson's, and the difference's is Newcombe's of them.

    Args:
        is_same: (N,) 1 where the vote says what the model suggested.
        is_shown: (N,) 1 where the voter was shown it.
        task: (N,) which task.

    Raises:
        ValueError: the lengths differ.
    """
    if len({len(is_same), len(is_shown), len(task)}) > 1:
        raise ValueError("expected a task, and whether it was shown, for every vote")
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(name, len(names)) for name in task], dtype=np.int64)
    shown, hidden = (_by_task(is_same[is_shown == arm], index[is_shown == arm]) for arm in (1, 0))
    return Anchoring(shown, hidden, difference(shown, hidden))


def difference(first: Share, second: Share) -> tuple[float, float, float]:
    """A share less another: value, low, high.

    With p and (l, u) each share's value and interval,

        low = d - sqrt((p1 - l1)^2 + (u2 - p2)^2),  high = d + sqrt((u1 - p1)^2 + (p2 - l2)^2)

    Source: Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.
    """
    value = first.value - second.value
    if math.isnan(value):
        return value, value, value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return value, low, high


def _by_task(is_same: Ints, task: Ints) -> Share:
    hits, total = int(is_same.sum()), len(is_same)
    if not total:
        return Share(0, 0, 0.0, 1.0)
    count = len(np.unique(task))
    low, high = wilson_interval(hits / total * count, count)
    return Share(hits, total, low, high)
