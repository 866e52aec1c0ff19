"""Whose values: from what groups prefer to one choice, by a rule that is named.

A reward model that is fitted to everybody's votes at once follows a rule that nobody chose (about
Borda's: Siththaranjan et al. 2024, arXiv:2312.08358). Here the rule is an argument, and what each
group loses by it is a figure.

Preferences are (groups, options, options): entry [g, i, j] is the share of group g's votes between
i and j that went to i, a tie counting half; [g, i, j] + [g, j, i] = 1, the diagonal is 1/2, and a
pair that a group did not judge is 1/2. A choice is a lottery over the options: (options,)
probabilities; where several options are equally good by a rule, they share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import LinearConstraint, linprog, minimize

from accord.annotation.tables import Floats
from accord.core.types import Rule

_EQUAL = 1e-9


def utilities(preferences: Floats) -> Floats:
    """(groups, options): the mean share of a group's votes that an option gets against others."""
    options = preferences.shape[1]
    found: Floats = (preferences.sum(2) - 0.5) / (options - 1)
    return found


def utilitarian(utility: Floats, weights: Floats) -> Floats:
    """The options with the largest mean utility; groups weigh by their sizes (or by quotas).

    Args:
        utility: (groups, options), of one scale for all groups.
        weights: (groups,) 0 or more, not all 0.
    """
    return _best(_normal(weights) @ utility)


def borda(preferences: Floats, weights: Floats) -> Floats:
    """The options that win the most votes against all others (Borda 1781), votes pooled."""
    return _best(pooled(preferences, weights).sum(1))


def copeland(preferences: Floats, weights: Floats) -> Floats:
    """The options that win the most pairwise majorities, a tied one counting half (Copeland 1951).

    An option that beats every other is chosen: the Condorcet winner.
    """
    together = pooled(preferences, weights)
    wins = np.where(np.abs(together - 0.5) <= _EQUAL, 0.5, (together > 0.5).astype(float))
    return _best(wins.sum(1))


def max_min(utility: Floats) -> Floats:
    """The lottery whose worst-off group has the most (Rawls 1971; Chakraborty et al. 2024,
    arXiv:2402.08925, choose so among policies), found by linear programming.

    Sizes of groups do not count.
    """
    return _fairest(utility)


def maximal_lottery(preferences: Floats, weights: Floats) -> Floats:
    """The lottery that no other beats by pooled votes: an equilibrium of the game of majorities.

    Source: Fishburn 1984; as an aim of alignment, Munos et al. 2024, arXiv:2312.00886.
    """
    return _fairest(pooled(preferences, weights).T)


def pooled(preferences: Floats, weights: Floats) -> Floats:
    """(options, options) preferences of all groups together, by weight."""
    found: Floats = np.einsum("g,gij->ij", _normal(weights), preferences)
    return found


@dataclass(frozen=True)
class Outcome:
    """What a rule chooses, and what each group would rather have had.

    `losses` is (groups,): utility of the group's own best option less its utility of the choice.
    """

    choice: Floats
    losses: Floats


def under_every_rule(
    preferences: Floats, sizes: Floats, *, quotas: Floats | None = None
) -> Mapping[Rule, Outcome]:
    """The same votes under every rule.

    Args:
        preferences: (groups, options, options).
        sizes: (groups,) votes, or people.
        quotas: (groups,) weights that were decided on; None gives every group the same.

    Raises:
        ValueError: preferences that are no shares, or not one size a group.
    """
    _check(preferences, sizes)
    utility = utilities(preferences)
    own = np.ones(len(sizes)) if quotas is None else quotas
    rules: dict[Rule, Callable[[], Floats]] = {
        "utilitarian": lambda: utilitarian(utility, sizes),
        "borda": lambda: borda(preferences, sizes),
        "copeland": lambda: copeland(preferences, sizes),
        "max_min": lambda: max_min(utility),
        "maximal_lottery": lambda: maximal_lottery(preferences, sizes),
        "quota": lambda: utilitarian(utility, own),
    }
    return {
        name: Outcome(choice := rule(), utility.max(1) - utility @ choice)
        for name, rule in rules.items()
    }


def _check(preferences: Floats, sizes: Floats) -> None:
    groups, options, across = preferences.shape
    mirrored = np.abs(preferences + preferences.transpose(0, 2, 1) - 1).max() <= 1e-6
    if options != across or options < 2 or not mirrored or (preferences < 0).any():
        raise ValueError(
            "preferences must be shares of votes: [g, i, j] + [g, j, i] = 1, at least two options"
        )
    if sizes.shape != (groups,) or (sizes < 0).any() or not sizes.sum():
        raise ValueError(f"expected one size a group, not all 0, got {sizes.tolist()}")


def _fairest(gains: Floats) -> Floats:
    """The lottery p with the largest min_g gains[g] @ p; of several the most even, which treats
    equal options alike.
    """
    rows, options = gains.shape
    best = linprog(
        np.append(np.zeros(options), -1.0),
        A_ub=np.column_stack([-gains, np.ones(rows)]),
        b_ub=np.zeros(rows),
        A_eq=np.append(np.ones(options), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, 1)] * options + [(None, None)],
    )
    lottery, value = best.x[:options], best.x[options]
    even = minimize(
        lambda p: p @ p,
        lottery,
        jac=lambda p: 2 * p,
        bounds=[(0, 1)] * options,
        constraints=[
            LinearConstraint(np.ones(options), 1, 1),
            LinearConstraint(gains, value - _EQUAL, np.inf),
        ],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    is_right = even.success and (gains @ even.x).min() >= value - 1e-6
    return _normal(np.maximum(even.x if is_right else lottery, 0))


def _best(scores: Floats) -> Floats:
    return _normal((scores >= scores.max() - _EQUAL).astype(float))


def _normal(weights: Floats) -> Floats:
    found: Floats = weights / weights.sum()
    return found
