"""Train state on disk: complete, verified, and enough for a bit-equal continuation."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accord.core import device, files, processes
from accord.core.errors import CheckpointError, Interrupted
from accord.core.run_dir import RunDir
from accord.models.quantized import frozen_names
from accord.models.sharding import gathered
from accord.training.interrupt import StopRequest
from accord.training.step import Optimization

HELD_OUT = {"validation/loss": 1, "heldout/score": -1}
"""Metrics that rank checkpoints, each with the sign that makes less of it better."""


def save_checkpoint(
    run_dir: RunDir,
    step: int,
    *,
    modules: Mapping[str, nn.Module],
    optimizations: Mapping[str, Optimization],
    loop: dict[str, Any],
    metrics: Mapping[str, float] | None = None,
    keep: int = 2,
) -> Path:
    """Write `checkpoint-STEP/`: weights, optimizers, random state, and the loop's own values.

    The newest `keep` stay, and the best by a held-out metric that was measured at its own step;
    its `checkpoint.json` says `is_best`. What the run started from (the reference's identity) is in
    there by hash.

    Args:
        modules: by name; their whole state is kept, in its own precision, but for frozen weights
            of four bits, which a resumed run reads from the model that it starts from.
        optimizations: by name.
        loop: plain values and tensors that the loop needs back (controllers, best so far).
        metrics: of this step; one of `HELD_OUT` may be among them.
        keep: newest checkpoints that stay.
    """
    path = run_dir.path / f"checkpoint-{step}"
    with files.atomic_directory(path) as temporary:
        state = {
            "modules": {name: _kept(module) for name, module in modules.items()},
            "optimizations": {name: o.state_dict() for name, o in optimizations.items()},
            "random": device.random_state(),
            "loop": loop,
        }
        _write_state(gathered(state), temporary / "state.pt")
        seal = {
            "step": step,
            "sha256": files.hash_path(temporary / "state.pt"),
            "inputs": (run_dir.read_json("manifest.json") or {}).get("inputs", {}),
            "heldout": {
                name: value
                for name, value in (metrics or {}).items()
                if name in HELD_OUT and math.isfinite(value)
            },
            "is_best": False,
        }
        files.write_json(temporary / "checkpoint.json", seal)
    if processes.is_main():
        with processes.alone():
            _keep_newest_and_best(run_dir, keep)
    processes.wait()
    return path


def _kept(module: nn.Module) -> dict[str, torch.Tensor]:
    frozen = tuple(frozen_names(module))
    return {n: t for n, t in module.state_dict().items() if not n.startswith(frozen)}


def _load(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Undo `_kept`; anything else that is missing or too much is a RuntimeError."""
    frozen = frozen_names(module)
    if not frozen:
        module.load_state_dict(state)
        return
    found = module.load_state_dict(state, strict=False)
    missing = set(found.missing_keys) - frozen
    if missing or found.unexpected_keys:
        raise RuntimeError(f"missing {sorted(missing)}, unknown {found.unexpected_keys}")


def _keep_newest_and_best(run_dir: RunDir, keep: int) -> None:
    checkpoints = [path for _, path in run_dir.checkpoints()]
    seals = {path: RunDir(path).read_json("checkpoint.json") or {} for path in checkpoints}
    ranks = {path: _rank(seal) for path, seal in seals.items()}
    best = min(checkpoints, key=lambda path: ranks[path])  # the earlier of two that are alike
    for path, seal in seals.items():
        is_best = path == best and math.isfinite(ranks[path])
        if path not in checkpoints[-keep:] and not is_best:
            shutil.rmtree(path)
        elif is_best != seal.get("is_best"):
            files.write_json(path / "checkpoint.json", {**seal, "is_best": is_best})


def _rank(seal: Mapping[str, Any]) -> float:
    """Less is better; infinite where no held-out metric was measured."""
    found = [HELD_OUT[name] * value for name, value in seal.get("heldout", {}).items()]
    return found[0] if found else math.inf


def _write_state(state: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:
        # What the system said (a full disk) is behind an exception of the archive's writer.
        raise error.__context__ if isinstance(error.__context__, OSError) else error from None


def trained_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of what trains (under LoRA: the adapters alone), to come back to."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    return {name: t.clone() for name, t in model.state_dict().items() if name in trained}


class Checkpoints:
    """When a loop saves, and what: its modules, optimizers, random state and own values."""

    def __init__(
        self,
        run_dir: RunDir,
        *,
        modules: Mapping[str, nn.Module],
        optimizations: Mapping[str, Optimization],
        every: int,
        total: int,
        keep: int,
    ) -> None:
        self.run_dir = run_dir
        self.modules = modules
        self.optimizations = optimizations
        self.every = every
        self.total = total
        self.keep = keep

    def restore(self) -> tuple[int, dict[str, Any]] | None:
        """The newest checkpoint, as `load_checkpoint`."""
        return load_checkpoint(self.run_dir, modules=self.modules, optimizations=self.optimizations)

    def after(
        self,
        done: int,
        loop: dict[str, Any],
        stop: StopRequest,
        metrics: Mapping[str, float],
    ) -> None:
        """Call it after every step, with the step's metrics: saves when a checkpoint is due, and
        when a stop was asked for.

        Raises:
            Interrupted: a stop was asked for; the same command resumes.
        """
        if done == self.total:
            return
        stops = any(processes.gathered(bool(stop)))
        if done % self.every == 0 or stops:
            save_checkpoint(
                self.run_dir,
                done,
                modules=self.modules,
                optimizations=self.optimizations,
                loop=loop,
                metrics=metrics,
                keep=self.keep,
            )
        if stops:
            raise Interrupted(
                f"{self.run_dir.path}: stopped after step {done}; run again to resume"
            )


def load_checkpoint(
    run_dir: RunDir,
    *,
    modules: Mapping[str, nn.Module],
    optimizations: Mapping[str, Optimization],
) -> tuple[int, dict[str, Any]] | None:
    """Restore the newest checkpoint and rewind the metrics to it; None when there is none.

    Returns:
        the step it was written after, and the loop's values.

    Raises:
        CheckpointError: its files are damaged or belong to another model.
    """
    checkpoints = run_dir.checkpoints()
    if not checkpoints:
        run_dir.rewind_metrics(-1)  # a run killed before its first checkpoint starts anew
        return None
    step, path = checkpoints[-1]
    state = _read_verified(path)
    try:
        for name, module in modules.items():
            _load(module, state["modules"][name])
        for name, optimization in optimizations.items():
            optimization.load_state_dict(state["optimizations"][name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not fit this model ({error})") from error
    device.restore_random_state(state["random"])
    run_dir.rewind_metrics(step)
    return step, state["loop"]


def _read_verified(path: Path) -> dict[str, Any]:
    advice = f"delete {path} to resume from the one before it, or from the start"
    seal = RunDir(path).read_json("checkpoint.json")
    file = path / "state.pt"
    if seal is None or not file.exists():
        raise CheckpointError(f"{path}: files are missing; {advice}")
    if files.hash_path(file) != seal["sha256"]:
        raise CheckpointError(f"{file}: cut short or damaged (its hash differs); {advice}")
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state
