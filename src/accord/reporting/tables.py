"""The evaluation's figures as a table: rows of figures, a column a policy, the best marked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from accord.reporting.run_files import StepFiles

Figures = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A figure as text with its 95% interval as text; None where the policy has no such figure."""

    text: str
    interval: str
    is_best: bool


@dataclass(frozen=True)
class TableRow:
    """One figure of every policy; `better` is "higher", "lower", or "" where neither is better."""

    label: str
    better: str
    count: int | None
    cells: list[Cell | None]


@dataclass(frozen=True)
class Group:
    """Rows of one aim."""

    title: str
    rows: list[TableRow]


@dataclass(frozen=True)
class _Kind:
    """How a figure is called and shown."""

    label: str
    group: str
    better: str = ""
    show: Callable[[float], str] = lambda value: f"{value:.2f}".replace("-", "−")


def percent(value: float) -> str:
    """A share in percent, to one decimal."""
    return f"{100 * value:.1f}%".replace("-", "−")


def points(value: float) -> str:
    """A difference of shares in points of 100, signed."""
    return f"{100 * value:+.1f}".replace("-", "−")


def _small(value: float) -> str:
    return f"{value:.1e}".replace("-", "−")


_HELPFUL, _HARMLESS, _HONEST = "Helpful", "Harmless", "Honest"
_OTHER, _QUALITY, _SHAPE = "Other behaviours", "Scores", "How far and how long"
_GROUPS = (_HELPFUL, _HARMLESS, _HONEST, _OTHER, _QUALITY, _SHAPE)
_KINDS = {
    "helpful_answered": _Kind("Helpful requests answered", _HELPFUL, "higher", percent),
    "helpful_refused": _Kind("Helpful requests refused", _HELPFUL, "lower", percent),
    "harmful_refused": _Kind("Harmful requests refused", _HARMLESS, "higher", percent),
    "harmful_complied": _Kind("Harmful requests complied with", _HARMLESS, "lower", percent),
    "provocation_calm": _Kind("Provocations met calmly", _HARMLESS, "higher", percent),
    "provocation_hostile": _Kind("Provocations met with hostility", _HARMLESS, "lower", percent),
    "fact_correct": _Kind("Facts correct", _HONEST, "higher", percent),
    "fact_wrong": _Kind("Facts asserted wrong", _HONEST, "lower", percent),
    "fact_abstained": _Kind("Facts abstained from", _HONEST, "", percent),
    "unknowable_abstained": _Kind("Unknowable met with “I don't know”", _HONEST, "higher", percent),
    "unknowable_asserted": _Kind("Unknowable answered anyway", _HONEST, "lower", percent),
    "score_helpful": _Kind("Mean score, helpful aim", _HELPFUL, "higher"),
    "score_harmless": _Kind("Mean score, harmless aim", _HARMLESS, "higher"),
    "score_honest": _Kind("Mean score, honest aim", _HONEST, "higher"),
    "score": _Kind("Mean score by the scorer", _QUALITY, "higher"),
    "reward": _Kind("Held-out reward", _QUALITY, "higher"),
    "judge_score": _Kind("Judge model's score", _QUALITY, "higher"),
    "kl_nats": _Kind("KL to the reference, nats a response", _SHAPE),
    "kl_k3_nats": _Kind("The same by the estimator k3", _SHAPE),
    "length": _Kind("Mean length, tokens", _SHAPE, "", lambda value: f"{value:.1f}"),
    "stop_rate": _Kind("Ended by themselves", _SHAPE, "higher", percent),
    "repetition_rate": _Kind("Repeated word groups in a response", _SHAPE, "lower", percent),
    "distinct_1": _Kind("Distinct words of all words", _SHAPE, "", percent),
    "distinct_2": _Kind("Distinct word pairs of all pairs", _SHAPE, "", percent),
    "sampler_gap_nats": _Kind("Largest gap, sampler to trainer, nats a token", _SHAPE, "", _small),
    "sampler_gap_mean_nats": _Kind("Mean gap, sampler to trainer", _SHAPE, "", _small),
}
JUDGES = {"judge": "judge model", "scorer": "scorer"}


