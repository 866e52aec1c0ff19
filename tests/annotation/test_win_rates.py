"""Win rates by hand, against scipy, and what an abstention must never do."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, sem

from accord.annotation.win_rates import (
    agreement_of_orders,
    clustered_standard_error,
    mcnemar,
    mean_of_orders,
    minimum_detectable_effect,
    paired_difference,
    win_rate,
)

NAN = float("nan")


def test_win_rate_by_hand() -> None:
    found = win_rate([1, 0, 0.5, 1, NAN], list("abcde"), seed=0)
    assert found.rate == 0.625
    assert (found.wins, found.losses, found.ties, found.abstained) == (2, 1, 1, 1)
    assert found.prompts == 4
    assert found.standard_error == pytest.approx(sem([1, 0, 0.5, 1]))
    assert found.low <= 0.625 <= found.high


def test_an_abstention_is_neither_a_win_nor_a_loss() -> None:
    without = win_rate([1, 0, 1], list("abc"), seed=0)
    with_them = win_rate([1, NAN, 0, 1, NAN], list("axbcy"), seed=0)
    assert with_them._replace(abstained=0) == without
    with pytest.raises(ValueError, match="abstained on all of 2"):
        win_rate([NAN, NAN], ["a", "b"], seed=0)


def test_standard_error_by_cluster() -> None:
    # Two prompts with sums of deviations 1 and -1 over 4 values: sqrt(2/1 * 2) / 4.
    assert clustered_standard_error([1, 1, 0, 0], list("aabb")) == pytest.approx(0.5)
    x = np.random.default_rng(0).random(40)
    assert clustered_standard_error(x, range(40)) == pytest.approx(sem(x), rel=1e-12)
    copied = clustered_standard_error(np.repeat(x, 3), np.repeat(np.arange(40), 3).tolist())
    assert copied == pytest.approx(sem(x), rel=1e-12)
    assert np.isnan(clustered_standard_error([1, 0], ["a", "a"]))


def test_minimum_detectable_effect_has_the_power_it_says() -> None:
    effect = minimum_detectable_effect(0.02)
    assert effect == pytest.approx(0.02 * 2.8015852, rel=1e-6)
    draws = np.random.default_rng(0).normal(effect, 0.02, 200_000)
    assert (np.abs(draws / 0.02) > norm.ppf(0.975)).mean() == pytest.approx(0.8, abs=0.005)
    # A gap of five points takes about 785 prompts when outcomes are as noisy as coins.
    assert minimum_detectable_effect(0.5 / 785**0.5) == pytest.approx(0.05, abs=1e-4)


def test_pairing_takes_out_what_prompts_share() -> None:
    rng = np.random.default_rng(1)
    prompt = rng.random(300) * 0.8
    first = np.clip(prompt + 0.1 + rng.normal(0, 0.01, 300), 0, 1)
    found = paired_difference(first, prompt, range(300), seed=0)
    assert found.value == pytest.approx(0.1, abs=0.005) and found.low > 0.09
    alone = [win_rate(x, range(300), seed=0).standard_error for x in (first, prompt)]
    assert found.standard_error < 0.1 * np.hypot(*alone)
    some = paired_difference([1, NAN, 0], [0, 1, NAN], list("abc"), seed=0)
    assert (some.value, some.pairs) == (1, 1)


def test_mcnemar_against_the_binomial() -> None:
    first = [1] * 9 + [0] * 2 + [1] * 5 + [0] * 4 + [0.5, NAN, 1, 1, 0]
    second = [0] * 9 + [1] * 2 + [1] * 5 + [0] * 4 + [0, 0, 0.5, NAN, 0.5]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (9, 2)
    assert found.p_value == pytest.approx(binomtest(9, 11).pvalue)
    assert mcnemar([1, 0], [1, 0]).p_value == 1.0
    with pytest.raises(ValueError, match="same prompts"):
        mcnemar([1], [1, 0])


def test_both_orders_by_hand() -> None:
    forth = [0.9, 0.9, 0.2, 0.5, 0.5, NAN, 0.9]
    back = [0.3, 0.8, 0.7, 0.5, 0.1, 0.1, NAN]
    mean = [0.8, 0.55, 0.25, 0.5, 0.7, NAN, NAN]
    np.testing.assert_allclose(mean_of_orders(forth, back), mean)
    agreed = [1, 0.5, 0, 0.5, 0.5, NAN, NAN]
    np.testing.assert_array_equal(agreement_of_orders(forth, back), agreed)


def test_what_is_no_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\], or NaN, got 1.5"):
        win_rate([0.5, 1.5], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="one cluster a value"):
        win_rate([0.5, 1], ["a"], seed=0)
    with pytest.raises(ValueError, match="rows in pairs"):
        paired_difference([0.5], [1, 0], ["a"], seed=0)
