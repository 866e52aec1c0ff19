"""Groups: who may be shown, how far they agree, noise or plural, and who loses by which rule."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from accord.annotation.agreement import cohen_kappa, krippendorff_alpha
from accord.annotation.strengths import bradley_terry
from accord.annotation.tables import Votes
from accord.annotation.values import (
    OTHER,
    Groups,
    between,
    group_agreement,
    group_agreement_interval,
    group_preferences,
    losses_by_rule,
    shown_groups,
)

# Who may be shown --------------------------------------------------------------------------------


def test_small_groups_are_pooled_or_withheld() -> None:
    declared = {f"p{i}": "north" for i in range(5)}
    declared |= {f"q{i}": "south" for i in range(3)} | {f"r{i}": "east" for i in range(2)}
    found = shown_groups({**declared, "s": None}, k=5)
    assert {found[f"p{i}"] for i in range(5)} == {"north"}
    assert {found[name] for name in ("q0", "q1", "q2", "r0", "r1")} == {OTHER}
    assert "s" not in found
    withheld = shown_groups({**declared, "r1": None}, k=5)
    assert set(withheld.values()) == {"north"} and len(withheld) == 5
    with pytest.raises(ValueError, match="2 or more"):
        shown_groups(declared, k=1)


@given(
    st.dictionaries(
        st.integers().map(str), st.sampled_from(["x", "y", "z", OTHER, None]), max_size=40
    ),
    st.integers(2, 7),
)
def test_no_shown_group_is_small(declared: Any, k: int) -> None:
    found = shown_groups(declared, k=k)
    for group in set(found.values()):
        assert list(found.values()).count(group) >= k
    assert all(declared[annotator] is not None for annotator in found)
    large = [g for g in "xyz" if list(declared.values()).count(g) >= k]
    assert all(found[a] == g for a, g in declared.items() if g in large)


# Agreement ---------------------------------------------------------------------------------------


def two_groups(rows: list[tuple[int, str, str]], *, categories: Any = ("a", "tie", "b")) -> Groups:
    """An annotator's group is the first letter of the name; "?" is in none."""
    shown = {who: who[0] for _, who, _ in rows if who[0] != "?"}
    return Groups.of(Votes.of(rows, categories=categories), shown)


def test_two_people_between_are_cohens_kappa() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(3, size=(2, 60))
    tables = [np.eye(3)[labels] for labels in (a, b)]
    assert between(*tables) == pytest.approx(cohen_kappa(a, b, categories=3), abs=1e-12)


def test_between_by_hand() -> None:
    """Task 1: g says a a, h says a b: half of four pairs differ. Task 2: g b, h b: none.

    Weights 4 and 2 of 6: D_o = 1/3. Shares: g (2/3, 1/3), h (1/3, 2/3): D_e = 1 - 4/9.
    """
    first, second = np.array([[2.0, 0], [0, 1], [1, 0]]), np.array([[1.0, 1], [0, 1], [0, 0]])
    assert between(first, second) == pytest.approx(1 - (1 / 3) / (5 / 9))
    assert np.isnan(between(first[:1], second[2:]))


def test_groups_that_agree_within_and_not_between() -> None:
    """Nobody in a group differs from it; the groups are each other's opposites."""
    rows = []
    for task in range(20):
        for who in range(3):
            rows.append((task, f"g{who}", "ab"[task % 2]))
            rows.append((task, f"h{who}", "ba"[task % 2]))
            rows.append((task, f"?{who}", "tie"))
    groups = two_groups(rows)
    assert groups.names == ["g", "h"] and len(groups.group) == 120
    assert group_agreement(groups) == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    everybody = krippendorff_alpha(groups.votes.counts())
    assert everybody < 0
    with pytest.raises(ValueError, match="no vote"):
        Groups.of(groups.votes, {})


def test_intervals_hold_the_value_and_resample_prompts() -> None:
    """As many votes again on the same prompts, all the same, say no more than one round of them."""
    rng = np.random.default_rng(0)
    labels = {(t, w): str(rng.choice(["a", "b"])) for t in range(40) for w in ("g0", "g1", "h0")}
    once = two_groups([(t, w, label) for (t, w), label in labels.items()])
    rows = [(t + 40 * n, w, label) for n in range(3) for (t, w), label in labels.items()]
    thrice = two_groups(rows)
    low, high = group_agreement_interval(once, range(40), seed=1)
    found = group_agreement(once)
    assert (low[0] < found[0]).all() and (found[0] < high[0]).all()
    assert np.isnan(low[1, 1])  # one person alone agrees with nobody
    same = group_agreement_interval(thrice, [t % 40 for t in thrice.votes.tasks], seed=1)  # type: ignore[operator]
    assert same[0][0, 1] == pytest.approx(low[0, 1]) and same[1][0, 1] == pytest.approx(high[0, 1])
    doubled = group_agreement(once, np.full(40, 2.0))
    assert doubled[0, 1] == pytest.approx(found[0, 1])
    with pytest.raises(ValueError, match="clusters"):
        group_agreement_interval(once, [1], seed=0)


