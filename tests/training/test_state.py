"""Checkpoints survive a full disk; the newest stay, and the best one."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accord.core.device import random_state, restore_random_state
from accord.core.errors import StorageError
from accord.core.run_dir import RunDir
from accord.training.interrupt import StopRequest
from accord.training.state import Checkpoints, load_checkpoint, save_checkpoint


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """The system refuses files beyond a size, as it refuses what a disk has no room for."""
    run_dir = RunDir(tmp_path / "run")
    modules = {"model": nn.Linear(300, 300)}
    save_checkpoint(run_dir, 1, modules=modules, optimizations={}, loop={"best": 0.5})
    before = modules["model"].weight.detach().clone()
    with torch.no_grad():
        modules["model"].weight.add_(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="checkpoint-2.*make room"):
            save_checkpoint(run_dir, 2, modules=modules, optimizations={}, loop={"best": 0.4})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in run_dir.path.iterdir() if "checkpoint" in path.name] == [
        "checkpoint-1"
    ]
    assert load_checkpoint(run_dir, modules=modules, optimizations={}) == (1, {"best": 0.5})
    assert torch.equal(modules["model"].weight, before)


def kept(
    run_dir: RunDir, name: str, values: dict[int, float | None], *, keep: int
) -> dict[int, bool]:
    """Save a checkpoint a step, with that held-out metric; which stay, and whether each is best."""
    checkpoints = Checkpoints(
        run_dir, modules={"m": nn.Linear(2, 1)}, optimizations={}, every=1, total=99, keep=keep
    )
    for step, value in values.items():
        metrics = {} if value is None else {name: value}
        checkpoints.after(step, {}, StopRequest(), {"loss": -9.0, **metrics})
    seals = {step: seal_of(path) for step, path in run_dir.checkpoints()}
    return {step: seal["is_best"] for step, seal in seals.items()}


def seal_of(path: Path) -> dict[str, Any]:
    seal: dict[str, Any] = json.loads((path / "checkpoint.json").read_text())
    return seal


@pytest.mark.parametrize(
    ("name", "values", "keep", "expected"),
    [
        # The lowest loss was measured at step 2.
        ("validation/loss", {1: 3.0, 2: 1.0, 3: 2.0, 4: 5.0}, 1, {2: True, 4: False}),
        ("validation/loss", {1: 3.0, 2: 2.0, 3: 1.0, 4: 5.0}, 2, {3: True, 4: False}),
        # A score is better when it is higher, and a better one takes the mark.
        ("heldout/score", {1: 3.0, 2: 1.0, 3: 4.0, 4: 2.0}, 1, {3: True, 4: False}),
        ("heldout/score", {1: 3.0, 2: 3.0, 3: 3.0}, 1, {1: True, 3: False}),
        # A step without an evaluation, or with one that is no number, is never the best.
        ("validation/loss", {1: None, 2: 4.0, 3: None, 4: None}, 1, {2: True, 4: False}),
        ("validation/loss", {1: float("nan"), 2: None, 3: None}, 2, {2: False, 3: False}),
        ("loss", {1: 1.0, 2: 2.0, 3: 3.0}, 1, {3: False}),
    ],
)
def test_the_newest_and_the_best_stay(
    name: str, values: dict[int, float | None], keep: int, expected: dict[int, bool], tmp_path: Path
) -> None:
    run_dir = RunDir(tmp_path)
    assert kept(run_dir, name, values, keep=keep) == expected
    # A run goes on from the newest, whichever is the best.
    restored = load_checkpoint(run_dir, modules={"m": nn.Linear(2, 1)}, optimizations={})
    assert restored == (max(values), {})


def test_a_checkpoint_names_what_the_run_started_from(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    inputs = {"model_name_or_path": [{"value": "base", "sha256": "abc"}]}
    run_dir.write_json("manifest.json", {"inputs": inputs})
    path = save_checkpoint(run_dir, 1, modules={"m": nn.Linear(2, 1)}, optimizations={}, loop={})
    assert seal_of(path)["inputs"] == inputs


def test_the_random_state_of_more_gpus_is_restored_on_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = {**random_state(), "cuda": [torch.zeros(16, dtype=torch.uint8)] * 8}
    given: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.extend)
    restore_random_state(state)
    assert len(given) == 1
