"""Votes before and after a critique: rates by hand, and annotators of known trust."""

import numpy as np
import pytest

from accord.annotation.intervals import wilson_interval
from accord.annotation.oversight import gap_recovered, movements, revisions


def test_rates_by_hand() -> None:
    #                  helped, stayed, lost, kept, went over to a third label, was right alone
    before = np.array([1, 1, 0, 0, 1, 0])
    after = np.array([0, 1, 1, 0, 2, 0])
    critique = np.array([0, 0, 1, 1, 0, 0])
    found = revisions(before, after, critique, np.zeros(6, int), np.arange(6), seed=0)
    assert (found.help.hits, found.help.total) == (1, 3)
    assert (found.stubborn.hits, found.stubborn.total) == (1, 3)
    assert (found.over_trust.hits, found.over_trust.total) == (1, 2)
    assert (found.switched.hits, found.accuracy_before.hits, found.accuracy_after.hits) == (3, 3, 3)
    assert found.gain[0] == 0.0
    assert (found.help.low, found.help.high) == wilson_interval(1, 3)
    with pytest.raises(ValueError, match="every vote"):
        revisions(before, after[:2], critique, before, before, seed=0)


def test_trust_is_measured_and_not_the_critiques_quality() -> None:
    """All follow the critique seven times of ten, which is right four times of five."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=4000)
    before, critique = (np.where(rng.random(4000) < p, truth, 1 - truth) for p in (0.7, 0.8))
    after = np.where(rng.random(4000) < 0.7, critique, before)
    found = revisions(before, after, critique, truth, np.arange(4000) // 4, seed=0)
    for rate in (found.help, found.over_trust):
        assert rate.low < 0.7 < rate.high and rate.high - rate.low < 0.1
    assert found.gain[1] < 0.7 * (0.8 - 0.7) < found.gain[2]


def test_movements_by_hand() -> None:
    """Over to it, half way to it, away from it, to another answer as far off, nowhere; and two
    whose critique takes no side, one of them changed."""
    nan = float("nan")
    before = np.array([1.0, 1.0, 0.0, 0.5, 0.0, nan, nan])
    after = np.array([0.0, 0.5, 1.0, 0.5, 0.0, nan, nan])
    found = movements(np.array([1, 1, 1, 1, 0, 1, 0]), before, after)
    assert [share[:2] for share in found] == [(5, 7), (2, 5), (1, 5)]
    with pytest.raises(ValueError, match="every vote"):
        movements(np.array([1]), before, after)


def test_the_share_of_the_gap_by_hand() -> None:
    """Two of four right alone, three with the aid: half of what was missing."""
    alone, aided = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    found = gap_recovered(alone, aided, range(4), seed=0)
    assert (found.alone, found.aided, found.share) == (0.5, 0.75, 0.5)
    assert found.low <= 0.5 <= found.high
    harm = gap_recovered(aided, alone, range(4), seed=0)
    assert harm.share == -1.0
    perfect = gap_recovered(np.ones(3), np.ones(3), range(3), seed=0)
    assert np.isnan(perfect.share)
    with pytest.raises(ValueError, match="as many"):
        gap_recovered(alone, aided[:2], range(4), seed=0)
