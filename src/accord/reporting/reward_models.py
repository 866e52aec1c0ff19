"""A reward model's figures: beside the rankers it has to beat, by length, and its calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from accord.reporting.run_files import StepFiles
from accord.reporting.tables import finite, percent, points


def reward_model_table(step: StepFiles) -> list[tuple[str, str]]:
    """Figures of a reward model with the rankers that it has to beat, as label and text."""
    labels = {
        "heldout_accuracy": "Held-out accuracy",
        "tfidf_accuracy": "TF-IDF ranker",
        "longer_wins_accuracy": "“The longer wins”",
        "accuracy_where_chosen_is_shorter": "Accuracy where the chosen is shorter",
        "accuracy_where_chosen_is_longer": "Accuracy where the chosen is longer",
    }
    rows = []
    for name, label in labels.items():
        value = finite(step.outputs.get(name))
        if value is not None:
            rows.append((label, percent(value)))
    rows += _by_length(step.outputs.get("accuracy_by_length") or [])
    for name, value in (step.outputs.get("accuracy_by_attribute") or {}).items():
        if value is not None:
            rows.append((f"Accuracy of the head “{name}”", percent(value)))
    rows += _calibration(step.outputs)
    pairs = step.outputs.get("heldout_pairs")
    if pairs is not None:
        chose = " (their loss also picked the weights)"
        note = chose if step.outputs.get("measured_on") == "validation" else ""
        rows.append(("Held-out pairs", f"{pairs:,}{note}"))
    return rows + _cross_validation(step.outputs.get("cross_validation") or {})


def _cross_validation(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    names = {"reward_model": "reward model", "tfidf": "TF-IDF", "longer": "the longer wins"}
    for name, label in names.items():
        if name in found:
            title = f"{found['folds']}-fold cross-validation, {label}"
            rows.append((title, percent(found[name]["accuracy"])))
    difference = found.get("difference_to_tfidf")
    if difference:
        mean, low, high = (points(difference[key]) for key in ("mean", "low", "high"))
        rows.append(("Same folds, difference to TF-IDF", f"{mean} points ({low} to {high})"))
    return rows


def _by_length(parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Accuracy where chosen is so many times as long as rejected."""
    rows = []
    for part in parts:
        low, high, found = part["low"], part["high"], finite(part["accuracy"])
        if found is None:
            continue
        times = f"{low:g} times and more" if high is None else f"{low:g} to {high:g} times"
        if not low:
            times = f"under {high:g} times"
        rows.append((f"Accuracy, chosen {times} as long", f"{percent(found)} of {part['pairs']:,}"))
    return rows


def _calibration(outputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = outputs.get("calibration") or {}
    rows = []
    if found:
        error, scaled = (percent(found[f"error{n}"]) for n in ("", "_with_temperature"))
        temperature = f"{found['temperature']:.2f}"
        rows.append(("Calibration error (ECE)", error))
        rows.append((f"The same at the fitted temperature, {temperature}", scaled))
    for name, label in (
        ("length_correlation", "Correlation of score and length"),
        ("spread", "Mean spread of the members"),
    ):
        value = finite(outputs.get(name))
        if value:
            rows.append((label, f"{value:.2f}".replace("-", "−")))
    return rows


def reliability_curves(step: StepFiles) -> dict[str, list[tuple[float, float]]]:
    """Points (confidence, share that was right) of each curve, by its name."""
    found = step.outputs.get("calibration") or {}
    names = {
        "curve": "as scored",
        "curve_with_temperature": "with the temperature",
        "curve_calibrated": "calibrated",
    }
    return {
        label: [(b["confidence"], b["share"]) for b in found[name]]
        for name, label in names.items()
        if found.get(name)
    }
