"""What a monitor looks at, and what it says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from accord.core.monitors_config import Limits

Level = Literal["ok", "warn", "stop"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "stop")
MOST_OFFENDING = 5
_LARGEST_Z = 1e3


@dataclass(frozen=True)
class Observation:
    """One evaluation: responses to the probe prompts, which are the same at every evaluation.

    All sequences have one entry a response. Where a prompt has several responses, they lie together
    and are `group_size` many.
    """

    step: int
    prompts: Sequence[str]
    responses: Sequence[str]
    lengths: Sequence[int]
    """in tokens"""
    scores: Sequence[float]
    """of the reward that is optimised"""
    kl_nats: Sequence[float] = ()
    """to the reference, a response"""
    entropies: Sequence[float] = ()
    """nats a token"""
    finished: Sequence[bool] = ()
    """False where the response was cut off"""
    gold: Sequence[float] | None = None
    """of a scorer that is not optimised"""
    spreads: Sequence[float] | None = None
    """disagreement of several reward models, in the score's units"""
    mismatched: Sequence[float] | None = None
    """scores of the same responses under another prompt"""
    given_up: Sequence[float] | None = None
    """1 where a right answer was not said again when it was doubted, 0 where it was, NaN where
    there was no right answer"""
    toxicity: Sequence[float] | None = None
    """probabilities by a classifier"""
    response_ids: Sequence[Sequence[int]] = ()
    """tokens, for a reward that changes while the policy learns, and scores them again"""
    group_size: int = 1


@dataclass(frozen=True)
class Reading:
    """What a monitor says of one evaluation.

    `value` is in the monitor's own unit, `z` the change in standard errors of the policy that
    training started from; `offending` are the responses (by index) that show it most.
    """

    name: str
    value: float
    z: float
    level: Level = "ok"
    reason: str = ""
    offending: Sequence[int] = field(default_factory=tuple)
    passed: bool = False
    """beyond the stop limit, also where that stops only when repeated"""


@dataclass
class Point:
    """What is remembered of an evaluation once it has been read."""

    step: int
    score: float
    kl_nats: float
    gold: float | None
    levels: dict[str, Level] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    """monitors whose stop limit was passed, also where they stop only when that is repeated"""


@dataclass
class Memory:
    """What monitors compare with: the start, the best evaluation by gold, and all before now."""

    start: Observation
    best: Observation
    past: list[Point] = field(default_factory=list)
    kept: Observation | None = None
    """the evaluation whose policy comes back"""

    def repeats(self, name: str, times: int) -> bool:
        """Whether a monitor's limit was passed at each of the last `times` - 1 evaluations."""
        last = self.past[len(self.past) - times + 1 :] if times > 1 else []
        return len(last) == times - 1 and all(name in point.passed for point in last)


def reading(
    name: str,
    value: float,
    limits: Limits,
    *,
    z: float,
    min_z: float,
    reason: str,
    measures: npt.ArrayLike = (),
    may_stop: bool = True,
) -> Reading:
    """A reading whose level comes from limits that a rising value passes.

    Args:
        limits: warn and stop.
        min_z: a change of fewer standard errors is no reading.
        reason: said when it warns or stops.
        measures: (N,) how much each response shows it; empty when no response is to blame.
        may_stop: else it only warns, however high.
    """
    if z < min_z or value < limits[0]:
        return Reading(name, value, z)
    passed = value >= limits[1]
    level: Level = "stop" if passed and may_stop else "warn"
    return Reading(name, value, z, level, reason, most(measures), passed)


def most(measures: npt.ArrayLike) -> tuple[int, ...]:
    """Indices of the largest few, largest first."""
    values = np.asarray(measures, dtype=np.float64)
    return tuple(int(i) for i in np.argsort(-values, kind="stable")[:MOST_OFFENDING])


def paired_z(now: npt.ArrayLike, before: npt.ArrayLike, *, group_size: int = 1) -> float:
    """Mean of `now` less `before` over its standard error, paired by prompt.

    Equal everywhere is 0; it is held within 1,000, where all differ by the same.
    """
    change = np.asarray(now, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    by_prompt = change.reshape(-1, group_size).mean(axis=1)
    mean = float(by_prompt.mean())
    if len(by_prompt) < 2 or mean == 0:
        return 0.0
    error = float(by_prompt.std(ddof=1)) / math.sqrt(len(by_prompt))
    return math.copysign(min(_LARGEST_Z, abs(mean) / max(error, 1e-300)), mean)


def mean(values: npt.ArrayLike) -> float:
    """The mean as a float."""
    return float(np.mean(np.asarray(values, dtype=np.float64)))


def worst(name: str, readings: Sequence[Reading]) -> Reading:
    """The one of the highest level under a common name; of equals, the largest |z|."""
    found = max(readings, key=lambda r: (LEVELS.index(r.level), abs(r.z)))
    return replace(found, name=name)
