"""What a lead watches: gold questions, drift, taste for a side, pace, cost, odd annotators."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from accord.annotation.intervals import wilson_interval
from accord.annotation.tables import Floats, Ints, Votes


class Share(NamedTuple):
    """`hits` of `total`, and the interval of their share; (0, 1) where there is none."""

    hits: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.hits / self.total if self.total else float("nan")


def share(hits: int, total: int, *, level: float = 0.95) -> Share:
    """With Wilson's interval: of right answers to gold questions, say."""
    low, high = wilson_interval(hits, total, level=level) if total else (0.0, 1.0)
    return Share(hits, total, low, high)


def shares_by_annotator(
    annotator: Ints, hit: Ints, *, annotators: int, level: float = 0.95
) -> list[Share]:
    """One share an annotator.

    For gold accuracy, of the answers to gold questions, `hit` where right; for left-bias, of the
    judgements that chose a side, `hit` where it was the left one on the page.

    Args:
        annotator: (N,) places.
        hit: (N,) 1 or 0.
        annotators: how many there are.
        level: of the intervals.
    """
    total = np.bincount(annotator, minlength=annotators)
    hits = np.bincount(annotator, hit, annotators).astype(np.int64)
    return [share(int(h), int(n), level=level) for h, n in zip(hits, total, strict=True)]


def one_sided(shares: Sequence[Share], *, false_alarm: float = 0.05) -> list[bool]:
    """Annotators who prefer a side of the page, where sides are drawn by a fair coin.

    An exact binomial test of 1/2 each, by Holm's procedure (1979): the probability that anybody is
    called so who is not is at most `false_alarm`, however many there are.
    """
    p = np.array([binomtest(s.hits, s.total).pvalue if s.total else 1.0 for s in shares])
    order = np.argsort(p, kind="stable")
    is_below = p[order] <= false_alarm / np.arange(len(p), 0, -1)
    found = np.zeros(len(p), dtype=bool)
    found[order] = np.logical_and.accumulate(is_below)
    return [bool(is_found) for is_found in found]


class DriftAlarm(NamedTuple):
    """A cumulative sum (Page 1954) that rings when somebody's accuracy on gold questions falls.

    S_n = max(0, S_{n-1} + log P(answer | fallen) / P(answer | usual)),  alarm when S_n > limit
    """

    usual: float
    fallen: float
    limit: float

    def sums(self, right: Ints) -> Floats:
        """(..., N) S after every answer, from (..., N) answers, 1 where right, in order of time."""
        gain = np.log(self.fallen / self.usual)
        loss = np.log((1 - self.fallen) / (1 - self.usual))
        steps: Floats = loss + (gain - loss) * (right == 1)
        found: Floats = np.empty(steps.shape)
        total: Floats = np.zeros(steps.shape[:-1])
        for n in range(steps.shape[-1]):
            total = np.maximum(0.0, total + steps[..., n])
            found[..., n] = total
        return found

    def rings_at(self, right: Ints) -> int | None:
        """Place of the first answer at which it rings; None if it never does."""
        above = np.flatnonzero(self.sums(right) > self.limit + _SLACK)
        return int(above[0]) if len(above) else None


_SLACK = 1e-9
"""Sums of the same answers in another order are equal."""


def drift_alarm(
    *, usual: float, fallen: float, questions: int, false_alarm: float = 0.01, seed: int = 0
) -> DriftAlarm:
    """An alarm that rings falsely within so many questions with a probability that was chosen.

    The limit is found by simulating 20,000 annotators who keep their usual accuracy; it is the
    lowest that at most `false_alarm` of them exceed within `questions` answers.

    Args:
        usual: accuracy when all is well, from qualification or the project's mean.
        fallen: accuracy that should be noticed.
        questions: gold questions that an annotator meets in the project.
        false_alarm: probability that an annotator with the usual accuracy rings at all.
        seed: of the simulation.

    Raises:
        ValueError: not 0 < fallen < usual < 1, or there are no questions.
    """
    if not 0 < fallen < usual < 1 or questions < 1:
        raise ValueError(
            f"expected 0 < fallen < usual < 1 and questions, got {fallen}, {usual}, {questions}"
        )
    rng = np.random.default_rng(seed)
    alarm = DriftAlarm(usual, fallen, 0.0)
    highest = np.zeros(_PATHS)
    for begin in range(0, _PATHS, 1000):
        right = (rng.random((1000, questions)) < usual).astype(np.int64)
        highest[begin : begin + 1000] = alarm.sums(right).max(1)
    limit = np.quantile(highest, 1 - false_alarm, method="higher")
    return alarm._replace(limit=float(limit))


