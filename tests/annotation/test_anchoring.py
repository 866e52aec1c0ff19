"""Anchoring: published numbers, numbers by hand, and an interval that holds what it promises."""

import math

import numpy as np
import pytest

from accord.annotation.anchoring import anchoring, difference
from accord.annotation.monitoring import share


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_difference_as_published(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = difference(share(*first), share(*second))
    assert found[0] == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert found[1:] == pytest.approx((low, high), abs=5e-5)


def test_shares_count_votes_and_intervals_tasks() -> None:
    """Four votes on two tasks that were shown, three of them the model's; one task was hidden."""
    found = anchoring(
        np.array([1, 1, 1, 0, 0]), np.array([1, 1, 1, 1, 0]), ["t", "t", "u", "u", "v"]
    )
    assert found.shown[:2] == (3, 4) and found.hidden[:2] == (0, 1)
    wide, narrow = found.shown, share(3, 4)
    assert wide.low < narrow.low and wide.high > narrow.high
    assert found.effect[0] == pytest.approx(0.75)


def test_without_a_hidden_task_there_is_no_effect() -> None:
    found = anchoring(np.array([1, 0]), np.array([1, 1]), ["t", "u"])
    assert found.hidden == (0, 0, 0.0, 1.0) and all(map(math.isnan, found.effect))
    with pytest.raises(ValueError, match="for every vote"):
        anchoring(np.array([1]), np.array([1]), [])


def test_the_interval_holds_the_effect() -> None:
    """Three votes a task that lean the same way: the interval of votes alone would be too short."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        is_shown = np.repeat(np.arange(60) % 5 != 0, 3).astype(np.int64)
        lean = np.repeat(rng.beta(2, 2, 60), 3)
        p = np.clip(lean + 0.2 * is_shown * (lean < 0.8), 0, 1)
        truth = _effect()
        same = (rng.random(180) < p).astype(np.int64)
        _, low, high = anchoring(same, is_shown, np.repeat(np.arange(60), 3).tolist()).effect
        held += low <= truth <= high
    assert held >= 0.93 * 300


def _effect() -> float:
    """0.2 times the probability that a Beta(2, 2) is below 0.8: 3x^2 - 2x^3."""
    return 0.2 * (3 * 0.8**2 - 2 * 0.8**3)