# Rules -------------------------------------------------------------------------------------------


def duels(orders: dict[int, str], sizes: list[int]) -> Any:
    """Everybody in group g judges all pairs by the group's order."""
    rows = [
        (i, j, 1.0 if order.index("abc"[i]) < order.index("abc"[j]) else 0.0, group)
        for group, order in orders.items()
        for _ in range(sizes[group])
        for i in range(3)
        for j in range(i)
    ]
    first, second, p, group = (np.array(column) for column in zip(*rows, strict=True))
    return group_preferences(first, second, p, group, options=3, groups=len(orders))


def test_a_condorcet_cycle_of_votes() -> None:
    """a beats b beats c beats a, two to one each: no rule favours any, all groups lose alike."""
    cycle = duels({0: "abc", 1: "bca", 2: "cab"}, [4, 4, 4])
    for losses in losses_by_rule([cycle], np.full(3, 4.0)).values():
        assert losses == pytest.approx([0.5] * 3, abs=1e-5)


def test_seventy_to_thirty_by_rule() -> None:
    """Most rank abc, the others cba. The mean is the majority's; max-min splits it in halves."""
    votes = duels({0: "abc", 1: "cba"}, [7, 3])
    found = losses_by_rule([votes, votes], np.array([7.0, 3.0]))
    for rule in ("utilitarian", "borda", "copeland", "maximal_lottery"):
        assert found[rule] == pytest.approx([0.0, 1.0], abs=1e-5)  # type: ignore[index]
    assert found["max_min"] == pytest.approx([0.5, 0.5], abs=1e-5)
    assert found["quota"] == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="no prompt"):
        losses_by_rule([], np.ones(2))


def test_opposed_halves_are_invisible_to_one_model_and_plain_to_two() -> None:
    rng = np.random.default_rng(0)
    size = 4000
    group = rng.integers(2, size=size)
    for_a = rng.random(size) < expit(np.where(group == 0, 2.0, -2.0))
    zero, wins = np.zeros(size, dtype=int), for_a.astype(float)
    together = bradley_terry(zero, zero + 1, wins, items=2).scores
    assert abs(together[0] - together[1]) < 0.15
    for g, gap in ((0, 2.0), (1, -2.0)):
        own = group == g
        scores = bradley_terry(zero[own], zero[own] + 1, wins[own], items=2).scores
        assert scores[0] - scores[1] == pytest.approx(gap, abs=0.25)


def test_preferences_by_hand() -> None:
    """Group 0: a over b, and a tie; group 1 judged nothing of a and b but c over a."""
    found = group_preferences(
        np.array([0, 1, 2]),
        np.array([1, 0, 0]),
        np.array([1.0, 0.5, 1.0]),
        np.array([0, 0, 1]),
        options=3,
        groups=2,
    )
    assert found[0, 0, 1] == 0.75 and found[0, 1, 0] == 0.25 and found[0, 0, 2] == 0.5
    assert found[1, 2, 0] == 1.0 and found[1, 0, 1] == 0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 4))
def test_what_all_want_is_chosen_by_every_rule(seed: int, groups: int, options: int) -> None:
    """Unanimity: where one response beats each other in every group, nobody loses anything."""
    rng = np.random.default_rng(seed)
    shares = np.full((groups, options, options), 0.5)
    for i in range(options):
        for j in range(i + 1, options):
            shares[:, i, j] = rng.random(groups) if i else 0.5 + rng.random(groups) / 2 + 0.01
            shares[:, i, j] = np.minimum(shares[:, i, j], 1.0)
            shares[:, j, i] = 1 - shares[:, i, j]
    if (shares[:, 0].sum(1) <= shares[:, 1:].sum(2).max(1) + 0.01).any():
        return  # it beats all, yet another has the larger mean share: then the rules may differ
    for losses in losses_by_rule([shares], rng.integers(1, 9, groups).astype(float)).values():
        assert losses == pytest.approx(np.zeros(groups), abs=1e-4)
