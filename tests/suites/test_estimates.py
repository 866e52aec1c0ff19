"""Figures by hand; the standard error of clustered means against a regression's."""

import math

import numpy as np
import pytest

from accord.suites.estimates import estimate_mean, estimate_share


def test_a_share_by_hand() -> None:
    figure = estimate_share([True, True, True, False])
    assert (figure.value, figure.n) == (0.75, 4)
    assert figure.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert figure.low == pytest.approx(0.3006, abs=1e-4)  # Wilson's, from a table
    assert figure.high == pytest.approx(0.9544, abs=1e-4)


@pytest.mark.parametrize("passed", [[True] * 7, [False] * 7])
def test_a_share_lies_in_its_interval_at_the_ends(passed: list[bool]) -> None:
    figure = estimate_share(passed)
    assert figure.low <= figure.value <= figure.high and figure.high - figure.low > 0.3


def test_a_mean_of_independent_values_has_the_textbook_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    figure = estimate_mean(list(values), list(range(400)))
    error = values.std(ddof=1) / 20
    assert figure.value == pytest.approx(values.mean()) and figure.n == 400
    assert figure.standard_error == pytest.approx(error)
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_values_of_one_prompt_count_once() -> None:
    """Copies of a value say nothing new."""
    values = list(np.random.default_rng(1).normal(size=50))
    once = estimate_mean(values, list(range(50)))
    often = estimate_mean([v for v in values for _ in range(4)], [i // 4 for i in range(200)])
    assert (often.value, often.n) == (pytest.approx(once.value), 50)
    assert often.standard_error == pytest.approx(once.standard_error)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_one_prompt_has_no_error() -> None:
    assert estimate_mean([0.0, 1.0], ["a", "a"]).standard_error is None


def test_nothing_has_no_figure() -> None:
    with pytest.raises(ValueError, match="no share"):
        estimate_share([])
    with pytest.raises(ValueError, match="one cluster a value"):
        estimate_mean([], [])
