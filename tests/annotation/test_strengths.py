"""Strengths: two things by hand, known ones recovered, and what reliability and bias take away."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from accord.annotation.strengths import bradley_terry, noisy_bradley_terry, plackett_luce

TRUE = np.array([1.2, 0.4, 0.0, -0.5, -1.1])


def test_two_things_by_hand() -> None:
    """Three wins of four: odds of 3, a difference of ln 3."""
    first, second = np.zeros(4, dtype=int), np.ones(4, dtype=int)
    found = bradley_terry(first, second, np.array([1.0, 1.0, 1.0, 0.0]), items=2)
    assert found.scores[0] - found.scores[1] == pytest.approx(math.log(3), abs=1e-4)
    assert found.ties == 0.0


def test_ties_by_hand() -> None:
    """4 wins, 1 loss, 5 ties: s = ln 4, and nu sqrt(4) / 1 = 5 makes nu 2.5."""
    outcomes = np.array([1.0] * 4 + [0.0] + [0.5] * 5)
    zero = np.zeros(10, dtype=int)
    found = bradley_terry(zero, zero + 1, outcomes, items=2)
    assert found.scores[0] - found.scores[1] == pytest.approx(math.log(4), abs=1e-4)
    assert found.ties == pytest.approx(2.5, abs=1e-3)
    turned = bradley_terry(zero + 1, zero, 1 - outcomes, items=2)
    assert turned.scores == pytest.approx(found.scores, abs=1e-4)
    with pytest.raises(ValueError, match="outcomes are"):
        bradley_terry(zero, zero + 1, outcomes * 0.3, items=2)


def comparisons(count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    sides = np.array([rng.choice(5, 2, replace=False) for _ in range(count)])
    return rng, sides[:, 0], sides[:, 1]


def test_known_strengths_are_recovered() -> None:
    rng, first, second = comparisons(6000, 0)
    wins = (rng.random(6000) < expit(TRUE[first] - TRUE[second])).astype(float)
    found = bradley_terry(first, second, wins, items=5)
    assert found.scores == pytest.approx(TRUE - TRUE.mean(), abs=0.12)
    half = bradley_terry(
        np.tile(first, 2),
        np.tile(second, 2),
        np.tile(wins, 2),
        items=5,
        weights=np.full(12000, 0.5),
    )
    assert half.scores == pytest.approx(found.scores, abs=1e-3)


def test_who_does_not_look_is_found_and_undone() -> None:
    """Two of six press left nine times of ten, without looking."""
    rng, left, right = comparisons(6000, 1)
    annotator = rng.integers(6, size=6000)
    honest = rng.random(6000) < expit(TRUE[left] - TRUE[right])
    wins = np.where(annotator < 2, rng.random(6000) < 0.9, honest).astype(float)
    found = noisy_bradley_terry(left, right, wins, annotator, items=5, annotators=6)
    assert found.reliability[:2].max() < 0.2 < 0.85 < found.reliability[2:].min()
    assert expit(found.left_bias[:2]) == pytest.approx([0.9, 0.9], abs=0.05)
    plain = bradley_terry(left, right, wins, items=5)
    truth = TRUE - TRUE.mean()
    assert np.abs(found.scores - truth).max() < 0.2 < np.abs(plain.scores - truth).max()


def test_plackett_luce_of_two_is_bradley_terry() -> None:
    found = plackett_luce([[0, 1]] * 3 + [[1, 0]], items=2)
    assert found[0] - found[1] == pytest.approx(math.log(3), abs=1e-4)


def test_plackett_luce_is_the_likeliest() -> None:
    """Against the likelihood written out, at the optimum and beside it."""
    rng = np.random.default_rng(2)
    rankings = []
    for _ in range(800):
        noisy = TRUE + rng.gumbel(size=5)
        rankings.append([int(i) for i in np.argsort(-noisy)][: rng.integers(2, 6)])

    def log_likelihood(scores: Any) -> float:
        total = 0.0
        for ranking in rankings:
            for place in range(len(ranking)):
                behind = [math.exp(scores[i]) for i in ranking[place:]]
                total += scores[ranking[place]] - math.log(sum(behind))
        return total

    found = plackett_luce(rankings, items=5)
    best = log_likelihood(found)
    for item, step in itertools.product(range(5), (-0.05, 0.05)):
        beside = found.copy()
        beside[item] += step
        assert log_likelihood(beside) < best
    with pytest.raises(ValueError, match="twice"):
        plackett_luce([[0, 0]], items=2)


def test_whole_rankings_recover_known_strengths() -> None:
    rng = np.random.default_rng(3)
    rankings = [[int(i) for i in np.argsort(-(TRUE + rng.gumbel(size=5)))] for _ in range(2500)]
    assert plackett_luce(rankings, items=5) == pytest.approx(TRUE - TRUE.mean(), abs=0.12)
