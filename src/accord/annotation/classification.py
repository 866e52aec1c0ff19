"""How well scores tell positives from negatives, also within and across subgroups."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import rankdata

from accord.annotation.calibration import Floats

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


class Subgroup(NamedTuple):
    """Areas under the ROC curve that show how a classifier treats texts that name a group.

    A low `subgroup`: it tells badly within the group. A low `bpsn`: harmless texts of the group
    score above harmful ones of others (false alarms). A low `bnsp`: harmful texts of the group
    score below harmless ones of others (misses). NaN where a side is empty.
    """

    rows: int
    positives: int
    subgroup: float
    bpsn: float
    """background positives against subgroup negatives"""
    bnsp: float
    """background negatives against subgroup positives"""


def auroc(scores: Floats, labels: Bools) -> float:
    """P(a positive scores above a negative), ties being a half; NaN unless there are both.

    Source: Mann and Whitney's U, from mean ranks.

    Args:
        scores: (N,) higher is more positive.
        labels: (N,) True for positives.
    """
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def fpr_at_tpr(scores: Floats, labels: Bools, *, tpr: float = 0.95) -> float:
    """The lowest share of negatives called positive by a threshold that finds enough positives.

    NaN unless there are both; arguments as for `auroc`.

    Args:
        scores: (N,).
        labels: (N,).
        tpr: share of the positives that must be found.
    """
    if labels.all() or not labels.any():
        return float("nan")
    needed = int(np.ceil(tpr * labels.sum() - 1e-9))
    # The highest threshold that finds them: whatever scores as much is called positive, too.
    threshold = np.sort(scores[labels])[::-1][max(0, needed - 1)]
    return float((scores[~labels] >= threshold).mean())


def subgroup_figures(scores: Floats, labels: Bools, members: Bools) -> Subgroup:
    """Areas by which two groups can be treated differently.

    Source: Borkan et al. 2019, arXiv:1903.04561, section 3.

    Args:
        scores: (N,).
        labels: (N,).
        members: (N,) True for texts of the subgroup.
    """
    within = members
    bpsn = (members & ~labels) | (~members & labels)
    bnsp = (members & labels) | (~members & ~labels)
    areas = [auroc(scores[rows], labels[rows]) for rows in (within, bpsn, bnsp)]
    return Subgroup(int(members.sum()), int((members & labels).sum()), *areas)


def macro_f1(predicted: Integers, truth: Integers, *, classes: int) -> float:
    """Mean over classes of 2 TP / (2 TP + FP + FN); a class that is nowhere counts as 0.

    Args:
        predicted: (N,) class numbers.
        truth: (N,).
        classes: how many there are.
    """
    found = []
    for number in range(classes):
        right = np.sum((predicted == number) & (truth == number))
        named = np.sum(predicted == number) + np.sum(truth == number)
        found.append(2 * right / named if named else 0.0)
    return float(np.mean(found))


def fit_class_temperature(logits: Floats, targets: Floats) -> float:
    """The T > 0 for which softmax(logits / T) has the lowest cross-entropy with the targets.

    Bounds and source as of `calibration.fit_temperature`, which this is for exclusive classes.

    Args:
        logits: (N, K).
        targets: (N, K) probabilities, each row summing to 1.

    Raises:
        ValueError: the shapes differ, or there are no rows.
    """
    if logits.ndim != 2 or logits.shape != targets.shape or not len(logits):
        raise ValueError(f"expected (N, K) of both, got {logits.shape} and {targets.shape}")

    def cross_entropy(log_temperature: float) -> float:
        logprobs = log_softmax(logits / np.exp(log_temperature), axis=-1)
        return float(-(targets * logprobs).sum(-1).mean())

    bounds = (np.log(0.01), np.log(100))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return float(np.exp(found.x))
