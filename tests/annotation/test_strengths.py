"""Strengths: two things by hand, known ones recovered, and what reliability and bias take away."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from accord.annotation.strengths import (
    bradley_terry,
    crowd_bradley_terry,
    noisy_bradley_terry,
    p_chosen,
    plackett_luce,
)

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


def test_who_says_the_reverse_is_read_backwards() -> None:
    """Two of six are against: plain strengths shrink by two thirds, and theirs do not."""
    rng, left, right = comparisons(6000, 4)
    annotator = rng.integers(6, size=6000)
    honest = rng.random(6000) < expit(TRUE[left] - TRUE[right])
    wins = np.where(annotator < 2, ~honest, honest).astype(float)
    found = crowd_bradley_terry(left, right, wins, annotator, items=5, annotators=6)
    plain = bradley_terry(left, right, wins, items=5)
    truth = TRUE - TRUE.mean()
    assert found.reliability[:2].max() < 0.15 < 0.85 < found.reliability[2:].min()
    assert np.abs(found.scores - truth).max() < 0.25
    assert plain.scores[0] < 0.5 * truth[0]


def test_crowd_bradley_terry_is_the_likeliest() -> None:
    """Against the penalised likelihood written out, at the optimum and beside it."""
    rng, first, second = comparisons(300, 5)
    annotator = rng.integers(3, size=300)
    skill = np.array([0.95, 0.7, 0.5])[annotator]
    wins = (rng.random(300) < np.where(TRUE[first] > TRUE[second], skill, 1 - skill)).astype(float)

    def posterior(scores: Any, reliability: Any) -> float:
        total = 0.0
        for i, j, won, who in zip(first, second, wins, annotator, strict=True):
            p = 1 / (1 + math.exp(scores[j] - scores[i]))
            says = reliability[who] * p + (1 - reliability[who]) * (1 - p)
            total += math.log(says if won else 1 - says)
        pulled = [math.log(r / (1 - r)) - 2 for r in reliability]
        return total - 0.05 * (sum(s * s for s in scores) + sum(x * x for x in pulled))

    found = crowd_bradley_terry(first, second, wins, annotator, items=5, annotators=3)
    best = posterior(found.scores, found.reliability)
    for item, step in itertools.product(range(5), (-0.02, 0.02)):
        beside = found.scores.copy()
        beside[item] += step
        assert posterior(beside, found.reliability) < best
    for who, step in itertools.product(range(3), (-0.01, 0.01)):
        other = found.reliability.copy()
        other[who] += step * other[who] * (1 - other[who])
        assert posterior(found.scores, other) < best


def test_p_chosen_by_hand() -> None:
    """Odds of e^2 against 1; with a nu of 3 and equals, P(tie) = 3/5 and its half is nobody's."""
    scores, zero, one = np.array([2.0, 0.0]), np.array([0]), np.array([1])
    p = math.exp(2) / (math.exp(2) + 1)
    assert p_chosen(scores, zero, one) == pytest.approx([p])
    assert p_chosen(scores, one, zero, ties=3.0) == pytest.approx(
        [(math.exp(-1) + 1.5) / (math.exp(1) + math.exp(-1) + 3)]
    )
    assert p_chosen(scores, zero, zero, ties=3.0) == pytest.approx([0.5])
    assert p_chosen(np.array([2000.0, 0.0]), zero, one, ties=1.0).tolist() == [1.0]


def test_p_chosen_of_ties_is_the_mean_outcome() -> None:
    """4 wins, 1 loss, 5 ties: what was fitted says (4 + 5 / 2) / 10."""
    outcomes = np.array([1.0] * 4 + [0.0] + [0.5] * 5)
    zero = np.zeros(10, dtype=int)
    found = bradley_terry(zero, zero + 1, outcomes, items=2)
    p = p_chosen(found.scores, zero[:1], zero[:1] + 1, ties=found.ties)
    assert p == pytest.approx([0.65], abs=1e-5)


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
