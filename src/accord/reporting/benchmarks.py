"""Benchmark steps as tables and plots: each suite's figures a column a run, and its rankings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from accord.reporting.plots import Whisker, whisker_svg
from accord.reporting.run_files import StepFiles

STAGE = "benchmark"


@dataclass(frozen=True)
class FigureRow:
    """One figure of every column: text and interval, None where a run has none."""

    name: str
    cells: list[tuple[str, str] | None]


@dataclass(frozen=True)
class RankingTable:
    """The models of one run, the best first, and who won how often against whom."""

    label: str
    """of the run"""
    baseline: str
    models: list[str]
    standings: list[list[tuple[str, str]]]
    """by model: strength, and expected win rate against the baseline, with their intervals"""
    matches: list[list[tuple[str, str] | None]]
    """by model and opponent, in the order of `models`: how often the row's won"""
    plot: Markup


@dataclass(frozen=True)
class SuiteTable:
    """One suite: its figures, those of parts (`FIGURE/PART`), a plot of the first figure, what has
    to be known of each run, and rankings.
    """

    name: str
    rows: list[FigureRow]
    parts: list[FigureRow]
    plot: Markup
    notes: list[tuple[str, str]]
    rankings: list[RankingTable]


def benchmark_steps(steps: Sequence[StepFiles]) -> list[StepFiles]:
    """Those that are finished benchmarks."""
    return [step for step in steps if step.stage == STAGE and step.result is not None]


def evaluated_policies(steps: Sequence[StepFiles]) -> list[StepFiles]:
    """Policies of evaluations on held-out prompts, each as a benchmark of one suite."""
    finished = (step for step in steps if step.stage == "evaluate" and step.result is not None)
    return [_as_benchmark(step, name) for step in finished for name in step.outputs["policies"]]


def _as_benchmark(step: StepFiles, policy: str) -> StepFiles:
    wins = step.outputs.get("win_rates", {}).get(policy, {})
    measured = {f"win_rate_by_{by}": rate for by, rate in wins.items()}
    measured |= step.outputs["policies"][policy]
    figures = {
        name: {"value": f["mean"], "low": f["low"], "high": f["high"], "n": f["n"]}
        for name, f in measured.items()
    }
    suite = {"figures": figures, "notes": list(step.outputs.get("warnings", []))}
    judge = {"name": step.config.get("judge_model") or "–"}
    return replace(
        step,
        path=step.path / policy,
        config={**step.config, "model_name_or_path": str(step.path / policy)},
        result={"suites": {"held_out_prompts": suite}, "judge": judge},
    )


def run_labels(steps: Sequence[StepFiles]) -> list[str]:
    """The steps' names, or their models', whichever tells them apart."""
    short = short_names([str(step.config["model_name_or_path"]) for step in steps])
    if len(set(short)) == len(short):
        return short
    return short_names([str(step.path) for step in steps])


def short_names(models: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell different models apart."""
    parts = [Path(model).parts for model in models]
    count = max((len(p) for p in parts), default=0)
    for kept in range(2, count):
        names = ["/".join(p[-kept:]) for p in parts]
        if len(set(names)) == len(set(models)):
            return names
    return ["/".join(p) for p in parts]


def suite_tables(labels: Sequence[str], steps: Sequence[StepFiles]) -> list[SuiteTable]:
    """Every suite that any of the runs has.

    Args:
        labels: of the runs.
        steps: finished benchmarks, as `benchmark_steps` gives them.
    """
    names = dict.fromkeys(name for step in steps for name in step.outputs["suites"])
    return [_table(name, labels, steps) for name in names]


def judge_text(step: StepFiles) -> str:
    """The judge's name and all that it counted, such as answers that were no verdict."""
    judge = step.outputs.get("judge") or {}
    counted = [f"{name.replace('_', ' ')} {n}" for name, n in judge.get("counts", {}).items()]
    counts = f" ({', '.join(counted)})" if counted else ""
    return f"{judge.get('name', '–')}{counts}"


def _table(suite: str, labels: Sequence[str], steps: Sequence[StepFiles]) -> SuiteTable:
    found = [step.outputs["suites"].get(suite) for step in steps]
    names = list(dict.fromkeys(n for one in found if one for n in one["figures"]))
    rows = [
        FigureRow(name, [_cell(one["figures"].get(name)) if one else None for one in found])
        for name in names
    ]
    first = names[0] if names else ""
    whiskers = [
        Whisker(label, figure["value"], figure["low"], figure["high"])
        for label, one in zip(labels, found, strict=True)
        if one and (figure := one["figures"].get(first)) and figure["value"] is not None
    ]
    plot = whisker_svg(
        whiskers,
        key=f"suite-{suite}",
        title=suite,
        x_label=first,
        is_win_rate="win_rate" in first,
    )
    notes = [
        (label, note)
        for label, one in zip(labels, found, strict=True)
        for note in (one or {}).get("notes", [])
    ]
    rankings = [
        _ranking(suite, place, label, one["ranking"])
        for place, (label, one) in enumerate(zip(labels, found, strict=True))
        if one and one.get("ranking")
    ]
    return SuiteTable(
        suite,
        rows=[row for row in rows if "/" not in row.name],
        parts=[row for row in rows if "/" in row.name],
        plot=Markup(plot),
        notes=notes,
        rankings=rankings,
    )


def _cell(figure: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if figure is None or figure["value"] is None:
        return None
    interval = "" if figure["low"] is None else f"{figure['low']:.3g} to {figure['high']:.3g}"
    return f"{figure['value']:.4g}", f"{interval}, n = {figure['n']}".removeprefix(", ")


def _ranking(suite: str, place: int, label: str, found: Mapping[str, Any]) -> RankingTable:
    standings = found["standings"]
    models = [standing["model"] for standing in standings]
    shown = dict(zip(models, short_names(models), strict=True))
    baseline = shown[found["baseline"]]
    plot = whisker_svg(
        [
            Whisker(shown[s["model"]], s["win_rate"], s["win_rate_low"], s["win_rate_high"])
            for s in standings
        ],
        key=f"ranking-{suite}-{place}",
        title="Ranking",
        x_label=f"expected win rate against {baseline}",
    )
    won = {(m["first"], m["second"]): m for m in found["matches"]}
    return RankingTable(
        label,
        baseline,
        list(shown.values()),
        [
            [
                _estimate(s["strength"], s["low"], s["high"]),
                _estimate(s["win_rate"], s["win_rate_low"], s["win_rate_high"]),
            ]
            for s in standings
        ],
        [[_match(won, a, b) for b in shown] for a in shown],
        Markup(plot),
    )


def _estimate(value: float, low: float, high: float) -> tuple[str, str]:
    return f"{value:.3f}", "baseline" if low == high else f"{low:.3f} to {high:.3f}"


def _match(
    won: Mapping[tuple[str, str], Mapping[str, Any]], first: str, second: str
) -> tuple[str, str] | None:
    """None where the two were not compared."""
    is_turned = (first, second) not in won
    match = won.get((second, first) if is_turned else (first, second))
    if match is None or first == second:
        return None
    counts = f"of {match['judged']}"
    if match["abstained"]:
        counts += f", {match['abstained']} abstained"
    if match["win_rate"] is None:
        return "–", counts
    rate = 1 - match["win_rate"] if is_turned else match["win_rate"]
    return f"{rate:.3f}", counts
