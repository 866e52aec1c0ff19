"""Whether probabilities mean what they say: temperature, reliability, calibration error."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit

Floats = npt.NDArray[np.float64]


class Bin(NamedTuple):
    """Pairs whose confidence lies in one part of [0, 1]."""

    low: float
    high: float
    pairs: int
    confidence: float
    """mean probability that was given"""
    share: float
    """mean label: how often it was so"""


def fit_temperature(margins: Floats, labels: Floats) -> float:
    """The T > 0 for which sigmoid(margin / T) has the lowest cross-entropy with the labels.

    Where ever sharper or ever flatter is ever better (all margins right, or the margins mean
    nothing), the nearest of 0.01 and 100 is returned.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.

    Args:
        margins: (N,) logits, or differences of scores under Bradley-Terry.
        labels: (N,) in [0, 1]; soft labels count as what they are.

    Raises:
        ValueError: there are no margins, or not one label each.
    """
    _require_pairs(margins, labels)

    def cross_entropy(log_temperature: float) -> float:
        z = margins / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, z) - labels * z))

    bounds = (np.log(0.01), np.log(100))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def probabilities(margins: Floats, *, temperature: float = 1.0) -> Floats:
    """(N,) sigmoid(margin / temperature)."""
    found: Floats = expit(margins / temperature)
    return found


def reliability(given: Floats, labels: Floats, *, bins: int = 10) -> list[Bin]:
    """The reliability curve: mean label against mean probability in equally wide bins.

    A preference has two sides, and which is written first is arbitrary: so callers hand in the
    probability of the likelier side (in [0.5, 1]) or of one side, as they need it. Empty bins are
    left out.

    Args:
        given: (N,) probabilities.
        labels: (N,) in [0, 1], how often, or whether, it was so.
        bins: of [0, 1].
    """
    _require_pairs(given, labels)
    places = np.minimum((given * bins).astype(int), bins - 1)
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            int(here.sum()),
            float(given[here].mean()),
            float(labels[here].mean()),
        )
        for place in range(bins)
        if (here := places == place).any()
    ]


def calibration_error(curve: list[Bin]) -> float:
    """ECE: the mean over all pairs of their bin's |share - confidence| (Guo et al. 2017, eq. 3)."""
    total = sum(b.pairs for b in curve)
    return sum(b.pairs * abs(b.share - b.confidence) for b in curve) / total


def brier_score(given: Floats, labels: Floats) -> float:
    """Mean squared difference of probability and label; 0 is best, always saying 1/2 gives 1/4.

    Source: Brier 1950, for two outcomes and counting one of them.

    Args:
        given: (N,) probabilities.
        labels: (N,) in [0, 1].
    """
    _require_pairs(given, labels)
    return float(np.mean((given - labels) ** 2))


def _require_pairs(values: Floats, labels: Floats) -> None:
    if values.ndim != 1 or values.shape != labels.shape or not len(values):
        raise ValueError(
            f"expected (N,) values and labels, N above 0, got {values.shape} and {labels.shape}"
        )
