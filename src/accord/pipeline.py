"""A run is a DAG of named steps: each step's inputs are files or outputs of earlier steps.

A killed run resumes: finished steps whose inputs' hashes are unchanged are skipped, the step that
was cut off goes on from its last checkpoint, a changed one is redone beside its old results.
"""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from accord.core import manifest as manifests
from accord.core import processes
from accord.core.config import StageConfig
from accord.core.errors import AccordError, ConfigError, describe_choice
from accord.core.files import write_text
from accord.core.manifest import strings_in
from accord.core.run_dir import RunDir, step_of
from accord.judges.constitution import read_constitution
from accord.publishing.model_card import write_model_card
from accord.run_config import RunConfig, steps_of
from accord.wiring import (
    function_sources,
    protocols_for,
    stage_config,
    stage_outputs,
    stage_run,
    stored_inputs,
)

RESULT = "result"
"""What every step can be asked for: the file of its figures."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step with its config parsed; `parents` are the steps whose outputs it reads."""

    name: str
    stage: str
    inputs: dict[str, Any]
    values: dict[str, Any]
    parents: list[str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a step ended: its result as in `result.json`, and whether it ran or was skipped."""

    stage: str
    path: Path
    result: dict[str, Any]
    was_skipped: bool
    wall_s: float


def plan(config: RunConfig, *, where: str) -> list[Step]:
    """Check every step before any runs: names, stages, references, and all config values."""
    steps: list[Step] = []
    for entry in steps_of(config, where=where):
        values = {"seed": config.seed, **entry}
        name, stage = values.pop("name", None), values.pop("stage", None)
        if not name or not stage:
            raise ConfigError(f"{where}: every [[step]] needs a name and a stage")
        label = f"{where}, step {name!r}"
        if name in {step.name for step in steps}:
            raise ConfigError(f"{label}: the name is taken by an earlier step")
        cls = stage_config(stage)
        inputs = values.pop("inputs", {})
        parents = _check_references(strings_in(inputs), config, steps, label)
        # References stand in for paths here: what they name may not exist yet.
        cls.parse({**values, **_resolve(inputs, config, {})}, where=label)
        steps.append(Step(name, stage, inputs, values, parents))
    return steps


def _check_references(
    references: list[str], config: RunConfig, earlier: list[Step], label: str
) -> list[str]:
    """Names of the earlier steps that are referred to; every reference must have a meaning."""
    stages = {step.name: step.stage for step in earlier}
    parents = set()
    for reference in references:
        head, _, field = reference.partition(".")
        if head == "inputs" and field not in config.inputs:
            raise ConfigError(f"{label}: no input {describe_choice(field, list(config.inputs))}")
        if head in stages:
            outputs = [*stage_outputs(stages[head]), RESULT]
            if field not in outputs:
                raise ConfigError(
                    f"{label}: step {head!r} has no output {describe_choice(field, outputs)}"
                )
            parents.add(head)
    return sorted(parents)


def _resolve(value: Any, config: RunConfig, done: Mapping[str, Outcome]) -> Any:
    """`inputs.NAME` -> the run's input; `STEP.FIELD` -> that step's output, `STEP.result` -> all of
    its figures; else as it stands.
    """
    if isinstance(value, dict):
        return {k: _resolve(v, config, done) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve(v, config, done) for v in value]
    if not isinstance(value, str):
        return value
    head, _, field = value.partition(".")
    if head == "inputs":
        return config.inputs[field]
    if head in done:
        if field != RESULT and field not in done[head].result:
            raise ConfigError(f"{head!r} of an older version left no {field!r}; --force {head}")
        own = "result.json" if field == RESULT else done[head].result[field]
        return str(done[head].path / own)
    return value


def run_pipeline(
    config: RunConfig,
    directory: Path,
    *,
    where: str,
    force: Sequence[str] = (),
    announce: Any = None,
) -> dict[str, Outcome]:
    """Run every step that has to; returns all outcomes by name.

    Args:
        directory: the run directory; each step has a folder of its name in it.
        force: names of steps to redo although nothing changed.
        announce: called with (step, position, count, outcome or None) before and after a step.
    """
    steps = plan(config, where=where)
    for name in force:
        if name not in {step.name for step in steps}:
            raise ConfigError(f"--force: no step {describe_choice(name, [s.name for s in steps])}")
    done: dict[str, Outcome] = {}
    for position, step in enumerate(steps, start=1):
        if announce:
            announce(step, position, len(steps), None)
        values = {**step.values, **_resolve(step.inputs, config, done)}
        parsed = stage_config(step.stage).parse(values, where=f"{where}, step {step.name!r}")
        done[step.name] = execute(
            step.stage,
            parsed,
            directory / step.name,
            parents=step.parents,
            force=step.name in force,
            redo_changed=True,
        )
        if announce:
            announce(step, position, len(steps), done[step.name])
    return done


def execute(
    stage: str,
    config: StageConfig,
    path: Path,
    *,
    parents: Sequence[str] = (),
    force: bool = False,
    redo_changed: bool = False,
) -> Outcome:
    """Run one stage in its directory: skip it, resume it, or start it.

    Args:
        force: redo a finished stage.
        redo_changed: what to do when the directory holds a run with another config or other
            inputs: move it aside and start anew, or refuse.

    Raises:
        AccordError: the directory holds another run and `redo_changed` is off.
    """
    processes.start()
    run = partial(
        _execute, stage, config, path, parents=parents, force=force, redo_changed=redo_changed
    )
    return run() if config.shares_work else processes.by_main(run)


def _execute(
    stage: str,
    config: StageConfig,
    path: Path,
    *,
    parents: Sequence[str],
    force: bool,
    redo_changed: bool,
) -> Outcome:
    from accord.training import memory  # imports torch

    inputs = {**manifests.describe_inputs(config), **stored_inputs(config)}
    fresh = manifests.new_manifest(stage, config, inputs, list(parents))
    fresh["functions"] = function_sources(config)
    if constitutions := _constitutions(inputs):
        fresh["constitutions"] = constitutions
    run_dir = RunDir(path)
    with run_dir.locked():
        old = run_dir.read_json("manifest.json")
        result = run_dir.read_json("result.json")
        processes.wait()  # all have read before the main one writes
        changed = _what_changed(old, fresh, is_finished=result is not None)
        if old is not None and result is not None and not (changed or force):
            return Outcome(stage, path, result, was_skipped=True, wall_s=0.0)
        fresh["memory"] = memory.admit(stage, config)
        if old is not None and (changed or force):
            if not (redo_changed or force):
                raise AccordError(
                    f"{path}: holds a run with {changed}; choose another --output_dir, or --force "
                    "to redo it here (the old run is moved aside)"
                )
            if processes.is_main():
                _move_aside(run_dir)
        write_text(path / "config.toml", tomli_w.dumps(config.model_dump(exclude_none=True)))
        run_dir.write_json("manifest.json", fresh)
        started = time.monotonic()
        try:
            outcome = stage_run(stage)(config, run_dir, **protocols_for(config))
        except AccordError:
            if processes.is_main():
                _forget_if_nothing_was_done(run_dir)
            raise
        wall_s = time.monotonic() - started
        fields = [field.name for field in dataclasses.fields(outcome)]
        result = {name: _portable(getattr(outcome, name), path) for name in fields}
        write_model_card(run_dir, fresh, config, result)
        run_dir.write_json("result.json", result)
        finished = {"status": "finished", "finished_at": manifests.now()}
        took = {"wall_s": round(wall_s, 1), "memory": memory.with_peak(fresh["memory"])}
        if "spent" in result:  # tokens of an endpoint, and their price
            took["spent"] = result["spent"]
        noted = run_dir.read_json("manifest.json") or fresh  # what the stage added while it ran
        run_dir.write_json("manifest.json", {**noted, **finished, **took})
    return Outcome(stage, path, result, was_skipped=False, wall_s=wall_s)


def _what_changed(
    old: Mapping[str, Any] | None, fresh: Mapping[str, Any], *, is_finished: bool
) -> str | None:
    """Why a run that is there is another one; a mended function continues what is unfinished."""
    if old is None or old["fingerprint"] != fresh["fingerprint"]:
        return "another config or other inputs"
    known = old.get("functions", {}) if is_finished else {}
    for name, sha256 in fresh["functions"].items():
        if known.get(name, sha256) != sha256:
            return f"another source of {name}"
    return None


def _constitutions(inputs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Those that a step reads, and those behind the steps that made its inputs, each once."""
    found: dict[str, dict[str, Any]] = {}
    for field, entries in inputs.items():
        for entry in entries:
            file = Path(entry["value"])
            if field == "constitution":
                name = read_constitution(file).label
                found[name] = {"name": name, "file": entry["value"], "sha256": entry["sha256"]}
            elif file.exists() and (maker := step_of(file)):
                behind = (RunDir(maker).read_json("manifest.json") or {}).get("constitutions", [])
                found |= {one["name"]: one for one in behind if one["name"] not in found}
    return list(found.values())


def _forget_if_nothing_was_done(run_dir: RunDir) -> None:
    """A stage that refused its input before any work leaves the directory to a corrected one."""
    described = {"config.toml", "manifest.json"}
    if {path.name for path in run_dir.path.iterdir()} == described:
        for name in described:
            (run_dir.path / name).unlink()


def _move_aside(run_dir: RunDir) -> None:
    """Nothing that was saved is lost: the old run keeps its files under another name."""
    number = 1
    while (old := run_dir.path.with_name(f"{run_dir.path.name}.old-{number}")).exists():
        number += 1
    run_dir.path.rename(old)
    run_dir.path.mkdir()


def _portable(value: Any, base: Path) -> Any:
    """For `result.json`: paths relative to the run directory, so that a run can be moved; and
    null for figures that do not exist (JSON has no NaN).
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value.relative_to(base)) if value.is_relative_to(base) else str(value)
    if isinstance(value, dict):
        return {k: _portable(v, base) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(v, base) for v in value]
    return value
