"""Models in one order: planted strengths, abstentions, and what cannot be ranked."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import expit

from accord.core.errors import DataError
from accord.suites.base import Outcome
from accord.suites.ranking import rank_models

PLANTED = {"a": 0.0, "b": 1.0, "c": -0.7}


def games(prompts: int, *, seed: int = 0) -> dict[tuple[int, int], list[Outcome]]:
    rng = np.random.default_rng(seed)
    strengths = list(PLANTED.values())
    return {
        (i, j): [
            Outcome(str(n), float(rng.random() < expit(strengths[i] - strengths[j])))
            for n in range(prompts)
        ]
        for i, j in itertools.combinations(range(3), 2)
    }


def test_planted_strengths_come_back_best_first() -> None:
    found = rank_models(list(PLANTED), games(400), baseline=0, seed=0)
    assert [standing.model for standing in found.standings] == ["b", "a", "c"]
    for standing in found.standings:
        assert standing.strength == pytest.approx(PLANTED[standing.model], abs=0.25)
        assert standing.low <= PLANTED[standing.model] <= standing.high
        assert standing.win_rate == pytest.approx(expit(standing.strength))
        assert standing.win_rate_low == pytest.approx(expit(standing.low))
    assert found.baseline == "a"
    baseline = found.standings[1]
    assert (baseline.strength, baseline.low, baseline.high, baseline.win_rate) == (0, 0, 0, 0.5)
    assert [(m.first, m.second) for m in found.matches] == [("a", "b"), ("a", "c"), ("b", "c")]
    match = found.matches[2]
    assert match.win_rate == np.mean([o.value for o in games(400)[1, 2]])
    assert (match.judged, match.abstained) == (400, 0)


def test_pairs_of_a_prompt_are_drawn_together() -> None:
    """Every prompt four times over says no more than once."""
    once = rank_models(list(PLANTED), games(60), baseline=0, seed=0)
    again = {pair: found * 4 for pair, found in games(60).items()}
    often = rank_models(list(PLANTED), again, baseline=0, seed=0)
    for one, four in zip(once.standings, often.standings, strict=True):
        assert four.strength == pytest.approx(one.strength, abs=1e-3)
        assert (four.low, four.high) == pytest.approx((one.low, one.high), abs=1e-3)


def test_an_abstention_is_nobodys_win() -> None:
    nothing = [Outcome(str(n), math.nan) for n in range(5)]
    won = [Outcome("0", 1.0), Outcome("1", 0.5), Outcome("2", math.nan)]
    found = rank_models(["a", "b", "c"], {(0, 1): won, (0, 2): won, (1, 2): nothing},
                        baseline=0, seed=0)  # fmt: skip
    assert [standing.win_rate for standing in found.standings] == pytest.approx(
        [0.5, 0.25, 0.25], abs=1e-3
    )
    first, _, last = found.matches
    assert (first.win_rate, first.judged, first.abstained) == (0.75, 2, 1)
    assert (last.win_rate, last.judged, last.abstained) == (None, 0, 5)


def test_models_that_no_verdict_links_are_not_ranked() -> None:
    nothing = [Outcome("0", math.nan)]
    with pytest.raises(DataError, match="a, b, c cannot be ranked: no comparisons link"):
        rank_models(["a", "b", "c"], {(0, 1): [Outcome("0", 1.0)], (0, 2): nothing},
                    baseline=0, seed=0)  # fmt: skip
