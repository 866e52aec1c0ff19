"""Several options by a rule: by hand, and where rules differ."""

import numpy as np
import pytest

from accord.annotation.elections import Ballot, elect, preferences_of


def ballots(*orders: str) -> list[Ballot]:
    """A voter an order: "abc" prefers a to b to c."""
    return [
        Ballot(f"v{number}", {ord(name) - ord("a"): place for place, name in enumerate(order)})
        for number, order in enumerate(orders)
    ]


def each_alone(votes: list[Ballot]) -> dict[str, str]:
    return {ballot.voter: ballot.voter for ballot in votes}


def test_ballots_become_shares() -> None:
    votes = [Ballot("x", {0: 1, 1: 2}), Ballot("x", {0: 2, 1: 1}), Ballot("y", {0: 1, 2: 1})]
    found = preferences_of(votes, {"x": "g", "y": "h"}, 3)
    assert found[0].tolist() == [[0.5, 0.5, 0.5]] * 3  # once so, once so
    assert found[1, 0, 2] == found[1, 2, 0] == 0.5  # a tie
    found = preferences_of(votes[:1], {"x": "g"}, 3)
    assert found[0, 0, 1] == 1 and found[0, 1, 0] == 0 and found[0, 0, 2] == 0.5
    assert np.allclose(found + found.transpose(0, 2, 1), 1)


def test_options_are_taken_one_after_the_other() -> None:
    votes = ballots("abcd", "abcd", "bacd", "dcba")
    preferences = preferences_of(votes, each_alone(votes), 4)
    for rule in ("borda", "copeland", "maximal_lottery", "utilitarian"):
        found = elect(preferences, np.ones(4), rule, 3)  # type: ignore[arg-type]
        assert found.chosen == (0, 1, 2), rule
    assert elect(preferences, np.ones(4), "borda", 9).chosen == (0, 1, 2, 3)
    # a wins 3 + 3 + 2 of 12 votes against the others; the diagonal is no vote.
    assert found.support[0] == pytest.approx((2 + 3 + 3) / 12)


def test_rules_may_differ_on_who_comes_first() -> None:
    """Three of five put a first; b is nobody's last and has more votes in all."""
    votes = ballots("abc", "abc", "abc", "bca", "bca")
    preferences = preferences_of(votes, each_alone(votes), 3)
    assert elect(preferences, np.ones(5), "copeland", 1).chosen == (0,)
    assert elect(preferences, np.ones(5), "borda", 1).chosen == (1,)


def test_the_worst_off_group_counts_where_the_rule_says_so() -> None:
    """A majority group wants a; b is everybody's second."""
    votes = ballots(*["abc"] * 8, *["cba"] * 2)
    groups = {ballot.voter: "many" if n < 8 else "few" for n, ballot in enumerate(votes)}
    preferences = preferences_of(votes, groups, 3)
    sizes = np.array([2.0, 8.0])  # few, many: in the order of their names
    assert elect(preferences, sizes, "borda", 1).chosen == (0,)
    quotas = np.array([0.9, 0.1])
    assert elect(preferences, sizes, "quota", 1, quotas=quotas).chosen == (2,)


def test_one_option_is_taken() -> None:
    found = elect(np.full((1, 1, 1), 0.5), np.ones(1), "borda", 3)
    assert found.chosen == (0,) and found.support == (1.0,)
