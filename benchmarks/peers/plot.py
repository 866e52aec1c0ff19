"""The memory curves as one small SVG."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

AXES = {"vocabulary": "vocabulary", "tokens": "tokens", "length": "length"}
"""A curve's name, and the field of a point that it runs over."""
TITLES = {"step": "an SFT step", "head": "log-probs of given tokens"}


def plot(points: list[dict[str, Any]], path: Path) -> None:
    """Peak less gradients and moments, a panel a curve and kind; equal data gives equal bytes."""
    with matplotlib.rc_context({"svg.hashsalt": "accord", "font.size": 8}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        for row, kind in enumerate(TITLES):
            for column, (curve, field) in enumerate(AXES.items()):
                axes = figure.add_subplot(2, 3, 3 * row + column + 1)
                chosen = [p for p in points if (p["curve"], p["kind"]) == (curve, kind)]
                for side, name in (("ours", "Accord"), ("trl", "TRL")):
                    values = [p[side] - p["of_weights_mb"] for p in chosen]
                    axes.plot([p[field] for p in chosen], values, marker="o", label=name)
                axes.set_xlabel("length of one row" if curve == "length" else curve)
                axes.set_ylabel("MB")
                axes.set_xlim(left=0)
                axes.set_ylim(bottom=0)
                axes.xaxis.set_major_locator(MaxNLocator(4))
                axes.xaxis.set_major_formatter("{x:,.0f}")
                axes.set_title(TITLES[kind])
                axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
