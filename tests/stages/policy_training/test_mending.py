"""A reward function that fails in the middle of a run, and the same command once it is mended."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.pipeline import execute
from accord.wiring import stage_config

CALLS = {"made": 0, "wrong": -1}


def sometimes(completions: list[str], **_: Any) -> list[float]:
    """Minus the length; the wrong call gives no number."""
    CALLS["made"] += 1
    wrong = CALLS["made"] == CALLS["wrong"]
    return [math.nan if wrong else -float(len(text)) for text in completions]


@pytest.mark.parametrize("save_steps", [1, 100])
@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_the_same_command_ends_as_if_nothing_had_been(
    method: str, save_steps: int, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Going on from the last checkpoint, or from the start where there is none."""
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": f"user asks {i}"} for i in range(24)])
    values = {
        "model_name_or_path": str(tiny_model_dir), "prompts": str(tmp_path / "prompts.jsonl"),
        "reward_funcs": f"{__name__}:sometimes", "learning_rate": 3e-3, "max_length": 64,
        "max_completion_length": 3, "per_device_train_batch_size": 16, "mini_batch_size": 8,
        "max_steps": 4, "eval_steps": 2, "eval_fraction": 0.4, "save_steps": save_steps,
    }  # fmt: skip
    config = stage_config(method).parse(values, where="test")
    CALLS["made"] = 0
    whole = execute(method, config, tmp_path / "whole")
    # Two calls an evaluation (the responses as they are, and under other prompts): this one is
    # that of the third update.
    CALLS.update(made=0, wrong=2 + 1 + 1 + 2 + 1)
    with pytest.raises(DataError, match="sometimes returned nan for completion 0"):
        execute(method, config, tmp_path / "broken")
    broken = RunDir(tmp_path / "broken")
    assert [row["step"] for row in broken.metrics()] == [0, 1, 2]
    assert bool(broken.checkpoints()) == (save_steps == 1)
    CALLS["wrong"] = -1
    mended = execute(method, config, tmp_path / "broken")
    assert mended.result == whole.result
    rows = [
        [{k: v for k, v in row.items() if "perf/" not in k} for row in RunDir(o.path).metrics()]
        for o in (whole, mended)
    ]
    assert rows[0] == rows[1] and rows[0][-1]["step"] == 4
    weights = [load_file(o.path / "model/model.safetensors") for o in (whole, mended)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
