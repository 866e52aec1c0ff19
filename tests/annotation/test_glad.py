"""GLAD: by hand, at its optimum, and where some tasks are hard."""

import math
from typing import Any

import numpy as np
import pytest

from accord.annotation.aggregation import majority
from accord.annotation.glad import glad
from accord.annotation.tables import Votes


def test_the_first_posterior_by_hand() -> None:
    """Abilities 1 and eases e: a vote's log-odds are e, and ln 2 more among three labels."""
    rows = [("t", "x", 0), ("t", "y", 0), ("t", "z", 1)]
    two = glad(Votes.of(rows, categories=[0, 1]), max_steps=0).labels.probabilities[0]
    assert two[0] == pytest.approx(1 / (1 + math.exp(-math.e)))
    three = glad(Votes.of(rows, categories=[0, 1, 2]), max_steps=0).labels.probabilities[0]
    odds = 2 * math.exp(math.e)
    assert three == pytest.approx(np.array([odds**2, odds, 1]) / (odds**2 + odds + 1))
    with pytest.raises(ValueError, match="one label alone"):
        glad(Votes.of([("t", "x", "a")]))


def simulated(seed: int) -> tuple[Votes, Any, Any]:
    """Half of the tasks are hard; five annotators can tell, three hardly, one is against."""
    rng = np.random.default_rng(seed)
    ability = np.array([3.0, 3.0, 2.5, 2.5, 2.0, 0.2, 0.2, 0.2, -2.0])
    truth, ease = rng.integers(2, size=500), np.where(np.arange(500) % 2, 0.3, 2.0)
    rows = []
    for task in range(500):
        for who in range(9):
            right = rng.random() < 1 / (1 + math.exp(-ability[who] * ease[task]))
            rows.append((task, who, int(truth[task] if right else 1 - truth[task])))
    return Votes.of(rows, categories=[0, 1]), truth, ability


def test_the_able_and_the_easy_are_found() -> None:
    votes, truth, ability = simulated(0)
    found = glad(votes)
    won = (found.labels.probabilities.argmax(1) == truth).mean()
    assert won > (majority(votes).probabilities.argmax(1) == truth).mean() + 0.01
    assert np.corrcoef(found.ability, ability)[0, 1] > 0.95
    assert found.ability[-1] < 0 < found.ability[:5].min()
    assert np.median(found.ease[::2]) > 2 * np.median(found.ease[1::2])


def test_its_fixed_point_is_the_likeliest() -> None:
    """Against the posterior written out with the labels summed out, at the optimum and beside."""
    rng = np.random.default_rng(1)
    rows = [(t, a, int(rng.integers(3))) for t in range(6) for a in range(4)]
    votes = Votes.of(rows, categories=[0, 1, 2])
    found = glad(votes, max_steps=5000, tolerance=1e-12)

    def log_posterior(ability: Any, log_ease: Any) -> float:
        total = -sum((x - 1) ** 2 for x in [*ability, *log_ease]) / 2
        for task in range(6):
            summed = 0.0
            for truth in range(3):
                product = 1 / 3
                for t, a, label in rows:
                    if t == task:
                        p = 1 / (1 + math.exp(-ability[a] * math.exp(log_ease[t])))
                        product *= p if label == truth else (1 - p) / 2
                summed += product
            total += math.log(summed)
        return float(total)

    ability, log_ease = found.ability, np.log(found.ease)
    for vector, other, at in ((ability, log_ease, 0), (log_ease, ability, 1)):
        for place in range(len(vector)):
            slopes = []
            for step in (-1e-5, 1e-5):
                beside = vector.copy()
                beside[place] += step
                slopes.append(log_posterior(*((beside, other) if at == 0 else (other, beside))))
            assert abs(slopes[1] - slopes[0]) / 2e-5 < 1e-4


def test_ties_and_lone_votes() -> None:
    rows = [("t", a, "tie") for a in "xyz"] + [("u", a, "a") for a in "xyz"] + [("v", "x", "b")]
    found = glad(Votes.of(rows, categories=["a", "tie", "b"])).labels
    assert found.probabilities.argmax(1).tolist() == [1, 0, 2]
    assert np.allclose(found.probabilities.sum(1), 1)
