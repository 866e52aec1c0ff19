"""Vote shares and agreement by hand, and against independent formulas."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from accord.annotation.votes import percent_agreement, vote_share
from accord.core.types import Verdict

VERDICTS = st.lists(st.sampled_from(["a", "b", "tie"]), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["a"], 0.75),
        (["b"], 0.25),
        (["tie"], 0.5),
        (["a", "a", "a"], 0.875),
        (["a", "a", "b"], 0.625),
        (["a", "b"], 0.5),
        (["a", "tie"], 2 / 3),
    ],
)
def test_vote_share_by_hand(verdicts: list[Verdict], expected: float) -> None:
    assert vote_share(verdicts) == pytest.approx(expected, abs=1e-12)


@given(VERDICTS)
def test_vote_share_is_the_posterior_mean_and_symmetric(verdicts: list[Verdict]) -> None:
    wins = verdicts.count("a") + verdicts.count("tie") / 2
    losses = len(verdicts) - wins
    assert vote_share(verdicts) == pytest.approx(beta(wins + 0.5, losses + 0.5).mean())
    mirror: dict[Verdict, Verdict] = {"a": "b", "b": "a", "tie": "tie"}
    assert vote_share([mirror[v] for v in verdicts]) == pytest.approx(1 - vote_share(verdicts))


def test_no_votes_are_refused() -> None:
    with pytest.raises(ValueError, match="without a verdict"):
        vote_share([])


def test_agreement_by_hand() -> None:
    # Three pairs of annotators of whom one agrees, then one pair that agrees; a lone vote is none.
    assert percent_agreement([["a", "a", "b"], ["tie", "tie"], ["a"]]) == 0.5
    assert percent_agreement([["a"], ["b"]]) is None


@given(st.lists(VERDICTS, max_size=5))
def test_agreement_counts_pairs(tasks: list[list[Verdict]]) -> None:
    pairs = [pair for task in tasks for pair in itertools.combinations(task, 2)]
    expected = sum(x == y for x, y in pairs) / len(pairs) if pairs else None
    assert percent_agreement(tasks) == expected
