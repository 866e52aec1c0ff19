"""Temperature, reliability and calibration error: by hand, and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from accord.annotation.calibration import (
    brier_score,
    calibration_error,
    fit_temperature,
    probabilities,
    reliability,
)


def test_temperature_by_hand() -> None:
    """Margins of 2 that are right three times of four: sigmoid(2 / T) = 3/4 at T = 2 / ln 3."""
    margins = np.array([2.0, 2.0, 2.0, -2.0])
    found = fit_temperature(margins, np.ones(4))
    assert found == pytest.approx(2 / math.log(3), rel=1e-4)
    soft = fit_temperature(np.array([2.0]), np.array([0.75]))
    assert soft == pytest.approx(2 / math.log(3), rel=1e-4)


def test_temperature_is_the_slope_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(size=400) * 3
    labels = (rng.random(400) < 1 / (1 + np.exp(-margins / 2.5))).astype(float)
    oracle = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-8)
    oracle.fit(margins[:, None], labels)
    assert fit_temperature(margins, labels) == pytest.approx(1 / oracle.coef_[0, 0], rel=1e-3)


def test_temperature_has_ends() -> None:
    assert fit_temperature(np.array([1.0, 2.0]), np.ones(2)) < 0.05
    assert fit_temperature(np.array([1.0, -1.0]), np.ones(2)) > 20


def test_the_curve_by_hand() -> None:
    given = np.array([0.55, 0.59, 0.9, 1.0])
    labels = np.array([1.0, 0.0, 1.0, 1.0])
    curve = reliability(given, labels)
    assert [(b.low, b.pairs) for b in curve] == [(0.5, 2), (0.9, 2)]
    assert [b.confidence for b in curve] == pytest.approx([0.57, 0.95])
    assert [b.share for b in curve] == [0.5, 1.0]
    assert calibration_error(curve) == pytest.approx((0.07 + 0.05) / 2)


def test_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    given = probabilities(rng.normal(size=500))
    labels = (rng.random(500) < given).astype(float)
    share, confidence = calibration_curve(labels, given, n_bins=10)
    curve = reliability(given, labels)
    assert [b.share for b in curve] == pytest.approx(share.tolist())
    assert [b.confidence for b in curve] == pytest.approx(confidence.tolist())
    assert calibration_error(curve) < 0.08
    assert calibration_error(reliability(given**3, labels)) > 0.15


@pytest.mark.parametrize("count", [0, 3])
def test_unequal_or_empty_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        reliability(np.ones(count), np.ones(2 if count else 0))
    with pytest.raises(ValueError, match="expected"):
        fit_temperature(np.ones(count), np.ones(2 if count else 0))


def test_brier_by_hand_and_by_scikit_learn() -> None:
    assert brier_score(np.array([1.0, 0.5, 0.0]), np.array([1.0, 1.0, 1.0])) == pytest.approx(
        (0 + 0.25 + 1) / 3
    )
    rng = np.random.default_rng(2)
    given, labels = rng.random(200), rng.integers(2, size=200).astype(float)
    assert brier_score(given, labels) == pytest.approx(brier_score_loss(labels, given))
