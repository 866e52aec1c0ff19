"""Reading a run directory: its steps with manifest, config, metrics and result; the summary."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.errors import AccordError, CheckpointError
from accord.core.run_dir import RunDir


@dataclass(frozen=True)
class StepFiles:
    """What one step left; `result` is None until it has finished."""

    name: str
    path: Path
    manifest: dict[str, Any]
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    result: dict[str, Any] | None

    @property
    def stage(self) -> str:
        """Which stage the step ran."""
        return str(self.manifest["stage"])

    @property
    def outputs(self) -> dict[str, Any]:
        """The result, empty until there is one."""
        return self.result or {}


@dataclass(frozen=True)
class Run:
    """A run's steps, in the order in which they were started."""

    name: str
    path: Path
    steps: list[StepFiles]

    def step(self, name: str) -> StepFiles | None:
        """The step of that name, if the run has it."""
        return next((step for step in self.steps if step.name == name), None)

    def last(self, stage: str) -> StepFiles | None:
        """The last finished step of a stage."""
        found = [step for step in self.steps if step.stage == stage and step.result is not None]
        return found[-1] if found else None


def read_run(directory: Path) -> Run:
    """Read every step under `directory`, `STEP/` and `round-K/STEP/`.

    Results that a changed step was moved aside for (`STEP.old-N`) are left out.

    Raises:
        AccordError: there is no step in it.
        CheckpointError: a file of a step cannot be read.
    """
    manifests = [*directory.glob("*/manifest.json"), *directory.glob("*/*/manifest.json")]
    folders = [path.parent for path in manifests if ".old-" not in str(path.relative_to(directory))]
    if not folders:
        raise AccordError(
            f"{directory}: expected a run directory, with a folder a step that holds a "
            "manifest.json; `accord run` makes one"
        )
    steps = [read_step(directory, folder) for folder in folders]
    # Seconds are coarse: a step that was started in the same second as its parent comes after it.
    steps.sort(key=lambda step: (step.manifest["started_at"], step.name))
    return Run(directory.resolve().name, directory, _parents_first(steps))


def read_step(directory: Path, folder: Path) -> StepFiles:
    """One step, named by its place in the directory.

    Raises:
        CheckpointError: a file of it cannot be read.
    """
    files = RunDir(folder)
    manifest = files.read_json("manifest.json") or {}
    missing = {"stage", "status", "started_at", "inputs", "parents"} - manifest.keys()
    if missing:
        raise CheckpointError(
            f"{folder / 'manifest.json'}: lacks {', '.join(sorted(missing))}; run the step again"
        )
    config_path = folder / "config.toml"
    try:
        config = tomllib.loads(config_path.read_text("utf-8")) if config_path.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise CheckpointError(f"{config_path}: not valid TOML ({error})") from None
    return StepFiles(
        name=folder.relative_to(directory).as_posix(),
        path=folder,
        manifest=manifest,
        config=config,
        metrics=files.metrics(),
        result=files.read_json("result.json"),
    )


def _parents_first(steps: list[StepFiles]) -> list[StepFiles]:
    """The same order, but with no step before one of its parents."""
    waiting, ordered, names = list(steps), [], {step.name for step in steps}
    placed: set[str] = set()
    while waiting:
        ready = (s for s in waiting if (set(s.manifest["parents"]) & names) <= placed)
        # Parents that go in a circle cannot come from the pipeline; such a run is still shown.
        chosen = next(ready, waiting[0])
        waiting.remove(chosen)
        ordered.append(chosen)
        placed.add(chosen.name)
    return ordered


def summary(run: Run) -> dict[str, Any]:
    """What `summary.json` holds: every step's result, and the evaluation's tables on top.

    `headline` is absent when no evaluation step has finished; `hardware` and `versions` are those
    of the first step. Numbers that are not finite are null, as strict readers of JSON expect.
    """
    first = run.steps[0].manifest
    values: dict[str, Any] = {
        "name": run.name,
        "created": min(step.manifest["started_at"] for step in run.steps),
        "hardware": first.get("hardware", {}),
        "versions": first.get("versions", {}),
    }
    evaluation = run.last("evaluate")
    if evaluation:
        tables = {k: v for k, v in evaluation.outputs.items() if isinstance(v, dict)}
        baseline = evaluation.outputs.get("baseline")
        values["headline"] = {"step": evaluation.name, "baseline": baseline, **tables}
    values["steps"] = {
        step.name: {
            "stage": step.stage,
            "status": step.manifest["status"],
            "wall_s": step.manifest.get("wall_s"),
            "seed": step.manifest.get("seed"),
            "inputs": step.manifest["inputs"],
            "parents": step.manifest["parents"],
            "result": step.result,
        }
        for step in run.steps
    }
    cleaned: dict[str, Any] = _finite(values)
    return cleaned


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
