"""Revisions by a constitution for the page: what became of responses, and some step by step."""

import json
from dataclasses import dataclass
from typing import Any

from accord.core.errors import CheckpointError
from accord.reporting.run_files import StepFiles
from accord.reporting.tables import percent

SHOWN = 8
"""Revisions that are shown."""


@dataclass(frozen=True)
class Revised:
    """A step's revisions: figures as label and text, and the first of them."""

    name: str
    figures: list[tuple[str, str]]
    samples: list[dict[str, Any]]


def revisions_of(step: StepFiles) -> Revised | None:
    """None of a step that revised nothing.

    Raises:
        CheckpointError: a row of the step's file cannot be read.
    """
    found = step.outputs
    if step.stage != "revise" or not found:
        return None
    figures = [("Constitution", str(found["constitution"])), ("Model", str(found["model"]))]
    total = found["revised"] + found["unchanged"]
    if total:
        share = percent(found["revised"] / total)
        figures.append(("Responses that ended in other words", f"{share} of {total:,}"))
    for name in ("demonstration_count", "blank_steps", "unanswered", "cut_answers"):
        figures.append((name.replace("_", " ").capitalize(), f"{found[name]:,}"))
    drawn = sorted(found["principles"].items(), key=lambda item: (-item[1], item[0]))
    figures.append(("Principles drawn", ", ".join(f"{name} {count}" for name, count in drawn)))
    return Revised(step.name, figures, _samples(step))


def _samples(step: StepFiles) -> list[dict[str, Any]]:
    path = step.path / str(step.outputs["revisions"])
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()[:SHOWN]
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
