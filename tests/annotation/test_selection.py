"""Selection: propensities by hand and by counting, means without bias, and what is preferred."""

from typing import Any

import numpy as np
import pytest
from benchmarks.active_choice import curve
from hypothesis import given
from hypothesis import strategies as st

from accord.annotation.selection import (
    disagreement,
    diversity,
    inclusion,
    inverse_propensity_mean,
    select_pairs,
)


def test_disagreement_by_hand() -> None:
    """Odds of 3 and 1/3: probabilities of 3/4 and 1/4. All sure of a side: nothing to learn."""
    odds = np.array([[3.0, 1.0, 1e4], [1 / 3, 1.0, 1e9]])
    margins = np.log(odds)
    assert disagreement(margins) == pytest.approx([0.125, 0.0, 0.0], abs=1e-6)
    with pytest.raises(ValueError, match="two members"):
        disagreement(margins[:1])


def test_diversity_by_hand() -> None:
    """Two alike, one at a right angle, one at 45 degrees to all: squared cosines of 1, 0, 1/2."""
    features = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    expected = [1 / 2.5, 1 / 2.5, 1 / 1.5, 1 / 2.5]
    assert diversity(features) == pytest.approx(expected)
    again = diversity(features, asked=np.array([[0.0, 1.0], [-1.0, 0.0]]))
    assert again == pytest.approx([1 / 2.5, 1 / 2.5, 1 / 2.5, 1 / 3.0])
    assert diversity(np.zeros((2, 3))).tolist() == [1.0, 1.0]
    many = np.random.default_rng(0).normal(size=(1500, 4))
    unit = many / np.linalg.norm(many, axis=1, keepdims=True)
    assert diversity(many) == pytest.approx(1 / (np.maximum(unit @ unit.T, 0) ** 2).sum(1))


def test_inclusion_by_hand() -> None:
    assert inclusion(np.array([1.0, 2.0, 1.0]), 1).tolist() == [0.25, 0.5, 0.25]
    assert inclusion(np.array([8.0, 1.0, 1.0]), 2).tolist() == [1.0, 0.5, 0.5]
    assert inclusion(np.array([8.0, 0.0, 0.0]), 2).tolist() == [1.0, 0.5, 0.5]
    assert inclusion(np.zeros(4), 2).tolist() == [0.5] * 4


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30), st.data())
def test_inclusion_is_a_probability(scores: list[float], data: Any) -> None:
    count = data.draw(st.integers(0, len(scores) - 1))
    q = inclusion(np.array(scores), count)
    assert ((q >= 0) & (q <= 1)).all() and q.sum() == pytest.approx(count)
    order = np.argsort(scores)
    assert (np.diff(q[order]) >= -1e-9).all()


def test_propensity_by_hand() -> None:
    """Ten of twenty, a fifth at random: eight by score (2/5 each), two of the twelve others."""
    found = select_pairs(np.ones(20), 10, seed=0)
    assert found.propensity == pytest.approx([0.4 + 0.6 * 2 / 12] * 10)
    assert sum(found.at_random) == 2 and len(set(found.chosen.tolist())) == 10
    assert sum(select_pairs(np.ones(20), 6, seed=0).at_random) == 2  # rounded up
    assert select_pairs(np.ones(3), 5, seed=0).propensity.tolist() == [1.0] * 3


SCORES = np.array([0.0, 0.1, 0.2, 0.5, 1.0, 1.0, 2.0, 3.0, 6.0, 20.0, 0.3, 0.0])
DRAWS = 20_000


@pytest.fixture(scope="module")
def draws() -> list[Any]:
    return [select_pairs(SCORES, 5, seed=seed) for seed in range(DRAWS)]


def test_pairs_are_drawn_as_often_as_their_propensity_says(draws: list[Any]) -> None:
    drawn, said = np.zeros(12), np.full(12, np.nan)
    for found in draws:
        drawn[found.chosen] += 1
        said[found.chosen] = found.propensity
    assert drawn / DRAWS == pytest.approx(said, abs=4 * 0.5 / DRAWS**0.5)
    assert said.sum() == pytest.approx(5) and said[9] == pytest.approx(1.0)
    assert (np.diff(said[np.argsort(SCORES)]) >= 0).all() and said.min() > 0.1


def test_inverse_propensity_has_no_bias(draws: list[Any]) -> None:
    """Values that go with the scores: their mean over what was asked is far off."""
    values = SCORES + 1
    estimates = [
        inverse_propensity_mean(values[found.chosen], found.propensity, pool=12) for found in draws
    ]
    plain = np.mean([values[found.chosen].mean() for found in draws])
    error = np.std(estimates) / DRAWS**0.5
    assert np.mean(estimates) == pytest.approx(values.mean(), abs=4 * error)
    assert plain > 1.5 * values.mean()


def test_scores_count_squared() -> None:
    """Ten of a hundred, two at random: of the eight by score, twice the score has four times."""
    scores = np.repeat([2.0, 1.0], 50)
    by_score = 8 * np.array([4.0, 1.0]) / 250
    found = select_pairs(scores, 10, seed=0)
    for pair, propensity in zip(found.chosen, found.propensity, strict=True):
        q = by_score[0] if pair < 50 else by_score[1]
        assert propensity == pytest.approx(q + (1 - q) * 2 / 92)


def test_the_seed_decides_and_bad_arguments_are_refused() -> None:
    one, two = (select_pairs(SCORES, 5, seed=3) for _ in range(2))
    assert one.chosen.tolist() == two.chosen.tolist()
    for scores, count, random_share in (
        (-SCORES, 5, 0.2),
        (SCORES * np.nan, 5, 0.2),
        (SCORES, 0, 0.2),
        (SCORES, 5, 0.1),
    ):
        with pytest.raises(ValueError, match="finite|random share"):
            select_pairs(scores, count, seed=0, random_share=random_share)


def test_the_benchmark_runs_and_learns() -> None:
    """benchmarks/active_choice.py at its smallest: no claim of what is saved, see its results."""
    for active in (False, True):
        found = curve(0, active=active, pool=500, budget=150)
        assert len(found) == 3 and found[0] > 0.6 and found[-1] > found[0]
