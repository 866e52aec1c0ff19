"""Whose values: what groups of annotators prefer, how far they agree, and who loses by which rule.

A group is what annotators declared themselves, if they did. Small ones are never shown, so that no
figure is one person's.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accord.annotation.agreement import krippendorff_alpha
from accord.annotation.social_choice import under_every_rule
from accord.annotation.tables import Floats, Ints, Votes
from accord.core.types import Rule

OTHER = "other"


def shown_groups(declared: Mapping[str, str | None], *, k: int = 5) -> dict[str, str]:
    """The group that each annotator may be shown under: of k people at least.

    Smaller groups are pooled as "other"; a pool of fewer than k is withheld, like those who
    declared nothing: they are in no group, and count in the figures of everybody.

    Args:
        declared: annotator to group; None for whoever declared none.
        k: the fewest people of whom a figure may be shown.

    Raises:
        ValueError: k is below 2, where a group may be one person.
    """
    if k < 2:
        raise ValueError(f"a group of {k} is no group: expected 2 or more")
    sizes = Counter(group for group in declared.values() if group is not None)
    pooled = {
        annotator: group if sizes[group] >= k and group != OTHER else OTHER
        for annotator, group in declared.items()
        if group is not None
    }
    final = Counter(pooled.values())
    return {annotator: group for annotator, group in pooled.items() if final[group] >= k}


@dataclass(frozen=True)
class Groups:
    """Votes of annotators who are in a group; `group` (N,) numbers the `names`, vote by vote."""

    votes: Votes
    group: Ints
    names: list[str]

    @classmethod
    def of(cls, votes: Votes, shown: Mapping[str, str]) -> "Groups":
        """Of all votes, those by annotators in `shown` (annotator to group).

        Raises:
            ValueError: none is.
        """
        names = sorted(set(shown.values()))
        places = {name: place for place, name in enumerate(names)}
        of_annotator = np.array([places.get(shown.get(str(a), ""), -1) for a in votes.annotators])
        group = of_annotator[votes.annotator]
        kept = group >= 0
        if not kept.any():
            raise ValueError("no vote is by an annotator of a group that may be shown")
        return cls(votes.where(kept), group[kept], names)

    def counts(self, group: int) -> Floats:
        """(tasks, categories) of one group."""
        return self.votes.where(self.group == group).counts()


def group_agreement(groups: Groups, weights: Floats | None = None) -> Floats:
    """(groups, groups) agreement beyond chance: alpha within a group, and between each two.

    Within is Krippendorff's, nominal. Between, only pairs of votes from different groups count:

        1 - D_o / D_e,  D_o the mean over shared tasks of P(a vote of g != a vote of h),
                        D_e the same were labels drawn from each group's shares on those tasks

    each task weighing by its number of votes. With one person a group and every task done by both
    it is Cohen's kappa. Within far above between: the groups see it differently.

    Source: Wong et al. 2021, arXiv:2106.07393 (cross-replication reliability).

    Args:
        groups: the votes.
        weights: (tasks,) that count a task several times, or not at all; None means once.

    Returns:
        Symmetric; NaN where a figure is not defined.
    """
    tables = [groups.counts(g) for g in range(len(groups.names))]
    found = np.full((len(tables), len(tables)), np.nan)
    for g, own in enumerate(tables):
        found[g, g] = krippendorff_alpha(own, weights)
        for h in range(g):
            found[g, h] = found[h, g] = between(own, tables[h], weights)
    return found


def group_agreement_interval(
    groups: Groups,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = 500,
) -> tuple[Floats, Floats]:
    """(groups, groups) lower and upper ends of `group_agreement`, resampling whole prompts.

    Args:
        groups: the votes.
        clusters: (tasks,) the prompt that a task belongs to.
        seed: of the resampling.
        level: of each interval.
        resamples: how many.

    Returns:
        NaN where the agreement is defined in no resample.

    Raises:
        ValueError: not one cluster a task.
    """
    if len(clusters) != len(groups.votes.tasks):
        raise ValueError(f"{len(clusters)} clusters of {len(groups.votes.tasks)} tasks")
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    rng = np.random.default_rng(seed)
    found = np.stack(
        [
            group_agreement(groups, np.bincount(drawn, minlength=len(names))[index].astype(float))
            for drawn in rng.integers(len(names), size=(resamples, len(names)))
        ]
    )
    is_defined = ~np.isnan(found).all(0)
    ends = np.full((2, *is_defined.shape), np.nan)
    tails = [(1 - level) / 2, (1 + level) / 2]
    ends[:, is_defined] = np.nanquantile(found[:, is_defined], tails, axis=0)
    return ends[0], ends[1]


def between(first: Floats, second: Floats, weights: Floats | None = None) -> float:
    """Agreement of two groups' (tasks, categories) counts, as `group_agreement` says."""
    shared = (first.sum(1) > 0) & (second.sum(1) > 0)
    if not shared.any():
        return float("nan")
    a, b = first[shared], second[shared]
    weight = (a.sum(1) + b.sum(1)) * (1.0 if weights is None else weights[shared])
    weight /= max(weight.sum(), 1e-300)
    p, q = a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True)
    seen = 1 - float(weight @ (p * q).sum(1))
    by_chance = 1 - float((weight @ p) @ (weight @ q))
    return 1 - seen / by_chance if by_chance else float("nan")


def group_preferences(
    first: Ints, second: Ints, p_first: Floats, group: Ints, *, options: int, groups: int
) -> Floats:
    """(groups, options, options) shares of votes, as the rules of social choice want them.

    Args:
        first: (N,) places of the first options.
        second: (N,) of the second ones.
        p_first: (N,) 1 where first was preferred, 1/2 for a tie, 0 where second was.
        group: (N,) of the annotator.
        options: how many there are; a pair that a group did not judge is 1/2.
        groups: how many groups.
    """
    wins, total = np.zeros((2, groups, options, options))
    np.add.at(wins, (group, first, second), p_first)
    np.add.at(wins, (group, second, first), 1 - p_first)
    np.add.at(total, (group, first, second), 1)
    np.add.at(total, (group, second, first), 1)
    return np.where(total > 0, wins / np.maximum(total, 1), 0.5)


def losses_by_rule(
    prompts: Sequence[Floats], sizes: Floats, *, quotas: Floats | None = None
) -> Mapping[Rule, Floats]:
    """What each group loses by each rule, a mean over prompts: (groups,) a rule.

    A loss is the utility (the mean share of the group's votes) of the group's own best response
    less that of the rule's choice; 0 where the group gets what it wants.

    Args:
        prompts: (groups, options, options) of each, as `group_preferences` gives it.
        sizes: (groups,) people.
        quotas: (groups,) that were decided on; None gives every group the same.

    Raises:
        ValueError: there is no prompt, or preferences are no shares.
    """
    if not len(prompts):
        raise ValueError("no prompt has responses to choose among")
    outcomes = [under_every_rule(preferences, sizes, quotas=quotas) for preferences in prompts]
    return {
        rule: np.mean([outcome[rule].losses for outcome in outcomes], axis=0)
        for rule in outcomes[0]
    }
