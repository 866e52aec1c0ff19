"""Intervals where the answer is known, and against scipy's."""

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, norm

from accord.annotation.intervals import cluster_bootstrap, wilson_interval


def test_wilson_by_hand() -> None:
    # 1 of 2 at z = 1: centre 1/2, half-width sqrt(1/8 + 1/16) / (3/2) = 0.288675
    level = float(2 * norm.cdf(1) - 1)
    low, high = wilson_interval(1, 2, level=level)
    assert (low, high) == pytest.approx((0.211325, 0.788675), abs=1e-6)


@pytest.mark.parametrize(("wins", "total"), [(0, 5), (5, 5), (3, 10), (170, 200)])
def test_wilson_against_scipy(wins: int, total: int) -> None:
    expected = binomtest(wins, total).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(wins, total) == pytest.approx(tuple(expected), abs=1e-9)


def test_bootstrap_of_two_clusters() -> None:
    # Drawing two of two clusters gives the means 0, 1/2, 1/2, 1: a quarter, a half, a quarter.
    values, clusters = [0, 0, 0, 1, 1, 1], ["x", "x", "x", "y", "y", "y"]
    assert cluster_bootstrap(values, clusters, seed=0) == (0.0, 1.0)
    assert cluster_bootstrap(values, clusters, seed=0, level=0.4) == (0.5, 0.5)


def test_bootstrap_weighs_clusters_by_their_size() -> None:
    # A cluster of one 0 and a cluster of three 1s give 0, 3/4, 3/4 or 1; never 1/2.
    clusters = ["x", "y", "y", "y"]
    assert cluster_bootstrap([0, 1, 1, 1], clusters, seed=0, level=0.4) == (0.75, 0.75)
    assert cluster_bootstrap([0, 1, 1, 1], clusters, seed=0) == (0.0, 1.0)
    # One cluster alone can only give its own mean, whatever is drawn.
    assert cluster_bootstrap([0, 0, 1], ["x"] * 3, seed=0) == pytest.approx((1 / 3, 1 / 3))


def test_bootstrap_against_scipy() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=80)
    ours = cluster_bootstrap(x, range(80), seed=1, resamples=9999)
    theirs = bootstrap((x,), np.mean, method="percentile", rng=2).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_copies_in_a_cluster_add_no_certainty() -> None:
    x = np.random.default_rng(0).normal(size=50)
    once = cluster_bootstrap(x, range(50), seed=3)
    copied = cluster_bootstrap(np.repeat(x, 4), np.repeat(np.arange(50), 4).tolist(), seed=3)
    assert copied == pytest.approx(once, abs=1e-12)
    naive = cluster_bootstrap(np.repeat(x, 4), range(200), seed=3)
    assert naive[1] - naive[0] < 0.7 * (once[1] - once[0])


def test_the_seed_decides() -> None:
    x = list(np.random.default_rng(0).normal(size=30))
    assert cluster_bootstrap(x, range(30), seed=5) == cluster_bootstrap(x, range(30), seed=5)
    assert cluster_bootstrap(x, range(30), seed=5) != cluster_bootstrap(x, range(30), seed=6)


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="one cluster a value"):
        cluster_bootstrap([1.0, 2.0], ["x"], seed=0)
    with pytest.raises(ValueError, match="one cluster a value"):
        cluster_bootstrap([], [], seed=0)
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(3, 2)
