"""Intervals: percentile bootstrap by cluster, and Wilson's for shares."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm


def cluster_bootstrap(
    values: npt.ArrayLike,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile interval of the mean of `values`, resampling whole clusters (prompts).

    Args:
        values: (N,) one number an observation.
        clusters: (N,) what observation i belongs to; observations of a cluster are not
            independent.

    Returns:
        (low, high).

    Raises:
        ValueError: there is no value, or the lengths differ.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0 or len(x) != len(clusters):
        raise ValueError(f"expected one cluster a value, got {len(x)} and {len(clusters)}")
    names: dict[Hashable, int] = {}
    index = np.array([names.setdefault(cluster, len(names)) for cluster in clusters])
    sums = np.bincount(index, weights=x)
    counts = np.bincount(index)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def wilson_interval(successes: float, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a share. Source: Wilson 1927.

    Raises:
        ValueError: `total` is below 1, or `successes` outside [0, total].
    """
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(f"{successes} of {total} is no share")
    z = float(norm.ppf(0.5 + level / 2))
    share = successes / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))
