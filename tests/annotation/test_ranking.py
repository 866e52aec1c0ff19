"""Rankings: planted strengths are found, and the interval holds them as often as it says."""

import numpy as np
import pytest
from scipy.special import expit, logit

from accord.annotation.ranking import Ranking, rank_policies
from accord.annotation.strengths import bradley_terry

PLANTED = np.array([0.0, 0.8, -0.5, 1.5])


def tournament(seed: int, prompts: int = 150, **options: int) -> Ranking:
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    first, second = np.array(pairs * prompts).T
    p = expit(PLANTED[first] - PLANTED[second])
    outcomes = (rng.random(len(p)) < p).astype(float)
    clusters = np.repeat(np.arange(prompts), len(pairs)).tolist()
    return rank_policies(first, second, outcomes, clusters, items=4, baseline=0, seed=1, **options)


def test_two_policies_by_hand() -> None:
    # Three wins of four, a tie counted as half of each: log-odds of 3.5 to 1.5.
    first, second = np.zeros(5, dtype=int), np.ones(5, dtype=int)
    outcomes = np.array([1, 1, 0, 1, 0.5])
    found = rank_policies(first, second, outcomes, range(5), items=2, baseline=1, seed=0)
    assert found.scores[0] == pytest.approx(logit(3.5 / 5), abs=1e-4)
    assert found.win_rates == pytest.approx([0.7, 0.5], abs=1e-4)
    assert (found.scores[1], found.low[1], found.high[1]) == (0, 0, 0)


def test_planted_strengths_are_inside_the_intervals() -> None:
    found = [tournament(seed, resamples=60) for seed in range(15)]
    inside = [(r.low[1:] <= PLANTED[1:]) & (PLANTED[1:] <= r.high[1:]) for r in found]
    assert np.mean(inside) >= 0.75  # 90% is promised; 45 draws that are partly dependent
    assert np.mean([r.scores for r in found], axis=0) == pytest.approx(PLANTED, abs=0.12)
    more = [tournament(0, 600, resamples=60)]
    widths = [np.mean([(r.high - r.low)[1:] for r in rs]) for rs in (found, more)]
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.25)


def test_sums_of_games_are_enough() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.permuted(np.tile(np.arange(3), (60, 1)), axis=1)[:, :2].T
    outcomes = rng.integers(0, 2, 60).astype(float)
    row_by_row = bradley_terry(first, second, outcomes, items=3).scores
    found = rank_policies(first, second, outcomes, range(60), items=3, baseline=2, seed=0)
    assert found.scores == pytest.approx(row_by_row - row_by_row[2], abs=1e-4)


def test_abstentions_count_for_nobody() -> None:
    first, second = np.array([0, 0, 0]), np.array([1, 1, 1])
    some = rank_policies(
        first, second, np.array([1, 0.25, np.nan]), range(3), items=2, baseline=1, seed=0
    )
    assert some.win_rates[0] == pytest.approx(0.625, abs=1e-4)


def test_policies_that_never_met_are_not_ranked() -> None:
    first, second = np.array([0, 2]), np.array([1, 3])
    with pytest.raises(ValueError, match=r"link policies \[2, 3\]"):
        rank_policies(first, second, np.ones(2), range(2), items=4, baseline=0, seed=0)
    with pytest.raises(ValueError, match=r"\[2\]"):
        rank_policies(
            np.array([0, 2]), np.array([1, 0]), np.array([1, np.nan]), range(2),
            items=3, baseline=0, seed=0,
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        rank_policies(first[:1], second[:1], np.array([2.0]), [0], items=2, baseline=0, seed=0)
