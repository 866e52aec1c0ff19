"""A run's page: `report.html`, one file with plots and style inside, and `summary.json`."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from accord.core import files
from accord.core.errors import CheckpointError
from accord.reporting import lineage
from accord.reporting.benchmarks import benchmark_steps, judge_text, suite_tables
from accord.reporting.curves import Panel, panels
from accord.reporting.incidents import incidents
from accord.reporting.judges import judge_table
from accord.reporting.notices import notices
from accord.reporting.page import render_template
from accord.reporting.plots import (
    Point,
    Whisker,
    panel_svg,
    reliability_svg,
    reward_kl_svg,
    whisker_svg,
)
from accord.reporting.promotion import gate_tables
from accord.reporting.red_team import red_team_of
from accord.reporting.revisions import revisions_of
from accord.reporting.reward_models import reliability_curves, reward_model_table
from accord.reporting.rounds import round_rows
from accord.reporting.run_files import Run, StepFiles, read_run, summary
from accord.reporting.tables import JUDGES, evaluation_table, verdicts


def write_report(directory: Path) -> Path:
    """Write `summary.json` and `report.html` of a run; returns the page's path.

    Reads nothing but the run directory, so that it can be made again at any time; equal files
    give equal bytes.

    Raises:
        AccordError: there is no run in `directory`, or a file of it cannot be read.
    """
    run = read_run(directory)
    page = render(run)
    files.write_json(directory / "summary.json", summary(run))
    path = directory / "report.html"
    files.write_text(path, page)
    return path


def render(run: Run) -> str:
    """The page as HTML; parts whose steps or metrics are missing are left out."""
    evaluation = run.last("evaluate")
    if evaluation and not evaluation.outputs.get("policies"):
        evaluation = None
    benchmarks = benchmark_steps(run.steps)
    labels = [step.name for step in benchmarks]
    return render_template(
        "report.html.jinja",
        run=run,
        summary=summary(run),
        evaluation=evaluation,
        groups=evaluation_table(evaluation) if evaluation else [],
        verdicts=verdicts(evaluation) if evaluation else [],
        win_plots=_win_plots(evaluation) if evaluation else [],
        statements=[s.outputs["statement"] for s in run.steps if s.outputs.get("statement")],
        rounds=round_rows(run),
        revisions=[r for step in run.steps if (r := revisions_of(step))],
        red_teams=[
            found for step in run.steps if (found := red_team_of(step, _identifier(step.name)))
        ],
        reward_models=[_reward_model(s) for s in run.steps if _reward_rows(s)],
        sources={step.name: lineage.sources(run, step) for step in run.steps},
        curves=[c for step in run.steps if (c := _curves(step))],
        reward_kl=_reward_kl(run, evaluation),
        incidents=incidents(run),
        samples=_samples(evaluation) if evaluation else [],
        drawing=lineage.draw(run),
        box=(lineage.BOX_WIDTH, lineage.BOX_HEIGHT),
        models=[
            (step, outputs, lineage.ancestry(run, step))
            for step in run.steps
            if (outputs := lineage.model_outputs(step))
        ],
        notices=notices(run),
        gates=gate_tables(run.steps),
        benchmarks=benchmarks,
        benchmark_labels=labels,
        suites=suite_tables(labels, benchmarks),
        judges=[judge_text(step) for step in benchmarks],
    )


def _reward_model(step: StepFiles) -> tuple[str, list[tuple[str, str]], Markup | None]:
    """Name, figures, and the drawn reliability curve if there is one."""
    curves, plot = reliability_curves(step), None
    if curves:
        key = f"reliability-{_identifier(step.name)}"
        plot = Markup(reliability_svg(curves, key=key, title="Calibration"))
    return step.name, _reward_rows(step), plot


def _reward_rows(step: StepFiles) -> list[tuple[str, str]]:
    """The figures of a step that trained a reward model, or of a judge; none of any other."""
    if step.stage == "judge":
        return judge_table(step)
    return reward_model_table(step) if step.stage == "reward" else []


def _win_plots(evaluation: StepFiles) -> list[Markup]:
    plots = []
    baseline = evaluation.outputs.get("baseline", "baseline")
    rates = evaluation.outputs.get("win_rates", {})
    for judge, label in JUDGES.items():
        whiskers = [
            Whisker(policy, rate["mean"], rate["low"], rate["high"])
            for policy, by_judge in rates.items()
            if (rate := by_judge.get(judge))
        ]
        if whiskers:
            svg = whisker_svg(
                whiskers,
                key=f"wins-{judge}",
                title=f"By the {label}",
                x_label=f"share of prompts won against {baseline}",
            )
            plots.append(Markup(svg))
    return plots


@dataclass(frozen=True)
class Curves:
    """A step's drawn panels; `more` holds the metrics that few readers ask for."""

    step: StepFiles
    main: list[Markup]
    more: list[Markup]


def _curves(step: StepFiles) -> Curves | None:
    if step.stage in ("evaluate", "red_team"):  # their rows are no steps
        return None
    x_label = "update" if step.stage == "ppo" else "step"

    def drawn(panel: Panel, number: int) -> Markup:
        key = f"{_identifier(step.name)}-{number}"
        return Markup(panel_svg(panel, key=key, x_label=x_label))

    found = list(enumerate(panels(step)))
    main = [drawn(panel, number) for number, panel in found if panel.is_main]
    more = [drawn(panel, number) for number, panel in found if not panel.is_main]
    return Curves(step, main, more) if main or more else None


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _reward_kl(run: Run, evaluation: StepFiles | None) -> Markup | None:
    """Paths of held-out evaluations during training, and the evaluated policies beside them."""
    paths = []
    for step in run.steps:
        path = [
            Point(f"update {row['step']}", row["heldout/kl_nats"], row["heldout/score"])
            for row in step.metrics
            if row.get("heldout/kl_nats") is not None and row.get("heldout/score") is not None
        ]
        if len(path) > 1:
            paths.append((f"{step.name}, during training", path))
    points = []
    for name, figures in evaluation.outputs["policies"].items() if evaluation else []:
        if evaluation and _was_trained_here(name, run, evaluation) and "reward" in figures:
            kl, score = figures["kl_nats"]["mean"], figures["reward"]["mean"]
            if math.isfinite(kl) and math.isfinite(score):
                points.append(Point(f"{name}, evaluated", kl, score))
    if not paths:
        return None
    return Markup(reward_kl_svg(paths, points, key="reward-kl", y_label="mean held-out reward"))


def _was_trained_here(policy: str, run: Run, evaluation: StepFiles) -> bool:
    """A base model lies so far from the reference that it would squeeze all else together."""
    path = str(evaluation.config.get("policies", {}).get(policy, ""))
    return any(
        f"/{PurePath(path).as_posix()}".endswith(f"/{step.name}/{step.outputs[output]}")
        for step in run.steps
        for output in lineage.model_outputs(step)
    )


def _samples(evaluation: StepFiles) -> list[dict[str, Any]]:
    """Prompts with every policy's response; the path is as the result names it."""
    path = evaluation.path / str(evaluation.outputs.get("samples", "samples.jsonl"))
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            prompt = row["prompt"]
            turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            rows.append({"turns": turns, "kind": row.get("kind"), "responses": row["responses"]})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path}, line {number}: expected a JSON object with prompt and responses "
                f"({error}); run the step again with --force"
            ) from None
    return rows
