"""Several options by a rule of social choice: the best, then the best of the rest, and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.annotation.social_choice import pooled, under_every_rule
from accord.annotation.tables import Floats
from accord.core.types import Rule


@dataclass(frozen=True)
class Ballot:
    """What one voter said of several options: the lower the rank the better; equal ranks tie."""

    voter: str
    ranks: Mapping[int, float]


def preferences_of(ballots: Sequence[Ballot], groups: Mapping[str, str], options: int) -> Floats:
    """(groups, options, options) shares of each group's votes, as `social_choice` has them.

    A ballot is a vote on every pair of options that it ranks; a tie is half a vote for each. What
    no ballot of a group compares is 1/2.

    Args:
        ballots: any number a voter.
        groups: each voter's group; groups are in the order of their names.
        options: how many there are.
    """
    names = sorted({groups[ballot.voter] for ballot in ballots})
    won = np.zeros((len(names), options, options))
    for ballot in ballots:
        group = names.index(groups[ballot.voter])
        for i, mine in ballot.ranks.items():
            for j, other in ballot.ranks.items():
                if i != j:
                    won[group, i, j] += 1.0 if mine < other else 0.5 if mine == other else 0.0
    cast = won + won.transpose(0, 2, 1)
    found: Floats = np.divide(won, cast, out=np.full(won.shape, 0.5), where=cast > 0)
    return found


@dataclass(frozen=True)
class Elected:
    """Options in the order in which the rule took them, and every option's support: the mean share
    of the pooled votes that it gets against the others.
    """

    chosen: tuple[int, ...]
    support: tuple[float, ...]


def elect(
    preferences: Floats, sizes: Floats, rule: Rule, size: int, *, quotas: Floats | None = None
) -> Elected:
    """Take the option that the rule gives the most, then that of those that are left, and so on.

    Of options that a rule treats alike, the one with more support goes first, then the first.

    Args:
        preferences: (groups, options, options).
        sizes: (groups,) people.
        rule: of social choice.
        size: options to take; all of them where there are no more.
        quotas: (groups,) weights for the rule quota.
    """
    count = preferences.shape[1]
    support = np.ones(count)
    if count > 1:
        support = (pooled(preferences, sizes).sum(1) - 0.5) / (count - 1)
    left = list(range(count))
    chosen: list[int] = []
    while left and len(chosen) < size:
        shares: Any = np.ones(1)
        if len(left) > 1:
            part = preferences[np.ix_(range(len(preferences)), left, left)]
            shares = under_every_rule(part, sizes, quotas=quotas)[rule].choice
        best = max(range(len(left)), key=lambda k: (round(shares[k], 6), support[left[k]], -k))
        chosen.append(left.pop(best))
    return Elected(tuple(chosen), tuple(float(s) for s in support))
