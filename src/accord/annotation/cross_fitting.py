"""A judge's probabilities brought into line with what people said of a slice of the same pairs.

Cross-fitted: prompts are dealt into folds, and every pair is read by the map that was fitted on the
labels of the other folds. So no label moves its own pair's probability, and the curve after
calibration is that of pairs which the map has not seen.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from accord.annotation.calibration import Bin, calibration_error, fit_temperature, reliability
from accord.annotation.tables import Floats

Method = Literal["temperature", "isotonic"]
FOLDS = 5
_SUREST = 1e-6
"""A probability of 0 or 1 (a verdict in words) has the log-odds of this one."""


class Calibrated(NamedTuple):
    """Probabilities after calibration, and how far they and those before were off."""

    p: Floats
    """(N,) as given, calibrated; NaN stays"""
    before: list[Bin]
    """reliability of the likelier side, over the pairs with a label"""
    after: list[Bin]
    error_before: float
    """expected calibration error"""
    error_after: float
    temperature: float | None
    """of all labels together, for reading; None where the map is isotonic"""
    labelled: int


def calibrate(
    given: npt.ArrayLike,
    labels: npt.ArrayLike,
    clusters: Sequence[Hashable],
    *,
    method: Method,
    seed: int,
) -> Calibrated:
    """Map probabilities by the labels of other prompts.

    Both maps are odd about 1/2: which of two responses is called the first changes nothing.

    Args:
        given: (N,) a judge's probabilities that the first is the better; NaN is an abstention.
        labels: (N,) in [0, 1], what people said (a share of votes); NaN where nobody did.
        clusters: (N,) prompts.
        method: one number for all ("temperature", Guo et al. 2017), or a rising step function
            (Zadrozny and Elkan 2002), which needs more labels.
        seed: of the folds.

    Raises:
        ValueError: the lengths differ, or fewer than five prompts have labels.
    """
    p, y = np.asarray(given, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not len(p) == len(y) == len(clusters):
        raise ValueError(f"expected as many: {len(p)} given, {len(y)} labels, {len(clusters)}")
    known = ~np.isnan(p + y)
    fold = _folds(clusters, known, seed)
    found = np.full(len(p), np.nan)
    for number in range(FOLDS):
        read = _fitted(p[known & (fold != number)], y[known & (fold != number)], method)
        here = (fold == number) & ~np.isnan(p)
        found[here] = read(p[here])
    before, after = _curve(p[known], y[known]), _curve(found[known], y[known])
    every = fit_temperature(_log_odds(p[known]), y[known]) if method == "temperature" else None
    errors = calibration_error(before), calibration_error(after)
    return Calibrated(found, before, after, *errors, every, int(known.sum()))


def fit_isotonic(given: Floats, labels: Floats) -> Callable[[Floats], Floats]:
    """The best rising function from probabilities to labels, both sides of each pair counting.

    It never says 0 or 1: n pairs that all went one way are no proof, and it stays 1 / (2 (n + 1))
    away.
    """
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    regression.fit(np.concatenate([given, 1 - given]), np.concatenate([labels, 1 - labels]))
    least = 1 / (2 * (len(given) + 1))

    def read(values: Floats) -> Floats:
        found: Floats = np.clip(regression.predict(values), least, 1 - least)
        return found

    return read


def sharper(p: npt.ArrayLike, *, temperature: float) -> Floats:
    """Probabilities with their log-odds divided by a temperature: above 1 nearer to 1/2."""
    found: Floats = expit(_log_odds(np.asarray(p, dtype=np.float64)) / temperature)
    return found


def _fitted(given: Floats, labels: Floats, method: Method) -> Callable[[Floats], Floats]:
    if method == "isotonic":
        return fit_isotonic(given, labels)
    temperature = fit_temperature(_log_odds(given), labels)
    return lambda values: sharper(values, temperature=temperature)


def _log_odds(p: Floats) -> Floats:
    found: Floats = logit(np.clip(p, _SUREST, 1 - _SUREST))
    return found


def _folds(
    clusters: Sequence[Hashable], known: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.int64]:
    """(N,) of each pair; those with labels are dealt evenly, whatever the rows' order."""
    of_labels = sorted({c for c, keep in zip(clusters, known, strict=True) if keep}, key=repr)
    if len(of_labels) < FOLDS:
        raise ValueError(
            f"expected at least {FOLDS} prompts with labels to calibrate by, got {len(of_labels)}"
        )
    drawn = np.random.default_rng(seed).permutation(len(of_labels)) % FOLDS
    place = dict(zip(of_labels, drawn.tolist(), strict=True))
    return np.array([place.get(cluster, 0) for cluster in clusters], dtype=np.int64)


def _curve(p: Floats, labels: Floats) -> list[Bin]:
    """Of the likelier side: which of the two is the first is nobody's doing."""
    is_second = p < 0.5
    return reliability(np.where(is_second, 1 - p, p), np.where(is_second, 1 - labels, labels))
