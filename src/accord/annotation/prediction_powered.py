"""A mean by many judgements of a model, put right by people's judgements of a few of the pairs."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from accord.annotation.tables import Floats


class Corrected(NamedTuple):
    """A win rate that people would give, with its 95% interval."""

    value: float
    low: float
    high: float
    standard_error: float
    weight: float
    """lambda, in [0, 1]: how much the judge says of what people say; 0 leaves people alone"""
    by_judge: float
    """mean of the judge, over all pairs, an abstention at 1/2"""
    by_people: float
    """mean of the people, over theirs"""
    labelled: int
    unlabelled: int


def corrected_mean(
    judge: npt.ArrayLike,
    people: npt.ArrayLike,
    clusters: Sequence[Hashable],
    *,
    weight: float | None = None,
) -> Corrected:
    """Prediction-powered mean of people's judgements, of which only some were asked for.

        theta = lambda mean(judge, unlabelled) + mean(people - lambda judge, labelled)

    whatever the judge's faults, it is unbiased as far as the labelled pairs were drawn at random
    (by prompt); a better judge makes it more certain. lambda is the one of least variance,
    cov(people, judge) / ((1 + n / N) var(judge)), kept within [0, 1]. Sums of prompts are what is
    independent in the standard error, over both slices together.

    Source: Angelopoulos et al. 2023, arXiv:2301.09633 (lambda = 1), and Angelopoulos, Duchi and
    Zrnic 2023, arXiv:2311.01453, section 6 (the weight).

    Args:
        judge: (M,) outcomes in [0, 1] by the judge; where it abstained (NaN) it is taken at 1/2.
        people: (M,) outcomes by people; NaN where nobody was asked.
        clusters: (M,) prompts.
        weight: lambda, where it is not to be estimated.

    Raises:
        ValueError: an outcome is outside [0, 1], the lengths differ, or people judged fewer than
            two prompts.
    """
    f, y = _checked(judge, people, len(clusters))
    f = np.where(np.isnan(f), 0.5, f)
    group = _numbers(clusters)
    has_label = ~np.isnan(y)
    n, rest = int(has_label.sum()), int((~has_label).sum())
    if len(set(group[has_label].tolist())) < 2:
        raise ValueError("expected people's judgements of at least two prompts")
    share = _weight(f, y[has_label], has_label) if weight is None or not rest else weight
    rectified = y[has_label] - share * f[has_label]
    others = share * f[~has_label]
    value = float(rectified.mean() + (others.mean() if rest else 0.0))
    influence = np.zeros(len(f))
    influence[has_label] = (rectified - rectified.mean()) / n
    influence[~has_label] = (others - value + rectified.mean()) / max(rest, 1)
    # People who all agree show no spread; the next prompt could still be otherwise.
    asked = len(set(group[has_label].tolist()))
    error = max(_error_of_sums(influence, group), 1 / asked)
    half = float(norm.ppf(0.975)) * error
    return Corrected(
        value=value,
        low=value - half,
        high=value + half,
        standard_error=error,
        weight=share,
        by_judge=float(f.mean()),
        by_people=float(y[has_label].mean()),
        labelled=n,
        unlabelled=rest,
    )


def _checked(judge: npt.ArrayLike, people: npt.ArrayLike, count: int) -> tuple[Floats, Floats]:
    f, y = np.asarray(judge, dtype=np.float64), np.asarray(people, dtype=np.float64)
    if not len(f) == len(y) == count:
        raise ValueError(f"expected as many: {len(f)} by the judge, {len(y)} by people")
    if any(((x < 0) | (x > 1)).any() for x in (f, y)):
        raise ValueError("expected outcomes in [0, 1], or NaN")
    return f, y


def _error_of_sums(influence: Floats, group: npt.NDArray[np.int64]) -> float:
    sums = np.bincount(group, weights=influence)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.square(sums).sum()))


def _weight(f: Floats, y: Floats, has_label: npt.NDArray[np.bool_]) -> float:
    labelled, variance = f[has_label], float(f.var())
    if variance == 0 or len(y) < 2 or has_label.all():
        return 0.0
    ratio = has_label.sum() / (~has_label).sum()
    covariance = float(((labelled - labelled.mean()) * (y - y.mean())).mean())
    return float(np.clip(covariance / ((1 + ratio) * variance), 0.0, 1.0))


def _numbers(clusters: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    names: dict[Hashable, int] = {}
    return np.array([names.setdefault(c, len(names)) for c in clusters], dtype=np.int64)