_PATHS = 20_000


class Pace(NamedTuple):
    """What an annotator gets done; NaN where nothing was."""

    judgements: int
    hours: float
    per_hour: float
    median_s: float


def pace(seconds: Floats) -> Pace:
    """From (N,) seconds spent on each judgement, without the pauses between them."""
    if not len(seconds):
        return Pace(0, 0.0, float("nan"), float("nan"))
    hours = float(seconds.sum()) / 3600
    per_hour = len(seconds) / hours if hours else float("nan")
    return Pace(len(seconds), hours, per_hour, float(np.median(seconds)))


def cost_per_usable_pair(hours: float, *, hourly_rate: float, usable: int) -> float | None:
    """What was paid, gold questions and surplus votes too, for each pair that training can use.

    None where there is no usable pair yet.
    """
    return hours * hourly_rate / usable if usable else None


class Suspicion(NamedTuple):
    """(annotators,) agreement with the others, in deviations from what it would be among equals,
    NaN for whoever shared no task; and who is suspicious.
    """

    scores: Floats
    is_suspicious: list[bool]


def suspicious(
    votes: Votes, *, seed: int, false_alarm: float = 0.05, shuffles: int = 1000
) -> Suspicion:
    """Annotators who agree with the others less than one of them would: riggers, or careless.

    A vote's agreement is the share of the task's other votes that are the same, less the mean of
    this over all votes for that label: so who says the same of everything gains nothing by its
    being common. Each task's votes are shuffled among its voters, as they might be were all alike;
    scores are in deviations of the shuffles. Below the lowest score of all but `false_alarm` of
    the shuffles somebody is suspicious: among equals, that is the probability of suspecting
    anybody, however many they are (Westfall and Young 1993). Among others the weakest may be
    suspected and mean well: it is a reason to look.

    Args:
        votes: at least one task with two of them.
        seed: of the shuffles.
        false_alarm: probability of suspecting anybody among equals.
        shuffles: how many.

    Raises:
        ValueError: no task has two votes.
    """
    counts = votes.counts()
    votes = votes.where(counts.sum(1)[votes.task] > 1)
    if not len(votes.task):
        raise ValueError("no task has two votes: nobody can be compared")
    rng = np.random.default_rng(seed)
    others = counts.sum(1)[votes.task] - 1
    # Of all votes on a task, those for its labels keep their number whoever gave them, so that a
    # label's mean is the same in every shuffle.
    agreement = (counts[votes.task, votes.label] - 1) / others
    size = np.maximum(np.bincount(votes.label), 1)
    centred = agreement - (np.bincount(votes.label, agreement) / size)[votes.label]
    by_task = np.argsort(votes.task, kind="stable")
    found = np.empty((shuffles + 1, len(votes.annotators)))
    found[0] = votes.mean_by_annotator(centred)
    for n in range(1, shuffles + 1):
        dealt = np.empty_like(centred)
        # Sorted by task, and by a random number within it: a place for each vote's value.
        dealt[by_task] = centred[np.lexsort((rng.random(len(centred)), votes.task))]
        found[n] = votes.mean_by_annotator(dealt)
    spread = found.std(0)
    scores = (found - found.mean(0)) / np.where(spread > 0, spread, np.inf)
    limit = np.quantile(np.nanmin(scores, axis=1), false_alarm, method="lower")
    return Suspicion(scores[0], [bool(score < limit) for score in scores[0]])
