"""pass@k by hand, by counting all draws, and where it is not defined."""

from itertools import combinations

import pytest

from accord.annotation.pass_at_k import pass_at_k


@pytest.mark.parametrize(
    ("samples", "passed", "k", "expected"),
    [
        (1, 0, 1, 0.0),
        (1, 1, 1, 1.0),
        (10, 3, 1, 0.3),
        (4, 2, 2, 1 - 1 / 6),  # one of the six pairs holds no pass
        (5, 4, 2, 1.0),
        (5, 0, 5, 0.0),
    ],
)
def test_pass_at_k_by_hand(samples: int, passed: int, k: int, expected: float) -> None:
    assert pass_at_k(samples, passed, k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_the_share_of_draws_with_a_pass() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([i < c for i in range(n)], k))
                share = sum(any(draw) for draw in draws) / len(draws)
                assert pass_at_k(n, c, k) == pytest.approx(share, abs=1e-12)


def test_the_official_example_to_the_last_bit() -> None:
    assert pass_at_k(6, 3, 1) == 0.4999999999999999


@pytest.mark.parametrize(("samples", "passed", "k"), [(2, 1, 3), (2, 3, 1), (2, 1, 0), (2, -1, 1)])
def test_what_is_not_defined_is_refused(samples: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(samples, passed, k)
