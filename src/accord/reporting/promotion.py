"""Gates for the page: every condition with the figure that was held against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accord.reporting.run_files import StepFiles


@dataclass(frozen=True)
class Row:
    """A condition: figure, where it was measured, limit, number, whether it held."""

    figure: str
    run: str
    limit: str
    value: str | None
    why: str
    held: bool


@dataclass(frozen=True)
class GateTable:
    """What one step's gate found."""

    step: str
    sentence: str
    held: bool
    rows: list[Row]


def gate_tables(steps: Sequence[StepFiles]) -> list[GateTable]:
    """Of every finished step that has a gate."""
    return [
        GateTable(step.name, _sentence(step.outputs), gate["held"], _rows(gate["conditions"]))
        for step in steps
        if (gate := step.outputs.get("gate"))
    ]


def _sentence(outputs: dict[str, Any]) -> str:
    conditions = outputs["gate"]["conditions"]
    kept = sum(one["held"] for one in conditions)
    text = f"{kept} of {len(conditions)} conditions held."
    if "deployed" not in outputs:
        return text
    model, alias = outputs["sha256"][:12], outputs["alias"]
    if outputs["deployed"]:
        return f"{text} The model {model} went live as the alias {alias}."
    return f"{text} The model {model} was refused; the alias {alias} is as it was."


def _rows(conditions: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(
            one["figure"],
            one["run"] or "–",
            f"{one['kind'].replace('_', ' ')} {one['limit']:g}",
            None if one["value"] is None else f"{one['value']:.4g}",
            one["why"],
            one["held"],
        )
        for one in conditions
    ]
