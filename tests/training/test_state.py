"""Checkpoints survive a full disk."""

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from accord.core.errors import StorageError
from accord.core.run_dir import RunDir
from accord.training.state import load_checkpoint, save_checkpoint


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
