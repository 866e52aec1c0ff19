"""Monitoring: shares by hand, alarms at their stated rates, and riggers that are caught."""

import math

import numpy as np
import pytest

from accord.annotation.intervals import wilson_interval
from accord.annotation.monitoring import (
    DriftAlarm,
    cost_per_usable_pair,
    drift_alarm,
    one_sided,
    pace,
    share,
    shares_by_annotator,
    suspicious,
)
from accord.annotation.tables import Votes


def test_shares_by_hand() -> None:
    annotator, hit = np.array([0, 0, 0, 2, 0]), np.array([1, 1, 0, 1, 0])
    first, none, third = shares_by_annotator(annotator, hit, annotators=3)
    assert (first.hits, first.total, first.value) == (2, 4, 0.5)
    assert (first.low, first.high) == wilson_interval(2, 4)
    assert none[:] == (0, 0, 0.0, 1.0) and math.isnan(none.value)
    assert third.value == 1.0 and third.low < 0.25


def test_who_presses_left_is_found_and_nobody_else() -> None:
    """90 of 120 by chance: never. 72 of 120: one in thirty people or so."""
    fair = [share(60 + i % 7 - 3, 120) for i in range(49)]
    assert one_sided([*fair, share(90, 120)]) == [False] * 49 + [True]
    assert one_sided([*fair, share(30, 120), share(0, 0)]) == [False] * 49 + [True, False]
    assert one_sided([share(72, 120)]) == [True]
    assert not any(one_sided([*fair, share(72, 120)]))


def test_the_chance_of_any_false_left_bias() -> None:
    rng = np.random.default_rng(0)
    crowds = [[share(int(h), 80) for h in rng.binomial(80, 0.5, 30)] for _ in range(150)]
    assert sum(any(one_sided(crowd)) for crowd in crowds) <= 15  # 7.5 at most expected; p < .01


# Drift -------------------------------------------------------------------------------------------


def test_a_cumulative_sum_by_hand() -> None:
    """Usual .8, fallen .4: right adds ln 1/2, wrong adds ln 3; never below 0."""
    alarm = DriftAlarm(0.8, 0.4, limit=2.0)
    right = np.array([1, 0, 1, 0, 0])
    half, three = math.log(2), math.log(3)
    expected = [0, three, three - half, 2 * three - half, 3 * three - half]
    assert alarm.sums(right).tolist() == pytest.approx(expected)
    assert alarm.rings_at(right) == 4
    assert alarm.rings_at(right[:4]) is None


@pytest.mark.parametrize("false_alarm", [0.01, 0.1])
def test_drift_rings_falsely_as_often_as_stated(false_alarm: float) -> None:
    alarm = drift_alarm(usual=0.9, fallen=0.6, questions=100, false_alarm=false_alarm, seed=1)
    rng = np.random.default_rng(2)
    rings = [alarm.rings_at((rng.random(100) < 0.9).astype(int)) is not None for _ in range(2000)]
    assert false_alarm / 3 < np.mean(rings) < false_alarm + 3 * (false_alarm / 2000) ** 0.5


def test_drift_is_noticed() -> None:
    """After forty questions somebody falls to chance: noticed within 25 more, mostly."""
    alarm = drift_alarm(usual=0.9, fallen=0.6, questions=100)
    rng = np.random.default_rng(3)
    accuracy = np.where(np.arange(100) < 40, 0.9, 0.5)
    rings = [alarm.rings_at((rng.random(100) < accuracy).astype(int)) for _ in range(300)]
    assert np.mean([at is not None and 40 <= at < 65 for at in rings]) > 0.9
    with pytest.raises(ValueError, match="fallen < usual"):
        drift_alarm(usual=0.6, fallen=0.9, questions=10)


# Pace and cost -----------------------------------------------------------------------------------


def test_pace_and_cost_by_hand() -> None:
    found = pace(np.array([10.0, 20.0, 60.0]))
    assert (found.judgements, found.hours, found.median_s) == (3, 0.025, 20.0)
    assert found.per_hour == pytest.approx(120.0)
    assert pace(np.array([]))[:2] == (0, 0.0)
    assert cost_per_usable_pair(3.0, hourly_rate=20.0, usable=12) == 5.0
    assert cost_per_usable_pair(3.0, hourly_rate=20.0, usable=0) is None


# Riggers -----------------------------------------------------------------------------------------


def crowd(seed: int, *, honest: int, riggers: int, tasks: int = 150) -> Votes:
    """Honest ones are right four times of five; riggers always say a; five votes a task."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=tasks)
    rows = []
    for task in range(tasks):
        for who in rng.permutation(honest + riggers)[:5]:
            said = truth[task] if rng.random() < 0.8 else 1 - truth[task]
            rows.append((task, int(who), 0 if who >= honest else int(said)))
    return Votes.of(rows, categories=[0, 1])


def test_equals_are_suspected_as_rarely_as_stated() -> None:
    """100 crowds of twenty equals at a tenth: ten are expected to have anybody suspected."""
    found = [
        any(
            suspicious(
                crowd(seed, honest=20, riggers=0, tasks=60), seed=seed, false_alarm=0.1, shuffles=99
            ).is_suspicious
        )
        for seed in range(100)
    ]
    assert 1 <= sum(found) <= 20


def test_riggers_are_caught() -> None:
    """Four of twenty who vote for one side whatever is there, in five crowds: nobody else is."""
    caught, accused = 0, 0
    for seed in range(5):
        votes = crowd(seed, honest=16, riggers=4, tasks=400)
        found = suspicious(votes, seed=seed)
        for name, is_suspicious in zip(votes.annotators, found.is_suspicious, strict=True):
            if is_suspicious:
                caught, accused = caught + (int(str(name)) >= 16), accused + (int(str(name)) < 16)
    assert caught >= 18 and accused == 0


def test_who_shares_no_task_is_not_suspected() -> None:
    rows = [("t", "x", 0), ("t", "y", 0), ("u", "x", 1), ("u", "y", 1), ("v", "z", 0)]
    found = suspicious(Votes.of(rows, categories=[0, 1]), seed=0, shuffles=99)
    assert math.isnan(found.scores[2]) and found.is_suspicious == [False] * 3
    with pytest.raises(ValueError, match="nobody can be compared"):
        suspicious(Votes.of([("t", "x", 0), ("u", "y", 1)]), seed=0)
