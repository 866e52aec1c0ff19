"""Several benchmark runs side by side: one page with tables, intervals and plots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from accord.core import files
from accord.core.errors import AccordError
from accord.reporting.plots import Whisker, whisker_svg
from accord.reporting.run_files import StepFiles, read_run, read_step

TEMPLATES = Path(__file__).parent / "templates"
STAGE = "benchmark"


@dataclass(frozen=True)
class FigureRow:
    """One figure of every column: text and interval, None where a run has none."""

    name: str
    cells: list[tuple[str, str] | None]


@dataclass(frozen=True)
class SuiteTable:
    """One suite: its figures, those of parts (`FIGURE/PART`), a plot of the first figure, and what
    has to be known of each run.
    """

    name: str
    rows: list[FigureRow]
    parts: list[FigureRow]
    plot: Markup
    notes: list[tuple[str, str]]


def write_comparison(directories: Sequence[Path], path: Path) -> Path:
    """Write the page of benchmark steps, alone or inside pipelines, in the order given.

    Raises:
        AccordError: a directory has no finished benchmark.
    """
    steps = [step for directory in directories for step in _steps(directory)]
    labels = _labels(steps)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("comparison.html.jinja").render(
        labels=labels,
        steps=steps,
        suites=[_table(name, labels, steps) for name in _suites(steps)],
    )
    files.write_text(path, page)
    return path


def is_benchmark(directory: Path) -> bool:
    """Whether a directory is that of one step, and not of a pipeline."""
    return (directory / "manifest.json").exists()


def _steps(directory: Path) -> list[StepFiles]:
    if is_benchmark(directory):
        found = [read_step(directory.parent, directory)]
    else:
        found = read_run(directory).steps
    found = [step for step in found if step.stage == STAGE and step.result is not None]
    if not found:
        raise AccordError(
            f"{directory}: no finished benchmark in it; `accord evaluate MODEL --suite` makes one"
        )
    return found


def _labels(steps: Sequence[StepFiles]) -> list[str]:
    """The steps' names, or their models', whichever tells them apart."""
    models = [str(step.config["model_name_or_path"]) for step in steps]
    short = ["/".join(Path(model).parts[-2:]) for model in models]
    if len(set(short)) == len(short):
        return short
    return [f"{step.path.parent.name}/{step.path.name}" for step in steps]


def _suites(steps: Sequence[StepFiles]) -> list[str]:
    return list(dict.fromkeys(name for step in steps for name in step.outputs["suites"]))


def _table(suite: str, labels: Sequence[str], steps: Sequence[StepFiles]) -> SuiteTable:
    found = [step.outputs["suites"].get(suite) for step in steps]
    names = list(dict.fromkeys(n for one in found if one for n in one["figures"]))
    rows = [
        FigureRow(name, [_cell(one["figures"].get(name)) if one else None for one in found])
        for name in names
    ]
    whiskers = [
        Whisker(label, figure["value"], figure["low"], figure["high"])
        for label, one in zip(labels, found, strict=True)
        if one and (figure := one["figures"].get(names[0])) and figure["value"] is not None
    ]
    plot = whisker_svg(
        whiskers,
        key=f"suite-{suite}",
        title=suite,
        x_label=names[0],
        is_win_rate="win_rate" in names[0],
    )
    notes = [
        (label, note)
        for label, one in zip(labels, found, strict=True)
        for note in (one or {}).get("notes", [])
    ]
    parts = [row for row in rows if "/" in row.name]
    whole = [row for row in rows if "/" not in row.name]
    return SuiteTable(suite, whole, parts, Markup(plot), notes)


def _cell(figure: dict[str, Any] | None) -> tuple[str, str] | None:
    if figure is None or figure["value"] is None:
        return None
    interval = "" if figure["low"] is None else f"{figure['low']:.3g} to {figure['high']:.3g}"
    return f"{figure['value']:.4g}", f"{interval}, n = {figure['n']}".removeprefix(", ")
