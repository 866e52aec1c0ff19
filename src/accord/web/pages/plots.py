"""The lead's plots, as SVG files of their own, in colours that light and dark both show."""

import datetime
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from accord.annotation.monitoring import Share
from accord.store.judgements import Standing

_INK, _LINE = "#76818d", "#4b8bd4"  # both have a contrast of 3 to white and to the dark panel
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "accord",
    "text.parse_math": False,  # an annotator may have any name
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def throughput(standing: Sequence[Standing]) -> bytes:
    """Judgements so far, over time."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6, 2.4), layout="constrained")
        axes = figure.subplots()
        times = [datetime.datetime.fromtimestamp(s.created_at, datetime.UTC) for s in standing]
        axes.step(times, range(1, len(times) + 1), where="post", color=_LINE, linewidth=2)  # type: ignore[arg-type]
        axes.set_ylabel("judgements")
        axes.set_ylim(bottom=0)
        figure.autofmt_xdate(rotation=30)
        return _svg(figure)


def shares(rows: Sequence[tuple[str, Share]], *, label: str, expected: float | None) -> bytes:
    """A share by person with its interval; a line at what is expected."""
    told = [(name, found) for name, found in rows if found.total]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6, 0.7 + 0.28 * max(2, len(told))), layout="constrained")
        axes = figure.subplots()
        for place, (_, found) in enumerate(told):
            axes.plot([found.low, found.high], [place, place], color=_INK, linewidth=2)
            axes.plot([found.value], [place], "o", color=_LINE)
        axes.set_yticks(range(len(told)), [name[:30] for name, _ in told])
        axes.set_ylim(len(told) - 0.5, -0.5)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(label)
        if expected is not None:
            axes.axvline(expected, color=_INK, linestyle=":", linewidth=1)
        return _svg(figure)


def _svg(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
