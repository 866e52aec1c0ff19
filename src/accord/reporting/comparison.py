"""Several benchmark runs side by side: one page with tables, intervals and plots."""

from collections.abc import Sequence
from pathlib import Path

from accord.core import files
from accord.core.errors import AccordError
from accord.reporting.benchmarks import (
    benchmark_steps,
    evaluated_policies,
    judge_text,
    run_labels,
    suite_tables,
)
from accord.reporting.page import render_template
from accord.reporting.promotion import gate_tables
from accord.reporting.run_files import StepFiles, read_run, read_step


def write_comparison(directories: Sequence[Path], path: Path) -> Path:
    """Write the page of evaluations, alone or inside pipelines, in the order given.

    Raises:
        AccordError: a directory has no finished one.
    """
    steps = [step for directory in directories for step in _steps(directory)]
    labels = run_labels(steps)
    page = render_template(
        "comparison.html.jinja",
        labels=labels,
        steps=steps,
        judges=[judge_text(step) for step in steps],
        suites=suite_tables(labels, steps),
        gates=gate_tables(steps),
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
    found = [*benchmark_steps(found), *evaluated_policies(found)]
    if not found:
        raise AccordError(
            f"{directory}: no finished evaluation in it; `accord evaluate MODEL --suite` makes one"
        )
    return found
