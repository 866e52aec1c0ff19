"""Noise or plural: a slip that more votes would settle, or groups that want different things."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accord.annotation.tables import Floats, Ints
from accord.annotation.values import Groups

Finding = Literal["agreed", "noise", "plural"]


@dataclass(frozen=True)
class DisagreementMap:
    """What each group prefers on each task, and what sort of disagreement that is.

    `preference` is (tasks, groups), the mean worth of the group's votes, NaN where it has none.
    `p_values` is (tasks,), of no difference between groups; NaN where fewer than two voted, or all
    votes are alike.
    """

    preference: Floats
    p_values: Floats
    findings: list[Finding]


def disagreement_map(
    groups: Groups,
    worth: Sequence[float],
    *,
    seed: int,
    false_share: float = 0.1,
    shuffles: int = 999,
) -> DisagreementMap:
    """Tasks on which all agree, people differ ("noise"), or groups differ ("plural").

    A task's votes are shuffled among its voters: by chance the groups' means would differ as much
    with probability p. Of the tasks called plural, at most `false_share` are expected to be noise
    (Benjamini and Hochberg 1995).

    Args:
        groups: the votes; one by each annotator on a task.
        worth: of each category: 1 for a, 1/2 for a tie, 0 for b.
        seed: of the shuffles.
        false_share: of what is called plural, in (0, 1).
        shuffles: how many; no p is below 1 / (shuffles + 1).
    """
    value = np.array(worth, dtype=np.float64)[groups.votes.label]
    rng = np.random.default_rng(seed)
    tasks, count = len(groups.votes.tasks), len(groups.names)
    preference, p_values = np.full((tasks, count), np.nan), np.full(tasks, np.nan)
    is_mixed = np.zeros(tasks, dtype=bool)
    by_task = np.argsort(groups.votes.task, kind="stable")
    ends = np.cumsum(np.bincount(groups.votes.task, minlength=tasks))
    for task, here in enumerate(np.split(by_task, ends[:-1])):
        x, group = value[here], groups.group[here]
        size = np.bincount(group, minlength=count)
        sums = np.bincount(group, x, count)
        preference[task] = np.where(size > 0, sums / np.maximum(size, 1), np.nan)
        is_mixed[task] = len(np.unique(x)) > 1
        # Shuffling equal votes changes nothing: such a task is no test, and is not counted as one.
        if is_mixed[task] and (size > 0).sum() > 1:
            p_values[task] = _shuffled(x, group, count, shuffles, rng)
    is_plural = _discoveries(p_values, false_share)
    kinds: list[Finding] = [
        "plural" if plural else "noise" if mixed else "agreed"
        for plural, mixed in zip(is_plural, is_mixed, strict=True)
    ]
    return DisagreementMap(preference, p_values, kinds)


def groups_differ(
    groups: Groups, worth: Sequence[float], *, seed: int, shuffles: int = 999
) -> float:
    """P(groups' preferences would differ as much over all tasks, were groups drawn by lot).

    Who is in which group is shuffled, annotators keep their votes: one person's taste is not a
    group's. It finds what no single task shows: with three votes of each of two groups, the map's
    p is never below 1/10.

    Args:
        groups: the votes.
        worth: of each category, as in `disagreement_map`.
        seed: of the shuffles.
        shuffles: how many; p is at least 1 / (shuffles + 1).
    """
    votes, count = groups.votes, len(groups.names)
    of_annotator = np.full(len(votes.annotators), -1)
    of_annotator[votes.annotator] = groups.group
    members = np.flatnonzero(of_annotator >= 0)
    x = np.array(worth, dtype=np.float64)[votes.label]
    # About their task's mean: so no task's being liked by all is taken for a difference.
    size = np.bincount(votes.task, minlength=len(votes.tasks))
    x = x - (np.bincount(votes.task, x, len(votes.tasks)) / np.maximum(size, 1))[votes.task]
    rng = np.random.default_rng(seed)
    spreads = np.empty(shuffles + 1)
    for n in range(shuffles + 1):
        cell = votes.task * count + of_annotator[votes.annotator]
        sums = np.bincount(cell, x)
        spreads[n] = (np.square(sums) / np.maximum(np.bincount(cell), 1)).sum()
        of_annotator[members] = rng.permutation(of_annotator[members])
    return float((spreads >= spreads[0] - 1e-9).mean())


def _shuffled(x: Floats, group: Ints, count: int, shuffles: int, rng: np.random.Generator) -> float:
    """P(the groups' means spread as much), their votes being shuffled."""
    belongs = (group[:, None] == np.arange(count)).astype(np.float64)
    size = np.maximum(belongs.sum(0), 1)
    drawn = rng.permuted(np.tile(x, (shuffles, 1)), axis=1)
    # The total is fixed, so that the spread between groups is this but for a constant.
    spread = np.square(np.vstack([x, drawn]) @ belongs) @ (1 / size)
    return float((spread >= spread[0] - 1e-9).mean())


def _discoveries(p_values: Floats, false_share: float) -> npt.NDArray[np.bool_]:
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    allowed = false_share * np.arange(1, len(order) + 1) / max(len(order), 1)
    passing = np.flatnonzero(p_values[order] <= allowed)
    found = np.zeros(len(p_values), dtype=bool)
    if len(passing):
        found[order[: passing[-1] + 1]] = True
    return found
