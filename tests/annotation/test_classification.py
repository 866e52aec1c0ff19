"""Areas, thresholds and F1 by hand, by brute force, and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from accord.annotation.classification import (
    auroc,
    fit_class_temperature,
    fpr_at_tpr,
    macro_f1,
    subgroup_figures,
)


def drawn(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, labels, and members of a group."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    scores = np.round(rng.normal(size=count) + labels, 1)
    return scores, labels, rng.random(count) < 0.4


def test_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    labels = np.array([True, False, True, False, False])
    assert auroc(scores, labels) == pytest.approx(5 / 6)
    assert auroc(np.zeros(5), labels) == 0.5
    assert fpr_at_tpr(scores, labels) == pytest.approx(1 / 3)
    assert fpr_at_tpr(scores, labels, tpr=0.5) == 0.0
    assert fpr_at_tpr(np.zeros(5), labels) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int) -> None:
    scores, labels, _ = drawn(seed)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    for tpr in (0.5, 0.9, 0.95, 1.0):
        expected = false[true >= tpr - 1e-12].min()
        assert fpr_at_tpr(scores, labels, tpr=tpr) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("labels", [np.zeros(3, dtype=bool), np.ones(3, dtype=bool)])
def test_one_class_has_no_area(labels: np.ndarray) -> None:
    assert np.isnan(auroc(np.arange(3.0), labels)) and np.isnan(fpr_at_tpr(np.arange(3.0), labels))


def test_subgroups_by_brute_force() -> None:
    scores, labels, members = drawn(7, 60)

    def area(positives: np.ndarray, negatives: np.ndarray) -> float:
        wins = [(p > n) + 0.5 * (p == n) for p in scores[positives] for n in scores[negatives]]
        return float(np.mean(wins))

    found = subgroup_figures(scores, labels, members)
    assert found.rows == members.sum() and found.positives == (members & labels).sum()
    assert found.subgroup == pytest.approx(area(members & labels, members & ~labels))
    assert found.bpsn == pytest.approx(area(~members & labels, members & ~labels))
    assert found.bnsp == pytest.approx(area(members & labels, ~members & ~labels))


def test_a_planted_bias_shows_in_bpsn() -> None:
    scores, labels, members = drawn(8, 2000)
    plain = subgroup_figures(scores, labels, members)
    biased = subgroup_figures(scores + 2 * (members & ~labels), labels, members)
    assert biased.bpsn < plain.bpsn - 0.3 and biased.bnsp == plain.bnsp


@pytest.mark.parametrize("seed", range(3))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 50)
    said = np.where(rng.random(50) < 0.6, truth, rng.integers(0, 3, 50))
    expected = f1_score(truth, said, average="macro")
    assert macro_f1(said, truth, classes=3) == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_nowhere_counts_as_nothing() -> None:
    same = np.array([0, 1])
    assert macro_f1(same, same, classes=4) == 0.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_of_classes_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    p = np.exp(logits / temperature)
    p /= p.sum(-1, keepdims=True)
    assert fit_class_temperature(logits, p) == pytest.approx(temperature, rel=1e-3)
    drawn_classes = (p.cumsum(-1) > rng.random((4000, 1))).argmax(-1)
    found = fit_class_temperature(logits, np.eye(3)[drawn_classes])
    assert found == pytest.approx(temperature, rel=0.1)


def test_unequal_shapes() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, K\)"):
        fit_class_temperature(np.zeros((2, 3)), np.zeros((2, 2)))
