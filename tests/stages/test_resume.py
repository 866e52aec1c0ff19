"""Every training stage: a run that is broken off resumes to the same bytes as an unbroken one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.stages.policy_training.dpo import config as dpo_config
from accord.stages.policy_training.dpo import run as dpo
from accord.stages.pretraining import config as pretraining_config
from accord.stages.pretraining import run as pretraining
from accord.stages.reward_modeling import config as reward_config
from accord.stages.reward_modeling import run as reward
from accord.stages.sft import config as sft_config
from accord.stages.sft import run as sft


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    write_jsonl(
        path,
        (
            {
                "prompt": f"user asks {i}",
                "completion": f"the answer is {i % 7}",
                "chosen": f"the answer is {i % 7}",
                "rejected": "I don't know",
                "text": f"user asks {i} and the assistant answers {i % 7} " * 4,
            }
            for i in range(60)
        ),
    )
    return path


def common(model: Path, **values: Any) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model),
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "max_steps": 6,
        "eval_steps": 2,
        "save_steps": 2,
        **values,
    }


def run_sft(model: Path, data: Path, out: Path) -> Any:
    values = common(model, dataset_name=[str(data)], eval_fraction=0.2)
    return sft.run(sft_config.Config.parse(values, where="test"), RunDir(out))


def run_dpo(model: Path, data: Path, out: Path) -> Any:
    values = common(model, comparisons=[str(data)], eval_fraction=0.2)
    return dpo.run(dpo_config.Config.parse(values, where="test"), RunDir(out))


def run_reward(model: Path, data: Path, out: Path) -> Any:
    values = common(model, comparisons=[str(data)], eval_fraction=0.2)
    return reward.run(reward_config.Config.parse(values, where="test"), RunDir(out))


def run_pretraining(_model: Path, data: Path, out: Path) -> Any:
    values = {
        "dataset_name": [str(data)], "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_length": 32, "per_device_train_batch_size": 4,
        "max_steps": 6, "eval_steps": 2, "save_steps": 2, "eval_fraction": 0.1,
        "copy_fraction": 0.5,
    }  # fmt: skip
    return pretraining.run(pretraining_config.Config.parse(values, where="test"), RunDir(out))


@pytest.mark.parametrize("run", [run_sft, run_dpo, run_reward, run_pretraining])
def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Path, Path, Path], Any],
) -> None:
    unbroken = run(tiny_model_dir, data, tmp_path / "unbroken")
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == 5:  # the checkpoint of step 4 is on disk, step 5 is done and logged
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(tiny_model_dir, data, tmp_path / "broken")
    torch.manual_seed(4321)
    resumed = run(tiny_model_dir, data, tmp_path / "broken")
    rows = [RunDir(tmp_path / name).metrics() for name in ("broken", "unbroken")]
    assert rows[0] == rows[1]
    weights = [
        (tmp_path / name / "model/model.safetensors").read_bytes()
        for name in ("broken", "unbroken")
    ]
    assert weights[0] == weights[1]
    assert resumed.steps == unbroken.steps == 6
