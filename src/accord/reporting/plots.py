"""Plots as inline SVG: no window system, no fonts inside, the same bytes for the same numbers.

Colours are written as the page's CSS variables, so that plots follow its light, dark and printed
form; text stays text in the page's font.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from accord.reporting.curves import Panel

# Stand-ins that matplotlib writes and `_finish` turns into variables of the page's style sheet.
_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505")
_PAPER = "#040404"
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _GRID: "--rule",
    _PAPER: "--paper",
    **{colour: f"--series-{number}" for number, colour in enumerate(_SERIES, start=1)},
}
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True)
class Whisker:
    """An estimate with its 95% interval; either end may be unknown."""

    label: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Point:
    """A policy on the plot of reward against KL; KL in nats a response."""

    label: str
    kl_nats: float
    score: float


@contextmanager
def _style() -> Iterator[None]:
    settings: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a step or policy may have any name
        "font.size": 9,
        "axes.edgecolor": _GRID,
        "axes.labelcolor": _MUTED,
        "axes.titlecolor": _INK,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.unicode_minus": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.6,
        "xtick.color": _MUTED,
        "ytick.color": _MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "text.color": _INK,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.5,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the report
        mpl.rcParams.update(settings)
        yield


def panel_svg(panel: Panel, *, key: str, x_label: str) -> str:
    """One panel of a step's curves; `key` keeps its ids apart from other plots'."""
    with _style():
        figure = Figure(figsize=(3.4, 2.25), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(panel.title)
        for line in sorted(panel.lines, key=lambda line: line.is_held_out):
            is_alone = len(panel.lines) == 1
            axes.plot(
                line.steps,
                line.values,
                color=_SERIES[1 if line.is_held_out else 0],
                marker="o" if line.is_held_out and len(line.steps) <= 40 else None,
                markersize=3.5,
                linewidth=1.5 if line.is_held_out or is_alone else 1.0,
                label=line.label,
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(panel.unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if len(panel.lines) > 1 or panel.lines[0].is_held_out:
            axes.legend(loc="best", handlelength=1.4, borderaxespad=0.2)
        described = ", ".join(
            f"{line.label} from {line.values[0]:.3g} to {line.values[-1]:.3g}"
            for line in panel.lines
        )
        return _finish(figure, key, f"{panel.key} over {x_label}s: {described}")


def whisker_svg(
    whiskers: Sequence[Whisker], *, key: str, title: str, x_label: str, is_win_rate: bool = True
) -> str:
    """Dots with 95% whiskers; shares from 0 to 1, other scores from 0 to what the highest needs.

    Args:
        is_win_rate: draw a line at one half, the place of a coin.
    """
    with _style():
        figure = Figure(figsize=(3.6, 0.95 + 0.32 * len(whiskers)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        if is_win_rate:
            axes.axvline(0.5, color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for row, whisker in enumerate(whiskers):
            low = whisker.value if whisker.low is None else whisker.low
            high = whisker.value if whisker.high is None else whisker.high
            axes.plot([low, high], [row, row], color=_SERIES[0], linewidth=2)
            axes.plot(whisker.value, row, "o", color=_SERIES[0], markersize=6)
        axes.set_yticks(range(len(whiskers)), [whisker.label for whisker in whiskers])
        axes.tick_params(axis="y", labelcolor=_INK)
        axes.set_ylim(len(whiskers) - 0.4, -0.6)
        if max((w.value for w in whiskers), default=0.0) <= 1:
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        else:
            axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(x_label)
        described = "; ".join(f"{w.label} {w.value:.3f}" for w in whiskers)
        return _finish(figure, key, f"{title}: {described}")


def reliability_svg(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, key: str, title: str
) -> str:
    """How often a confidence was right, beside the diagonal on which it is what it says."""
    with _style():
        figure = Figure(figsize=(3.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.plot([0.5, 1], [0.5, 1], color=_MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for number, (label, curve) in enumerate(curves.items()):
            axes.plot(
                [x for x, _ in curve],
                [y for _, y in curve],
                color=_SERIES[number],
                marker=_MARKERS[number],
                markersize=4,
                label=label,
            )
        axes.set_xlim(0.48, 1.02)
        axes.set_xlabel("confidence in the preferred side")
        axes.set_ylabel("share that was right")
        axes.legend(loc="best")
        described = "; ".join(
            f"{label}: " + ", ".join(f"{x:.2f} was right {y:.2f}" for x, y in curve)
            for label, curve in curves.items()
        )
        return _finish(figure, key, f"{title}. {described}")


def reward_kl_svg(
    paths: Sequence[tuple[str, Sequence[Point]]], points: Sequence[Point], *, key: str, y_label: str
) -> str:
    """Held-out score against KL: each path's points joined in order, labelled by their update."""
    with _style():
        figure = Figure(figsize=(4.4, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for number, (label, path) in enumerate(paths):
            x, y = [p.kl_nats for p in path], [p.score for p in path]
            colour = _SERIES[number % len(_SERIES)]
            axes.plot(x, y, "-o", color=colour, markersize=4, label=label)
            for point in {0: path[0], len(path) - 1: path[-1]}.values():
                axes.annotate(
                    point.label, (point.kl_nats, point.score), xytext=(5, -11),
                    textcoords="offset points", fontsize=8, color=_MUTED,
                )  # fmt: skip
        for number, point in enumerate(points):
            axes.plot(
                point.kl_nats, point.score, _MARKERS[number % len(_MARKERS)], linestyle="none",
                markersize=8, markerfacecolor=_PAPER, markeredgewidth=1.8,
                markeredgecolor=_SERIES[(len(paths) + number) % len(_SERIES)], label=point.label,
            )  # fmt: skip
        axes.margins(x=0.1, y=0.12)
        axes.set_xlabel("KL to the reference, nats a response")
        axes.set_ylabel(y_label)
        axes.legend(loc="best")
        described = "; ".join(f"{p.label} {p.score:.3g} at {p.kl_nats:.3g} nats" for p in points)
        ends = "; ".join(f"{label} ends at {path[-1].score:.3g}" for label, path in paths)
        return _finish(figure, key, f"{y_label} against KL. {ends}. {described}")


def _finish(figure: Figure, key: str, description: str) -> str:
    """The figure as one `<svg>` element for a page: no prologue, its own ids, no fixed size."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
        for spine in axes.spines.values():
            spine.set_linewidth(0.8)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": key}), warnings.catch_warnings():
        # Glyphs come from the page's fonts; what matplotlib's own lacks is only measured wrongly.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = _printable(buffer.getvalue())
    svg = svg[svg.index("<svg") :]
    # matplotlib's own style element would hold for the whole page.
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    width, height = (float(number) for number in re.findall(r'="([\d.]+)pt"', svg)[:2])
    svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{key}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", svg)
    opening = (
        f'<svg class="plot" role="img" aria-label="{_attribute(description)}" '
        f'viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 1.5:.0f}px">'
    )
    return opening + svg[svg.index(">") + 1 :].strip()


def _attribute(text: str) -> str:
    text = _printable(text)
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(raw, safe)
    return text


def _printable(text: str) -> str:
    """A name may hold characters that XML forbids or that would reorder the text around them."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
