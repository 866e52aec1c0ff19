"""The quickstart's curves and the brake's outcome as Markdown and as a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.over_optimisation.quickstart import Braked, Track

METHODS = {"best of n": "d (alpha - beta d)", "PPO": "d (alpha - beta ln d)"}
"""With the form of Gao et al. that their gold is fitted by."""


def curves_table(tracks: Mapping[str, Mapping[str, Track]]) -> str:
    """A row a method and proxy."""
    lines = [
        "| by | proxy | proxy's gain, sd | gold's best gain | at KL | gold's gain at the end | SE "
        "| at KL | alpha | beta | fitted peak, KL | R² |",
        "|---" * 12 + "|",
    ]
    for method, by_proxy in tracks.items():
        for name, t in by_proxy.items():
            best = int(np.argmax(t.gold))
            peak = t.fit.peak**2 if t.fit.peak < 1e3 else np.inf
            fitted = f"{peak:.2f}" if peak <= 2 * t.kl[-1] else "beyond"
            lines.append(
                f"| {method} | {name} | {t.proxy[-1]:+.2f} | {t.gold[best]:+.3f} "
                f"| {t.kl[best]:.2f} | {t.gold[-1]:+.3f} | {t.error[-1]:.3f} | {t.kl[-1]:.2f} "
                f"| {t.fit.alpha:.3f} | {t.fit.beta:.3f} | {fitted} | {t.explained:.2f} |"
            )
    return "\n".join(lines)


def brake_table(found: Sequence[Braked]) -> str:
    """A row a seed and gold scorer."""
    lines = [
        "| seed | scorer | SFT | best checkpoint without a brake (update) | its end "
        "| brake at update, back to | by | with the brake | less the best in hindsight (95%) "
        "| less the best by other prompts (95%) |",
        "|---" * 10 + "|",
    ]
    for run in found:
        stopped = "never" if run.stopped is None else f"{run.stopped}, {run.back_to}"
        for scorer in run.difference:
            gaps = [
                f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
                for mean, low, high in (run.difference[scorer], run.fair[scorer])
            ]
            update, best = run.best[scorer]
            lines.append(
                f"| {run.seed} | {scorer} | {run.start[scorer]:.3f} | {best:.3f} ({update}) "
                f"| {run.last[scorer]:.3f} | {stopped} | {', '.join(run.reasons)} "
                f"| {run.braked[scorer]:.3f} | {' | '.join(gaps)} |"
            )
    return "\n".join(lines)


def plot(tracks: Mapping[str, Mapping[str, Track]], brake: Braked, path: Path) -> None:
    """Gold with its fit, and the proxy, a row a method; equal bytes for equal data."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "accord", "font.size": 8}):
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        legend: dict[str, Any] = {}
        for (left, right), (method, by_proxy) in zip(
            figure.subplots(2, 2), tracks.items(), strict=True
        ):
            for name, t in by_proxy.items():
                d = np.sqrt(t.kl)
                points = left.errorbar(d, t.gold, t.error, fmt="o", markersize=3, label=name)
                color = points[0].get_color()
                fine = np.linspace(0, d[-1], 200)
                left.plot(fine, t.fit.gain(fine), color=color, linewidth=1)
                right.plot(d, t.proxy, marker=".", color=color, label=name)
            left.axhline(0, color="grey", linewidth=0.5)
            left.set_title(f"{method}: gold, fitted by {METHODS[method]}")
            left.set_ylabel("gain of the rule scorer")
            right.set_title(f"{method}: the proxy that is optimised")
            right.set_ylabel("gain, sd of the SFT policy's")
            for axes in (left, right):
                axes.set_xlabel("d = sqrt(KL to the SFT policy)")
            if method == "PPO":
                _mark(left, by_proxy["naive"], brake)
            legend |= {label: h for h, label in zip(*left.get_legend_handles_labels(), strict=True)}
        figure.legend(
            legend.values(), legend.keys(), loc="outside lower center", ncol=3, frameon=False
        )
        figure.savefig(path, format="svg", metadata={"Date": None})


def _mark(axes: Any, track: Track, brake: Braked) -> None:
    """Where the brake was pulled on the naive proxy, and whose policy came back."""
    if brake.stopped is None:
        return
    for update, label, style in (
        (brake.back_to, "naive with the brake: went back to", "-"),
        (brake.stopped, "naive with the brake: pulled", ":"),
    ):
        d = float(np.sqrt(track.kl[list(track.at).index(update)]))
        axes.axvline(d, color="black", linestyle=style, linewidth=1, label=label)
