"""Where the brake was pulled: what the monitors read, and the responses that show it."""

import json
from typing import Any, NamedTuple

from accord.core.errors import CheckpointError
from accord.reporting.run_files import Run


class Incident(NamedTuple):
    """A step's `incident-N.json`, as `monitors.brake.incident` made it."""

    step: str
    found: dict[str, Any]


_LACKING = "expected a JSON object with step, reasons, readings and samples"


def incidents(run: Run) -> list[Incident]:
    """All of a run, in the order of its steps.

    Raises:
        CheckpointError: a file cannot be read.
    """
    found = []
    for step in run.steps:
        for path in sorted(step.path.glob("incident-*.json")):
            try:
                value = json.loads(path.read_text("utf-8"))
                for key in ("step", "back_to_step", "reasons", "readings", "samples"):
                    value[key]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise CheckpointError(f"{path}: {_LACKING} ({error}); delete it") from None
            found.append(Incident(step.name, value))
    return found
