"""Gao et al.'s curves: planted coefficients come back, peaks and weights by hand."""

import itertools
import math

import numpy as np
import pytest

from accord.annotation.over_optimisation import (
    best_of_n_kl,
    best_of_n_weights,
    best_of_subset_kl,
    best_of_subset_weights,
    fit_curve,
    kl_of_weights,
)

DISTANCES = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])


def test_planted_coefficients_come_back() -> None:
    best = fit_curve(DISTANCES, DISTANCES * (1.2 - 0.3 * DISTANCES), form="best_of_n")
    assert (best.alpha, best.beta) == pytest.approx((1.2, 0.3))
    assert best.peak == pytest.approx(2.0)  # 1.2 / (2 * 0.3)
    assert best.gain([2.0]) == pytest.approx([1.2])
    logs = np.log(np.maximum(DISTANCES, 1e-300))
    rl = fit_curve(DISTANCES, DISTANCES * (0.8 - 0.4 * logs), form="rl")
    assert (rl.alpha, rl.beta) == pytest.approx((0.8, 0.4))
    assert rl.peak == pytest.approx(math.e)  # exp(0.8 / 0.4 - 1)
    assert rl.gain([0.0, math.e]) == pytest.approx([0.0, 0.4 * math.e])


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_the_slope_is_the_derivative_and_0_at_the_peak(form: str) -> None:
    rng = np.random.default_rng(0)
    noisy = DISTANCES * (1.2 - 0.3 * DISTANCES) + rng.normal(0, 0.02, len(DISTANCES))
    curve = fit_curve(DISTANCES, noisy, form=form)
    step = 1e-5
    rise = curve.gain([1.7 + step, 1.7 - step])
    assert curve.slope(1.7)[0] == pytest.approx((rise[0] - rise[1]) / (2 * step), rel=1e-6)
    assert curve.slope(curve.peak)[0] == pytest.approx(0.0, abs=1e-9)


def test_the_standard_error_of_the_slope_covers_the_truth() -> None:
    """Of 2,000 noisy fits about 68% lie within one standard error (with 5 degrees of freedom,
    Student's t: 64%)."""
    rng = np.random.default_rng(1)
    truth = 1.2 - 2 * 0.3 * 2.0
    within = 0
    for _ in range(2000):
        noisy = DISTANCES * (1.2 - 0.3 * DISTANCES) + rng.normal(0, 0.1, len(DISTANCES))
        slope, error = fit_curve(DISTANCES, noisy, form="best_of_n").slope(2.0)
        within += abs(slope - truth) < error
    assert within / 2000 == pytest.approx(0.636, abs=0.03)


def test_curves_that_only_rise_or_fall() -> None:
    assert fit_curve(DISTANCES, DISTANCES * (1 + DISTANCES), form="best_of_n").peak == math.inf
    assert fit_curve(DISTANCES, -DISTANCES * (1 + DISTANCES), form="best_of_n").peak == 0.0


