"""SFT and DPO: several turns, reference log-probs of their own data, stops, too little data."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError, Interrupted
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.stages.policy_training import direct
from accord.stages.policy_training.dpo import config as dpo_config
from accord.stages.policy_training.dpo import run as dpo
from accord.stages.sft import config as sft_config
from accord.stages.sft import run as sft
from accord.training import batches
from accord.training.state import Checkpoints

PAIRS = [
    {"prompt": f"user asks {i}", "chosen": f"answer {i}", "rejected": f"no {i}"} for i in range(60)
]


def values(model: Path, **more: Any) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model), "learning_rate": 1e-3, "max_steps": 4, "eval_steps": 2,
        "per_device_train_batch_size": 8, "save_steps": 3, "eval_fraction": 0.2, **more,
    }  # fmt: skip


def run_sft(model: Path, data: Path, out: Path, **more: Any) -> sft.Result:
    config = values(model, dataset_name=[str(data)], **more)
    return sft.run(sft_config.Config.parse(config, where="test"), RunDir(out))


def run_dpo(model: Path, data: Path, out: Path, **more: Any) -> dpo.Result:
    config = values(model, comparisons=[str(data)], **more)
    return dpo.run(dpo_config.Config.parse(config, where="test"), RunDir(out))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "pairs.jsonl", PAIRS)
    return tmp_path / "pairs.jsonl"


def test_sft_learns_earlier_turns(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Both replies are certain, so the loss over all turns can go to nothing."""
    turns = [("user", "asks"), ("assistant", "know"), ("user", "help"), ("assistant", "find")]
    messages = [{"role": role, "content": content} for role, content in turns]
    rows = [{"messages": [{"role": "system", "content": str(i)}, *messages]} for i in range(40)]
    write_jsonl(tmp_path / "m.jsonl", rows)
    result = run_sft(
        tiny_model_dir, tmp_path / "m.jsonl", tmp_path / "out", learning_rate=1e-2, max_steps=80,
        eval_steps=20,
    )  # fmt: skip
    assert result.validation_loss < 0.05
    assert result.supervised_end_of_turn == 1.0


@pytest.mark.parametrize("budget", [60, 100_000])
def test_sft_means_are_over_targets_of_all_turns(
    tiny_model_dir: Path, tmp_path: Path, budget: int
) -> None:
    """A batch of rows with one turn and with three; the loss is that of one token-weighted mean."""
    turn = [{"role": "user", "content": "asks"}, {"role": "assistant", "content": "know"}]
    write_jsonl(tmp_path / "m.jsonl", [{"messages": turn * (1 + 2 * (i % 2))} for i in range(8)])
    run_sft(
        tiny_model_dir, tmp_path / "m.jsonl", tmp_path / "out", max_steps=1,
        eval_dataset_name=str(tmp_path / "m.jsonl"), tokens_per_micro_batch=budget,
    )  # fmt: skip
    first, step = RunDir(tmp_path / "out").metrics()
    assert step["loss"] == pytest.approx(first["validation/loss"], rel=1e-5)


def test_sft_counts_tokens_over_a_stop(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sft(tiny_model_dir, pairs, tmp_path / "whole")
    stop_after(monkeypatch, 2, lambda: run_sft(tiny_model_dir, pairs, tmp_path / "stopped"))
    run_sft(tiny_model_dir, pairs, tmp_path / "stopped")
    counts = [
        [row.get("num_tokens") for row in RunDir(tmp_path / name).metrics()]
        for name in ("whole", "stopped")
    ]
    assert counts[0] == counts[1]
    assert counts[0][1:] == sorted(counts[0][1:])


@pytest.mark.parametrize("run", [run_sft, run_dpo])
def test_ctrl_c_saves_and_the_same_command_goes_on(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    whole = run(tiny_model_dir, pairs, tmp_path / "whole")
    stop_after(monkeypatch, 2, lambda: run(tiny_model_dir, pairs, tmp_path / "stopped"))
    assert [step for step, _ in RunDir(tmp_path / "stopped").checkpoints()] == [2]
    resumed = run(tiny_model_dir, pairs, tmp_path / "stopped")
    assert RunDir(tmp_path / "stopped").metrics() == RunDir(tmp_path / "whole").metrics()
    weights = [(r.model / "model.safetensors").read_bytes() for r in (whole, resumed)]
    assert weights[0] == weights[1]


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int, run: Any) -> None:
    """Run it, with Ctrl-C during `step`."""
    after = Checkpoints.after

    def interrupted(self: Checkpoints, done: int, loop: Any, stop: Any, metrics: Any) -> None:
        stop.is_requested = done == step
        after(self, done, loop, stop, metrics)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "after", interrupted)
        with pytest.raises(Interrupted, match=f"stopped after step {step}; run again to resume"):
            run()


def test_dpo_never_reuses_the_logprobs_of_other_data(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    """As many rows with other words, in the same directory: the loss still starts at ln 2."""
    run_dpo(tiny_model_dir, pairs, tmp_path / "out", max_steps=1)
    longer = [{**row, "chosen": row["chosen"] + " and the assistant said so"} for row in PAIRS]
    write_jsonl(pairs, longer)
    run_dpo(tiny_model_dir, pairs, tmp_path / "out", max_steps=1)
    assert RunDir(tmp_path / "out").metrics()[-1]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_dpo_refuses_too_few_pairs(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Neither a loss over no pairs nor a division by none."""
    write_jsonl(tmp_path / "one.jsonl", PAIRS[:1])
    for fraction in (0.01, 0.99):
        with pytest.raises(DataError, match="1 comparisons are too few to hold some out"):
            run_dpo(
                tiny_model_dir, tmp_path / "one.jsonl", tmp_path / "out", eval_fraction=fraction
            )


@pytest.mark.parametrize("run", [run_sft, run_dpo])
def test_rows_are_cut_to_the_model_s_context(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    """`max_length` is above the tiny model's context: positions past it were never trained."""
    small = tmp_path / "small"
    small.mkdir()
    for file in tiny_model_dir.iterdir():
        (small / file.name).write_bytes(file.read_bytes())
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    module = batches if run is run_sft else direct
    seen, collate = [], module.collate

    def watched(rows: Any, **more: Any) -> Any:
        batch = collate(rows, **more)
        seen.append(batch.input_ids.shape[1])
        return batch

    monkeypatch.setattr(module, "collate", watched)
    rows = [{"prompt": f"{i} " * 100, "chosen": "yes", "rejected": "no"} for i in range(20)]
    write_jsonl(tmp_path / "long.jsonl", rows)
    result = run(small, tmp_path / "long.jsonl", tmp_path / "out", max_steps=1, max_length=200)
    assert result.cut_rows == 20
    assert max(seen) == 40
