"""How far annotators agree: several coefficients, for no one of them tells enough, and intervals.

All take counts, (tasks, categories): how many annotators gave each label to each task. Who gave
which is of no account for them, tasks may have any number of votes, and those with fewer than two
say nothing. `weights` (tasks,) count a task several times, or not at all, as a bootstrap does.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Literal, Protocol

import numpy as np

from accord.annotation.tables import Floats, Ints

Level = Literal["nominal", "ordinal", "interval"]


class Coefficient(Protocol):
    """One of the functions below."""

    def __call__(self, counts: Floats, weights: Floats | None = None) -> float:
        """NaN where it is not defined: nobody judged what another did, or chance is certain."""


def percent(counts: Floats, weights: Floats | None = None) -> float:
    """Share of pairs of votes on the same task that are equal.

    Every pair of votes counts once, so a task with many votes counts for more.
    """
    w = _weights(counts, weights)
    votes = counts.sum(1)
    same = (w[:, None] * counts * (counts - 1)).sum()
    return _ratio(float(same), float((w * votes * (votes - 1)).sum()))


def cohen_kappa(first: Ints, second: Ints, *, categories: int) -> float:
    """Agreement of two annotators beyond chance, by each one's own use of the labels.

        kappa = (p_o - p_e) / (1 - p_e),  p_e = sum_k p_k q_k

    Source: Cohen 1960.

    Args:
        first: (N,) labels of one annotator.
        second: (N,) labels that the other gave to the same tasks.
        categories: how many labels there are.

    Raises:
        ValueError: they did not judge the same number of tasks, or none.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"expected two labels a task, got {len(first)} and {len(second)}")
    observed = float((first == second).mean())
    p, q = (np.bincount(x, minlength=categories) / len(x) for x in (first, second))
    return _beyond(observed, float(p @ q))


def fleiss_kappa(counts: Floats, weights: Floats | None = None) -> float:
    """Agreement of many annotators beyond chance, by everybody's use of the labels.

        kappa = (P - P_e) / (1 - P_e),  P the mean over tasks,  P_e = sum_k p_k^2

    p_k is the share of label k among all votes. Source: Fleiss 1971, where every task has the same
    number of votes; here each task's agreement is over its own.
    """
    shared, w = _shared(counts, weights)
    return _beyond(_mean_agreement(shared, w), float(np.square(_shares(shared, w)).sum()))


def gwet_ac1(counts: Floats, weights: Floats | None = None) -> float:
    """Agreement beyond chance, stable where nearly all votes are of one label.

        AC1 = (p_a - p_e) / (1 - p_e),  p_e = sum_k pi_k (1 - pi_k) / (q - 1)

    pi_k is the mean over tasks of the share of label k; q counts the labels. Source: Gwet 2008.
    """
    shared, w = _shared(counts, weights)
    every = _weights(counts, weights) * (counts.sum(1) > 0)
    if not every.sum():
        return float("nan")
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    pi = (every[:, None] * shares).sum(0) / every.sum()
    q = counts.shape[1]
    return _beyond(_mean_agreement(shared, w), float((pi * (1 - pi)).sum() / (q - 1)))


def krippendorff_alpha(
    counts: Floats,
    weights: Floats | None = None,
    *,
    level: Level = "nominal",
    values: Sequence[float] | None = None,
) -> float:
    """Krippendorff's alpha: 1 - D_o / D_e, the disagreement seen over that by chance.

    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Args:
        counts: labels in their order where the level is not nominal.
        weights: of tasks.
        level: what a difference of two labels is worth: 1 ("nominal"), the squared number of votes
            between them ("ordinal"), or the squared difference of their values ("interval").
        values: of the labels, for "interval"; None means 0, 1, 2, ...
    """
    shared, w = _shared(counts, weights)
    votes = shared.sum(1)
    per_task = w / np.maximum(votes - 1, 1)
    together = np.einsum("t,tj,tk->jk", per_task, shared, shared)
    coincidences = together - np.diag((per_task[:, None] * shared).sum(0))
    margins = coincidences.sum(1)
    total = margins.sum()
    distance = _distances(margins, level, values)
    expected = (np.outer(margins, margins) * distance).sum()
    if total <= 1 or expected == 0:
        return float("nan")
    return float(1 - (total - 1) * (coincidences * distance).sum() / expected)


def _distances(margins: Floats, level: Level, values: Sequence[float] | None) -> Floats:
    """(K, K) squared differences."""
    count = len(margins)
    if level == "nominal":
        return 1.0 - np.eye(count)
    if level == "interval":
        v = np.arange(count, dtype=np.float64) if values is None else np.array(values, dtype=float)
        squared: Floats = np.square(v[:, None] - v[None])
        return squared
    # Half of the two labels' own votes, and all of those between them.
    middle = np.cumsum(margins) - margins / 2
    between: Floats = np.square(middle[:, None] - middle[None])
    return between


def agreement_interval(
    coefficient: Coefficient | Callable[[Floats, Floats], float],
    counts: Floats,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Percentile interval of a coefficient, resampling whole prompts.

    Args:
        coefficient: of this module.
        counts: (tasks, categories).
        clusters: (tasks,) the prompt that a task belongs to.

    Returns:
        (low, high); NaN when the coefficient is defined in no resample.

    Raises:
        ValueError: not one cluster a task.
    """
    if len(clusters) != len(counts) or not len(counts):
        raise ValueError(f"expected one cluster a task, got {len(clusters)} and {len(counts)}")
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        found.append(coefficient(counts, drawn[index].astype(np.float64)))
    defined = np.array(found)[~np.isnan(found)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weights(counts: Floats, weights: Floats | None) -> Floats:
    return np.ones(len(counts)) if weights is None else weights


def _shared(counts: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Tasks with at least two votes, and their weights."""
    several = counts.sum(1) >= 2
    return counts[several], _weights(counts, weights)[several]


def _shares(counts: Floats, w: Floats) -> Floats:
    """(K,) of all votes."""
    totals = (w[:, None] * counts).sum(0)
    found: Floats = totals / max(totals.sum(), 1.0)
    return found


def _mean_agreement(counts: Floats, w: Floats) -> float:
    """Mean over tasks of the share of equal pairs of votes."""
    votes = counts.sum(1)
    agreement = (counts * (counts - 1)).sum(1) / (votes * (votes - 1))
    return _ratio(float((w * agreement).sum()), float(w.sum()))


def _beyond(observed: float, by_chance: float) -> float:
    return _ratio(observed - by_chance, 1 - by_chance)


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")