@pytest.mark.parametrize(
    ("distances", "gains", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "three points"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "three points"),
        ([-1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "square roots"),
        ([math.nan, 2.0, 3.0], [1.0, 2.0, 3.0], "square roots"),
        ([0.0, 2.0, 2.0], [0.0, 2.0, 2.1], "two different"),
    ],
)
def test_bad_input_is_refused(distances: list[float], gains: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_curve(distances, gains, form="best_of_n")


def test_the_kl_of_the_best_of_n() -> None:
    assert best_of_n_kl(1) == 0.0
    assert best_of_n_kl(4) == pytest.approx(math.log(4) - 0.75)
    with pytest.raises(ValueError, match="1 or more"):
        best_of_n_kl(0)
    # Of very many responses that all differ, the choice is as good as continuous.
    many = np.arange(100_000.0)
    assert kl_of_weights(best_of_n_weights(many, 16)) == pytest.approx(best_of_n_kl(16), abs=1e-3)


def test_weights_of_the_best_of_two_by_hand() -> None:
    """Three responses, two draws of nine: the best is the highest in 5, the middle in 3."""
    assert best_of_n_weights([3.0, 9.0, 5.0], 2) == pytest.approx([1 / 9, 5 / 9, 3 / 9])
    assert best_of_n_weights([3.0, 9.0, 9.0], 2) == pytest.approx([1 / 9, 4 / 9, 4 / 9])
    assert kl_of_weights([1 / 3] * 3) == pytest.approx(0.0)
    assert all(kl_of_weights([1 / m] * m) >= 0 for m in range(1, 50))
    assert kl_of_weights([0.0, 1.0, 0.0]) == pytest.approx(math.log(3))


def test_weights_agree_with_drawing() -> None:
    scores = np.array([0.3, -1.0, 0.3, 2.0, 0.7])
    rng = np.random.default_rng(2)
    drawn = rng.integers(5, size=(40_000, 3))
    best = scores[drawn].max(axis=1)
    for value in np.unique(scores):
        share = best_of_n_weights(scores, 3)[scores == value].sum()
        assert (best == value).mean() == pytest.approx(share, abs=0.01)


def test_the_best_of_a_subset_is_that_of_all_subsets() -> None:
    """Five draws of three responses; two of them score alike."""
    scores, counts = np.array([0.5, -1.0, 0.5]), np.array([1, 2, 2])
    drawn = np.repeat(np.arange(3), counts)
    for n in range(1, 6):
        expected = np.zeros(3)
        subsets = list(itertools.combinations(drawn, n))
        for subset in subsets:
            best = [i for i in subset if scores[i] == max(scores[list(subset)])]
            for i in best:
                expected[i] += 1 / len(best) / len(subsets)
        assert best_of_subset_weights(scores, counts, n) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "mean"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))]
)
def test_the_best_of_n_normal_scores_has_its_known_mean(n: int, mean: float) -> None:
    """Proxy = gold, normal; also from pools hardly larger than n, for the estimate is unbiased."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(4000):
        scores = rng.normal(size=4)
        found.append(best_of_subset_weights(scores, np.ones(4), n) @ scores)
    assert np.mean(found) == pytest.approx(mean, abs=3 * np.std(found) / math.sqrt(len(found)))


def test_the_best_of_1024_out_of_1024_is_the_best() -> None:
    scores = np.random.default_rng(4).normal(size=1024)
    weights = best_of_subset_weights(scores, np.ones(1024), 1024)
    assert weights[scores.argmax()] == pytest.approx(1.0)
    assert weights.sum() == pytest.approx(1.0)


def test_the_kl_where_no_two_draws_are_equal() -> None:
    scores, counts = np.random.default_rng(5).normal(size=1024), np.ones(1024)
    for n in (1, 2, 30, 1024):
        found = best_of_subset_kl(scores, counts, np.full(1024, -40.0), n)
        assert found == pytest.approx(best_of_n_kl(n), abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1024])
def test_the_kl_of_a_policy_of_few_responses(n: int) -> None:
    """Against the exact sum of p_n ln(p_n / p), which is far below that of unequal draws."""
    scores = np.array([0.1, 0.9, 0.4, 0.6, -3.0])
    p = np.array([0.55, 0.01, 0.24, 0.15, 0.05])
    upto = np.array([p[scores <= s].sum() for s in scores])
    best = upto**n - (upto - p) ** n
    exact = float((best * np.log(np.maximum(best, 1e-300) / p)).sum())
    rng = np.random.default_rng(6)
    found = []
    for _ in range(200):
        counts = rng.multinomial(1024, p)
        drawn = counts > 0
        found.append(best_of_subset_kl(scores[drawn], counts[drawn], np.log(p[drawn]), n))
    assert np.mean(found) == pytest.approx(exact, abs=0.02 + 0.01 * exact)
    assert exact < best_of_n_kl(n) or n == 1


def test_the_kl_of_a_choice_between_good_and_bad() -> None:
    """A tenth of endless responses is good, and all good ones score alike: nothing more is told."""
    scores = np.repeat([1.0, 0.0], [100, 900])
    for n, good in ((1, 0.1), (4, 1 - 0.9**4), (1000, 1.0)):
        exact = good * math.log(good / 0.1) + (1 - good) * math.log(max(1 - good, 1e-300) / 0.9)
        found = best_of_subset_kl(scores, np.ones(1000), np.full(1000, -40.0), n)
        assert found == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("counts", "n", "message"),
    [([1, 1], 3, "from 1 to the 2"), ([1, 1], 0, "from 1"), ([1, 0], 1, "counts"),
     ([1], 1, "counts")],
)  # fmt: skip
def test_a_pool_that_does_not_fit_is_refused(counts: list[int], n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        best_of_subset_weights([0.0, 1.0], counts, n)
