"""Which pairs people are asked about: the unsure and the disputed, the worst first, in a budget."""

import numpy as np
import pytest
from benchmarks.hybrid_routing import curves, labels_for

from accord.annotation.routing import route

JUDGE = np.array([0.95, 0.55, np.nan, 0.9, 0.45, 0.99])
MODELS = np.array([0.9, 0.9, 0.9, 0.2, 0.5, 0.97])


def test_by_hand() -> None:
    """Doubt: 0.1, 0.9, 1 (silent), |0.9 - 0.2| = 0.7 against 0.2, 0.9, 0.02."""
    found = route(JUDGE, MODELS, budget=6, least_doubt=0.5)
    assert found.doubt == pytest.approx([0.1, 0.9, 1.0, 0.7, 0.9, 0.02])
    assert found.chosen.tolist() == [2, 1, 4, 3]
    assert found.reasons == ["", "unsure", "abstained", "disagrees", "unsure", ""]


@pytest.mark.parametrize(("budget", "expected"), [(0, []), (1, [2]), (3, [2, 1, 4])])
def test_the_budget_takes_the_most_doubtful(budget: int, expected: list[int]) -> None:
    assert route(JUDGE, MODELS, budget=budget, least_doubt=0.5).chosen.tolist() == expected


def test_without_reward_models_only_doubt_counts() -> None:
    found = route(JUDGE, None, budget=6, least_doubt=0.5)
    assert found.chosen.tolist() == [2, 1, 4]
    assert found.reasons[3] == ""


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        route(JUDGE, MODELS, budget=-1, least_doubt=0.5)
    with pytest.raises(ValueError, match="as many"):
        route(JUDGE, MODELS[:3], budget=1, least_doubt=0.5)


def test_the_benchmark_at_its_smallest() -> None:
    """benchmarks/hybrid_routing.py: no claim of what is saved, see its results."""
    found = curves(0, 200, 3.0)
    assert {name: len(values) for name, values in found.items()} == {
        "people": 7, "hybrid": 7, "at random": 7, "judge": 1,
    }  # fmt: skip
    # with all labels of people the three are one
    assert found["people"][-1] == found["hybrid"][-1] == found["at random"][-1]
    assert all(0.5 < x < 1 for x in found["hybrid"])
    assert labels_for(0.75, [0.7, 0.7, 0.8], 1000) == "150"
    assert labels_for(0.6, [0.7], 1000) == "50 or fewer"
    assert labels_for(0.9, [0.7], 1000) == "more than all"
