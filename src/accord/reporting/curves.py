"""Which metrics of a training step make a panel, and what to call them."""

from dataclasses import dataclass
from typing import Any

from accord.reporting.run_files import StepFiles

_MOST_POINTS = 160
"""Longer curves are averaged in blocks: more points than pixels only make the page heavy."""


@dataclass(frozen=True)
class Line:
    """One curve; `is_held_out` where the metric was measured on data that is not trained on."""

    label: str
    steps: list[float]
    values: list[float]
    is_held_out: bool


@dataclass(frozen=True)
class Panel:
    """One small plot: lines with a common unit, over optimizer steps or updates."""

    title: str
    unit: str
    lines: list[Line]
    is_main: bool

    @property
    def key(self) -> str:
        """Title and unit as one label."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


# Metric name without `validation/` or `heldout/` -> title and unit. The order is the page's.
_TITLES = {
    "loss": ("Loss", "nats"),
    "accuracy": ("Accuracy", "share"),
    "reward/accuracy": ("Reward accuracy", "share of pairs"),
    "reward/margin": ("Reward margin", "chosen − rejected"),
    "reward/chosen": ("Implicit reward, chosen", ""),
    "reward/rejected": ("Implicit reward, rejected", ""),
    "score": ("Score", "reward model's units"),
    "score/mean": ("Score", "reward model's units"),
    "score/shaped_mean": ("Score after penalties", "normalised"),
    "reward/mean": ("Reward, after the KL penalty", "a response"),
    "gold": ("Gold score, never optimised", "gold scorer's units"),
    "kl_nats": ("KL to the reference", "nats a response"),
    "kl_coef": ("KL coefficient", ""),
    "length/mean": ("Response length", "tokens"),
    "length": ("Response length", "tokens"),
    "stop_rate": ("Ended by itself", "share of responses"),
    "policy/entropy": ("Entropy", "nats a token"),
    "policy/clip_fraction": ("Clip fraction", "share of tokens"),
    "policy/approx_kl": ("KL within an update", "nats a token"),
    "policy/loss": ("Policy loss", ""),
    "value/loss": ("Value loss", ""),
    "value/explained_variance": ("Variance explained by the value", "share"),
    "value/clip_fraction": ("Value clip fraction", "share of tokens"),
}
# Held-out and training names of the same thing.
_SAME = {"score": "score/mean", "length": "length/mean"}
_HELD_OUT = ("validation/", "heldout/")
_HIDDEN = ("epoch", "step", "policy/stopped_early")


def panels(step: StepFiles) -> list[Panel]:
    """A step's panels: those with a known title first, every other metric after them."""
    lines: dict[str, list[Line]] = {}
    for name in {key: None for row in step.metrics for key in row}:
        if name in _HIDDEN or name.startswith("perf/"):
            continue
        line = _line(name, step.metrics)
        if line:
            lines.setdefault(_quantity(name), []).append(line)
    titles = dict(_TITLES)
    if step.stage == "ppo":  # there the sum says little, and its parts come first
        del titles["loss"]
        titles["loss"] = ("Weighted sum of the losses", "")
    known = [name for name in titles if name in lines]
    rest = [name for name in lines if name not in titles]
    return [
        Panel(*titles.get(name, (name, "")), lines=lines[name], is_main=name in titles)
        for name in known + rest
    ]


def _quantity(name: str) -> str:
    for prefix in _HELD_OUT:
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return _SAME.get(rest, rest)
    return name


def _line(name: str, rows: list[dict[str, Any]]) -> Line | None:
    points = [
        (float(row["step"]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float)
    ]
    if len(points) < 2:
        return None
    block = -(-len(points) // _MOST_POINTS)
    blocks = [points[i : i + block] for i in range(0, len(points), block)]
    held_out = name.startswith(_HELD_OUT)
    label = name.split("/")[0] if held_out else "training"
    return Line(
        label="held-out" if label == "heldout" else label,
        steps=[sum(s for s, _ in piece) / len(piece) for piece in blocks],
        values=[sum(v for _, v in piece) / len(piece) for piece in blocks],
        is_held_out=held_out,
    )
