"""Rules of social choice: cycles, opposed groups, minorities, and the rules' own axioms."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.annotation.social_choice import (
    borda,
    copeland,
    max_min,
    maximal_lottery,
    pooled,
    under_every_rule,
    utilitarian,
    utilities,
)


def of_orders(*orders: str) -> Any:
    """A group an order: "abc" prefers a to b to c, always."""
    size = len(orders[0])
    found = np.full((len(orders), size, size), 0.5)
    for group, order in enumerate(orders):
        for better in range(size):
            for worse in range(better + 1, size):
                i, j = (ord(order[x]) - ord("a") for x in (better, worse))
                found[group, i, j], found[group, j, i] = 1.0, 0.0
    return found


def test_a_cycle_is_a_lottery() -> None:
    """a beats b beats c beats a: no rule can tell them apart."""
    cycle, sizes = of_orders("abc", "bca", "cab"), np.ones(3)
    third = pytest.approx([1 / 3] * 3, abs=1e-6)
    for choice in (borda(cycle, sizes), copeland(cycle, sizes), maximal_lottery(cycle, sizes)):
        assert choice.tolist() == third


def test_a_condorcet_winner_is_chosen_by_majorities_and_not_by_borda() -> None:
    """Three of five prefer a to all; b is nobody's last and has more votes in all."""
    votes, sizes = of_orders("abc", "bca"), np.array([3.0, 2.0])
    assert copeland(votes, sizes).tolist() == [1, 0, 0]
    assert maximal_lottery(votes, sizes).tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert borda(votes, sizes).tolist() == [0, 1, 0]


def test_opposed_halves() -> None:
    """Pooled, nothing is seen; each group by itself is certain."""
    opposed, sizes = of_orders("ab", "ba"), np.ones(2)
    assert pooled(opposed, sizes).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    found = under_every_rule(opposed, sizes)
    for outcome in found.values():
        assert outcome.choice.tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
        assert outcome.losses.tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def test_seventy_to_thirty() -> None:
    """The mean takes the majority's favourite; the worst-off group wants the compromise, c."""
    utility = np.array([[1.0, 0.0, 0.8], [0.0, 1.0, 0.7]])
    sizes = np.array([70.0, 30.0])
    assert utilitarian(utility, sizes).tolist() == [0, 0, 1]
    assert utilitarian(utility[:, :2], sizes).tolist() == [1, 0]
    lottery = max_min(utility[:, :2])
    assert lottery.tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    worst = (utility @ max_min(utility)).min()
    assert worst >= 0.7 + 1e-6  # a little of a lottery beats the compromise alone
    assert worst >= max((utility @ p).min() for p in np.eye(3))


def test_quotas_weigh_groups_as_was_decided() -> None:
    found = under_every_rule(of_orders("ab", "ba"), np.array([90.0, 10.0]))
    assert found["utilitarian"].choice.tolist() == [1, 0]
    assert found["utilitarian"].losses.tolist() == [0, 1]
    assert found["quota"].choice.tolist() == [0.5, 0.5]
    decided = under_every_rule(
        of_orders("ab", "ba"), np.array([90.0, 10.0]), quotas=np.array([1.0, 2.0])
    )
    assert decided["quota"].choice.tolist() == [0, 1]


def test_shares_that_are_none_are_refused() -> None:
    good = of_orders("ab", "ba")
    with pytest.raises(ValueError, match="shares of votes"):
        under_every_rule(good * 0.9, np.ones(2))
    with pytest.raises(ValueError, match="one size a group"):
        under_every_rule(good, np.ones(3))


@st.composite
def profiles(draw: Any) -> tuple[Any, Any]:
    groups, options = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shares = np.triu(rng.random((groups, options, options)).round(2), 1)
    below = np.triu(1 - shares, 1).transpose(0, 2, 1)
    return shares + below + np.eye(options) / 2, rng.integers(1, 20, groups).astype(float)


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_axioms(profile: tuple[Any, Any]) -> None:
    preferences, sizes = profile
    found = under_every_rule(preferences, sizes)
    together = pooled(preferences, sizes)
    options = len(together)
    for name, outcome in found.items():
        assert outcome.choice.sum() == pytest.approx(1) and (outcome.choice >= 0).all()
        assert (outcome.losses >= -1e-9).all()
        # Names of options and groups do not matter.
        order = np.arange(options)[::-1]
        turned = under_every_rule(preferences[::-1][:, order][:, :, order], sizes[::-1])
        worth = utilities(preferences)
        assert turned[name].choice[order] == pytest.approx(outcome.choice, abs=1e-3)
        if name == "max_min":
            assert (worth @ outcome.choice).min() >= worth.min(0).max() - 1e-5
    lottery = found["maximal_lottery"].choice
    assert (lottery @ together >= 0.5 - 1e-5).all()  # no option beats it
    winners = [
        i for i in range(options) if all(together[i, j] > 0.5 for j in range(options) if j != i)
    ]
    if winners:
        assert found["copeland"].choice[winners[0]] == 1
        assert lottery[winners[0]] == pytest.approx(1, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(profiles(), st.data())
def test_more_votes_never_hurt(profile: tuple[Any, Any], data: Any) -> None:
    """Monotonicity: an option that is chosen stays so when a group votes more for it."""
    preferences, sizes = profile
    groups, options, _ = preferences.shape
    group = data.draw(st.integers(0, groups - 1))
    chosen = data.draw(st.integers(0, options - 1))
    other = data.draw(st.integers(0, options - 1).filter(lambda i: i != chosen))
    raised = preferences.copy()
    raised[group, chosen, other] = min(1.0, raised[group, chosen, other] + 0.2)
    raised[group, other, chosen] = 1 - raised[group, chosen, other]
    for rule in (borda, copeland):
        if rule(preferences, sizes)[chosen] > 0:
            assert rule(raised, sizes)[chosen] >= rule(preferences, sizes)[chosen] - 1e-9
    before, after = (
        maximal_lottery(votes, sizes)[chosen] > 1 - 1e-4 for votes in (preferences, raised)
    )
    assert after or not before
    fair = [utilitarian(utilities(votes), sizes)[chosen] for votes in (preferences, raised)]
    # What a rival loses to the option it gives up too, so the option's lead can only grow.
    assert fair[1] >= fair[0] - 1e-9


@settings(max_examples=40, deadline=None)
@given(profiles(), st.integers(2, 5))
def test_only_shares_of_people_count(profile: tuple[Any, Any], times: int) -> None:
    """Homogeneity: every group so many times as large changes nothing."""
    preferences, sizes = profile
    once, more = under_every_rule(preferences, sizes), under_every_rule(preferences, sizes * times)
    for name, outcome in once.items():
        assert more[name].choice == pytest.approx(outcome.choice, abs=1e-4)
