"""Calibration by a slice of human labels: planted miscalibration is found, nothing sees itself."""

import numpy as np
import pytest
from scipy.special import expit, logit

from accord.annotation.cross_fitting import calibrate, fit_isotonic, sharper
from accord.annotation.tables import Floats


def planted(
    count: int = 2000, temperature: float = 3.0, seed: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Probabilities of a judge who is `temperature` times too sure, and labels."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(scale=1.5, size=count)
    labels = (rng.random(count) < expit(margins)).astype(float)
    return expit(temperature * margins), labels, margins


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_an_overconfident_judge_is_brought_back(method: str) -> None:
    given, labels, margins = planted()
    found = calibrate(given, labels, range(len(given)), method=method, seed=0)
    assert found.error_before > 0.1
    assert found.error_after < 0.04
    assert np.abs(found.p - expit(margins)).mean() < 0.05
    if method == "temperature":
        assert found.temperature == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_which_side_is_first_does_not_matter(method: str) -> None:
    given, labels, _ = planted(400)
    found = calibrate(given, labels, range(400), method=method, seed=0)
    other = calibrate(1 - given, 1 - labels, range(400), method=method, seed=0)
    assert other.p == pytest.approx(1 - found.p, abs=1e-4)


def test_no_label_moves_its_own_probability() -> None:
    given, labels, _ = planted(100)
    found = calibrate(given, labels, range(100), method="isotonic", seed=0)
    for place in (0, 17, 60):
        changed = labels.copy()
        changed[place] = 1 - changed[place]
        again = calibrate(given, changed, range(100), method="isotonic", seed=0)
        assert again.p[place] == found.p[place]
        assert not np.array_equal(again.p, found.p)


def test_a_prompt_is_calibrated_by_other_prompts() -> None:
    """Pairs of one prompt stand in one fold, those without a label too."""
    given, labels, _ = planted(100)
    labels[1::2] = np.nan
    clusters = [n // 2 for n in range(100)]
    found = calibrate(given, labels, clusters, method="isotonic", seed=0)
    changed = labels.copy()
    changed[0] = 1 - changed[0]
    again = calibrate(given, changed, clusters, method="isotonic", seed=0)
    assert again.p[:2] == pytest.approx(found.p[:2], abs=0)


def test_abstentions_stay_and_labels_may_be_soft() -> None:
    given, labels, _ = planted(100)
    given[3] = np.nan
    labels[4] = 0.5
    found = calibrate(given, labels, range(100), method="temperature", seed=0)
    assert np.isnan(found.p[3]) and np.isfinite(np.delete(found.p, 3)).all()
    assert found.labelled == 99


def test_bare_verdicts_become_the_share_with_which_they_are_right() -> None:
    """A judge without log-probs says 0 and 1, and is right four times in five."""
    given = np.tile([1.0, 0.0], 100)
    labels = np.where(np.arange(200) % 10 < 2, 1 - given, given)
    for method in ("temperature", "isotonic"):
        found = calibrate(given, labels, range(200), method=method, seed=0)
        assert found.p[given == 1] == pytest.approx(0.8, abs=0.02)


def test_isotonic_by_hand() -> None:
    """Pools what is out of order, with both sides of each pair: (0.6: 0, 0.9: 1) and mirrored."""
    read = fit_isotonic(np.array([0.6, 0.9, 0.9]), np.array([0.0, 1.0, 1.0]))
    # 0.1: 0, 0.1: 0, 0.4: 1, 0.6: 0, 0.9: 1, 0.9: 1; the middle two are pooled to 1/2
    assert read(np.array([0.4, 0.5, 0.6])) == pytest.approx([0.5, 0.5, 0.5])
    assert read(np.array([0.9, 1.0])) == pytest.approx([7 / 8, 7 / 8])  # 1 less 1 / (2 (n + 1))
    assert sharper(0.8, temperature=2.0) == pytest.approx(expit(logit(0.8) / 2))


def test_too_few_labels_are_refused() -> None:
    given, labels, _ = planted(4)
    with pytest.raises(ValueError, match="5 prompts with labels"):
        calibrate(given, labels, range(4), method="isotonic", seed=0)
