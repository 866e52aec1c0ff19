"""Win rates of one policy against another, and what a difference between them has to be to count.

Outcomes are numbers in [0, 1], one a judged pair: the probability that the policy's response is the
better; 1/2 is a tie. NaN says that the judge abstained: such a pair counts for nobody, and is
counted.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.tables import Floats


class WinRate(NamedTuple):
    """How often the policy won; shares are in [0, 1], and the interval is of 95%."""

    rate: float
    """mean outcome, so that a tie is half a win"""
    low: float
    high: float
    standard_error: float
    minimum_detectable_effect: float
    """the true difference from 1/2 that as many prompts would show four times in five"""
    wins: int
    losses: int
    ties: int
    abstained: int
    prompts: int
    """that have an outcome"""


def win_rate(outcomes: npt.ArrayLike, clusters: Sequence[Hashable], *, seed: int) -> WinRate:
    """Mean outcome, with an interval and a standard error over prompts.

    Args:
        outcomes: (N,) as above.
        clusters: (N,) the prompt that a pair belongs to; pairs of one prompt are not independent.

    Raises:
        ValueError: an outcome is outside [0, 1], there is not one cluster an outcome, or the judge
            abstained on all.
    """
    found, kept = known(outcomes, clusters)
    low, high = cluster_bootstrap(found, kept, seed=seed)
    error = clustered_standard_error(found, kept)
    return WinRate(
        rate=float(found.mean()),
        low=low,
        high=high,
        standard_error=error,
        minimum_detectable_effect=minimum_detectable_effect(error),
        wins=int((found > 0.5).sum()),
        losses=int((found < 0.5).sum()),
        ties=int((found == 0.5).sum()),
        abstained=len(clusters) - len(found),
        prompts=len(set(kept)),
    )


class Difference(NamedTuple):
    """The first's mean outcome less the second's, over what both have an outcome for."""

    value: float
    low: float
    high: float
    standard_error: float
    minimum_detectable_effect: float
    pairs: int


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, clusters: Sequence[Hashable], *, seed: int
) -> Difference:
    """Two policies against the same baseline on the same prompts, or two judges on the same pairs.

    Pairing takes out what the prompts have in common, which is most of the noise.

    Args:
        first: (N,) outcomes of one; row i of both is about the same thing.
        second: (N,) of the other.
        clusters: (N,) prompts.

    Raises:
        ValueError: lengths differ, an outcome is outside [0, 1], or no row is known of both.
    """
    a, b = _outcomes(first), _outcomes(second)
    if len(a) != len(b):
        raise ValueError(f"expected rows in pairs, got {len(a)} and {len(b)} outcomes")
    gaps, kept = _finite(a - b, clusters)
    low, high = cluster_bootstrap(gaps, kept, seed=seed)
    error = clustered_standard_error(gaps, kept)
    effect = minimum_detectable_effect(error)
    return Difference(float(gaps.mean()), low, high, error, effect, len(gaps))


def clustered_standard_error(values: npt.ArrayLike, clusters: Sequence[Hashable]) -> float:
    """Standard error of the mean when values of one cluster go together; NaN for one cluster.

        SE^2 = G / (G - 1) sum_g (sum_{i in g} (x_i - mean))^2 / N^2

    With one value a cluster it is the usual s / sqrt(N). Source: Liang and Zeger 1986, with the
    small-sample factor.
    """
    x = np.asarray(values, dtype=np.float64)
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    if len(names) < 2:
        return float("nan")
    sums = np.bincount(index, weights=x - x.mean())
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.square(sums).sum()) / len(x))


def minimum_detectable_effect(
    standard_error: float, *, power: float = 0.8, significance: float = 0.05
) -> float:
    """The true difference that a two-sided test of this standard error finds with that power."""
    return float((norm.ppf(1 - significance / 2) + norm.ppf(power)) * standard_error)


class McNemar(NamedTuple):
    """Prompts on which only one of two succeeded, and how surprising their imbalance is."""

    only_first: int
    only_second: int
    p_value: float
    """two-sided and exact: both policies as good would be as far apart at least so often"""


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """Are two policies equally good, by the prompts on which they differ? Source: McNemar 1947.

    Args:
        first: (N,) 1 where the one succeeded, 0 where not; ties and abstentions (1/2, NaN) of
            either leave their row out.
        second: (N,) the same of the other, on the same prompts.

    Raises:
        ValueError: the lengths differ.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"expected outcomes of the same prompts, got {len(a)} and {len(b)}")
    only_first = int(((a == 1) & (b == 0)).sum())
    only_second = int(((a == 0) & (b == 1)).sum())
    different = only_first + only_second
    p_value = float(binomtest(only_first, different).pvalue) if different else 1.0
    return McNemar(only_first, only_second, p_value)


def mean_of_orders(forth: npt.ArrayLike, back: npt.ArrayLike) -> Floats:
    """(N,) outcomes of the policy from its probabilities when shown first and when shown second.

    Args:
        forth: (N,) that the policy's response, shown first, is the better.
        back: (N,) that the other's response, shown first, is the better.

    Returns:
        The mean over both orders; NaN where either abstained, for one order alone is biased.
    """
    # In this form a judge who always says the same has exactly 1/2.
    outcomes: Floats = 0.5 + (_outcomes(forth) - _outcomes(back)) / 2
    return outcomes


def agreement_of_orders(forth: npt.ArrayLike, back: npt.ArrayLike) -> Floats:
    """(N,) 1 or 0 where both orders give the same verdict, and 1/2 where they do not.

    Arguments as for `mean_of_orders`. NaN where either abstained.
    """
    a, b = verdicts(forth), 1 - verdicts(back)
    outcomes: Floats = np.where(np.isnan(a + b), np.nan, np.where(a == b, a, 0.5))
    return outcomes


def verdicts(probabilities: npt.ArrayLike) -> Floats:
    """(N,) 1 above 1/2, 0 below, 1/2 at it (a tie), NaN for NaN."""
    p = _outcomes(probabilities)
    found: Floats = np.where(np.isnan(p), np.nan, (1 + np.sign(p - 0.5)) / 2)
    return found


def known(
    outcomes: npt.ArrayLike, clusters: Sequence[Hashable]
) -> tuple[Floats, Sequence[Hashable]]:
    """The outcomes that are not NaN, and their clusters.

    Raises:
        ValueError: an outcome is outside [0, 1], there is not one cluster an outcome, or all are
            NaN.
    """
    return _finite(_outcomes(outcomes), clusters)


def _finite(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Sequence[Hashable]]:
    if len(values) != len(clusters):
        raise ValueError(f"expected one cluster a value, got {len(values)} and {len(clusters)}")
    is_known = ~np.isnan(values)
    if not is_known.any():
        raise ValueError(f"the judge abstained on all of {len(values)} pairs")
    return values[is_known], [c for c, keep in zip(clusters, is_known, strict=True) if keep]


def _outcomes(values: npt.ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if ((x < 0) | (x > 1)).any():
        raise ValueError(f"expected numbers in [0, 1], or NaN, got {x[(x < 0) | (x > 1)][0]}")
    return x