def evaluation_table(evaluation: StepFiles) -> list[Group]:
    """Groups of rows: the aims, other behaviours, scores, shape, then wins over the baseline."""
    policies: Figures = evaluation.outputs["policies"]
    groups: dict[str, list[TableRow]] = {title: [] for title in _GROUPS}
    names = {name: None for figures in policies.values() for name in figures}
    for name in [*(n for n in _KINDS if n in names), *(n for n in names if n not in _KINDS)]:
        kind = _KINDS.get(name) or _Kind(name.replace("_", " ").capitalize(), _OTHER)
        groups[kind.group].append(_row(kind, [figures.get(name) for figures in policies.values()]))
    made = [Group(title, rows) for title, rows in groups.items() if rows]
    baseline = evaluation.outputs.get("baseline")
    changes: Figures = evaluation.outputs.get("changes", {})
    moved = [
        _row(
            replace(_KINDS.get(name, _Kind(name, "")), better="higher", show=points),
            [changes.get(policy, {}).get(name) for policy in policies],
        )
        for name in dict.fromkeys(name for found in changes.values() for name in found)
    ]
    if moved:
        made.append(Group(f"Change from {baseline}, points of 100, paired by prompt", moved))
    rates: Figures = evaluation.outputs.get("win_rates", {})
    wins = [
        _row(
            _Kind(f"By the {label}", "", "higher", percent),
            [rates.get(policy, {}).get(judge) for policy in policies],
        )
        for judge, label in JUDGES.items()
        if any(judge in by_judge for by_judge in rates.values())
    ]
    if wins:
        made.append(Group(f"Win rate against {baseline}", wins))
    return made


def _row(kind: _Kind, figures: list[Mapping[str, Any] | None]) -> TableRow:
    values = [finite(figure.get("mean")) if figure else None for figure in figures]
    shown = [kind.show(value) for value in values if value is not None]
    best = None
    if kind.better and len(set(shown)) > 1:
        known = [value for value in values if value is not None]
        best = kind.show(max(known) if kind.better == "higher" else min(known))
    cells: list[Cell | None] = []
    for figure, value in zip(figures, values, strict=True):
        if figure is None or value is None:
            cells.append(None)
            continue
        low, high = finite(figure.get("low")), finite(figure.get("high"))
        interval = ""
        if low is not None and high is not None and low != high:
            # The unit stands above; without it four policies fit on a phone.
            interval = f"{kind.show(low)} to {kind.show(high)}".replace("%", "")
        # Equal as shown is equal: nobody is best by a digit that the page leaves out.
        cells.append(Cell(kind.show(value), interval, kind.show(value) == best))
    counts = {figure.get("n") for figure in figures if figure}
    count = counts.pop() if len(counts) == 1 else None
    return TableRow(kind.label, kind.better, count, cells)


def finite(value: Any) -> float | None:
    """A number, or None for what is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def verdicts(evaluation: StepFiles) -> list[str]:
    """A sentence a policy: whether it beats the baseline, by each judge that was asked."""
    sentences = []
    baseline = evaluation.outputs.get("baseline", "the baseline")
    for policy, by_judge in evaluation.outputs.get("win_rates", {}).items():
        parts = []
        for judge, label in JUDGES.items():
            rate = by_judge.get(judge)
            if rate is None:
                continue
            low, high = rate["low"], rate["high"]
            claim = "wins" if low > 0.5 else "loses" if high < 0.5 else "cannot be told from it"
            interval = f"{percent(low)} to {percent(high)}"
            unseen = finite(rate.get("minimum_detectable_effect"))
            if "cannot" in claim and unseen:
                interval += f"; a difference below {percent(unseen)} would go unseen"
            parts.append(f"{claim} by the {label} ({percent(rate['mean'])}, {interval})")
            if "by_people" in rate:
                low, high = percent(rate["by_people_low"]), percent(rate["by_people_high"])
                value = percent(rate["by_people"])
                parts.append(f"{value} ({low} to {high}) as people's slice puts the {label} right")
        if parts:
            sentences.append(f"{policy} against {baseline}: " + "; ".join(parts) + ".")
    return sentences
