"""Figures from grades: shares with Wilson's interval, means with a bootstrap by prompt."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from accord.annotation.intervals import cluster_bootstrap, wilson_interval
from accord.annotation.tables import Floats
from accord.annotation.win_rates import clustered_standard_error
from accord.suites.base import Figure


def estimate_share(passed: Sequence[bool]) -> Figure:
    """The share of prompts that passed, one grade a prompt.

    Raises:
        ValueError: there is no grade.
    """
    total, successes = len(passed), sum(passed)
    low, high = wilson_interval(successes, total)
    share = successes / total
    error = math.sqrt(share * (1 - share) / total)
    # Where all or none passed, rounding can leave the share outside by its last bit.
    return Figure(share, min(low, share), max(high, share), total, error)


def estimate_mean(
    values: Sequence[float] | Floats, prompts: Sequence[Hashable], *, seed: int = 0
) -> Figure:
    """The mean of values of which several may belong to one prompt.

    Args:
        values: (N,) grades.
        prompts: (N,) the prompt of each.

    Raises:
        ValueError: there is no value, or not one prompt each.
    """
    low, high = cluster_bootstrap(values, prompts, seed=seed)
    error = clustered_standard_error(values, prompts)
    n = len(set(prompts))
    return Figure(float(np.mean(values)), low, high, n, error if n > 1 else None)
