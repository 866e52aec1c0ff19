"""What is reported of a reward model: rankings, calibration, and its dependence on length."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from accord.annotation.calibration import (
    Floats,
    calibration_error,
    fit_temperature,
    probabilities,
    reliability,
)
from accord.core.types import Comparison
from accord.stages.reward_modeling.baselines import accuracy, ranked_right

_RATIOS = (0.0, 0.5, 0.8, 1.25, 2.0, np.inf)
"""Edges of chosen's length by rejected's; the middle part is "about as long"."""


def calibration(
    margins: Floats,
    labels: Floats,
    *,
    fitted_on: tuple[Floats, Floats],
) -> dict[str, Any]:
    """Confidence against how often it was right, as the model says it and with a temperature.

    Args:
        margins: (N,) score of chosen minus score of rejected.
        labels: (N,) p_chosen.
        fitted_on: margins and labels that set the temperature.
    """
    temperature = fit_temperature(*fitted_on)
    found: dict[str, Any] = {"temperature": temperature}
    # Of the two sides the likelier one: which of them is called chosen is no claim of the model.
    right = np.where(margins >= 0, labels, 1 - labels)
    for name, scale in (("", 1.0), ("_with_temperature", temperature)):
        curve = reliability(probabilities(np.abs(margins), temperature=scale), right)
        found[f"error{name}"] = calibration_error(curve)
        found[f"curve{name}"] = [b._asdict() for b in curve]
    return found


def accuracy_by_length(margins: Floats, pairs: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Accuracy by how long chosen is, in characters, as a multiple of rejected."""
    ratios = np.array([len(p.chosen) / len(p.rejected) for p in pairs])
    right = ranked_right(margins, pairs)
    return [
        {"low": low, "high": high, "pairs": int(here.sum()), "accuracy": accuracy(right[here])}
        for low, high in itertools.pairwise(_RATIOS)
        if (here := (ratios >= low) & (ratios < high) & ~np.isnan(right)).any()
    ]


def accuracy_by_attribute(
    margins: Floats, pairs: Sequence[Comparison], attributes: Sequence[str]
) -> dict[str, float]:
    """Accuracy of each head on the pairs that were judged by it."""
    right = ranked_right(margins, pairs)
    named = np.array([p.columns.get("attribute") or "" for p in pairs])
    return {name: accuracy(right[named == name]) for name in attributes}


def length_correlation(scores: Floats, lengths: Floats) -> float:
    """Pearson's correlation of scores with lengths; NaN where one of them does not vary."""
    if np.ptp(scores) == 0 or np.ptp(lengths) == 0:
        return float("nan")
    return float(np.corrcoef(scores, lengths)[0, 1])
