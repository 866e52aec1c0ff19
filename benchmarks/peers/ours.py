"""Accord's side: the real stages, timed from one logged step to the next."""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import work
from benchmarks.peers.measured import Meter, write_rows

from accord.core.device import default_device
from accord.core.run_dir import RunDir
from accord.engine.local import LocalEngine
from accord.training import batches
from accord.wiring import stage_config

STAGES = {"reward": "accord.stages.reward_modeling", "sft": "accord.stages.sft"}


def in_order(lengths: Any, *, batch_size: int, **_: Any) -> list[list[int]]:
    """The file's own order, as on the other side, so that every step has the same rows."""
    rows = range(len(lengths))
    return [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]


def train(case: str, bf16: bool) -> None:
    """One measurement of a training method."""
    folder = Path(tempfile.mkdtemp())
    rows = write_rows(folder / "rows.jsonl", work.rows_of(case))
    few = write_rows(folder / "few.jsonl", work.rows_of(case)[:2])
    fields: dict[str, Any] = {
        "model_name_or_path": work.model(), "learning_rate": work.LEARNING_RATE, "bf16": bf16,
        "per_device_train_batch_size": work.BATCH[case], "max_steps": work.STEPS[case],
        "max_length": work.MAX_LENGTH, "eval_steps": 10_000, "save_steps": 10_000,
        "warmup_steps": 1,
    }  # fmt: skip
    if case in ("sft", "kto"):
        fields |= {"dataset_name": rows, "eval_dataset_name": few}
    elif case in ("reward", "dpo"):
        fields |= {"comparisons": rows, "eval_comparisons": few}
    else:
        fields |= {
            "prompts": rows, "reward_funcs": "benchmarks.peers.work:reward", "max_eval_prompts": 2,
            "max_completion_length": work.NEW_TOKENS, "mini_batch_size": work.BATCH[case],
        }  # fmt: skip
        if case in ("grpo", "rloo"):
            fields |= {"num_generations": work.GENERATIONS, "beta": 0.0}
        else:
            fields |= {"num_ppo_epochs": 4, "max_update_kl": None, "value_model": "separate"}
    package = STAGES.get(case, f"accord.stages.policy_training.{case}")
    stage = importlib.import_module(f"{package}.run")
    meter: list[Meter] = []
    log = RunDir.log

    def timed(self: RunDir, step: int, metrics: Any) -> None:
        if not meter:
            meter.append(Meter())
        if step > 0:
            meter[0].step(metrics.get("loss"))
        log(self, step, metrics)

    RunDir.log = timed  # type: ignore[method-assign]
    batches.epoch_batches = in_order  # type: ignore[assignment]
    engine = {"engine_factory": LocalEngine} if case in ("grpo", "rloo", "ppo") else {}
    stage.run(stage_config(case).parse(fields, where="bench"), RunDir(folder / "run"), **engine)
    meter[0].report()


def sample(bf16: bool) -> None:
    """64 new tokens for each of 32 prompts, and none may end earlier."""
    from accord.core.types import SamplingParams
    from accord.corpora.encoding import ChatEncoder
    from accord.engine.generate import generate
    from accord.models.loading import load_policy, load_tokenizer

    dtype = torch.bfloat16 if bf16 else torch.float32
    policy = load_policy(work.model(), device=default_device(), dtype=dtype)
    encoder = ChatEncoder(load_tokenizer(work.model()))
    engine = LocalEngine(policy, encoder)
    engine._end_of_turn_id = -1
    prompts = [
        encoder.encode_prompt(row["prompt"])
        for row in work.read("demonstrations/gpteacher.jsonl.gz", work.SAMPLING_BATCH)
    ]
    meter = Meter()
    for seed in range(5):
        generate(engine, prompts, SamplingParams(work.NEW_TOKENS, 1.0), seed=seed)
        meter.step()
    meter.report(prompt_tokens=sum(map(len, prompts)))


if __name__ == "__main__":
    torch.set_num_threads(2)
    case, precision = sys.argv[1:]
    if case == "sampling":
        sample(precision == "bf16")
    else:
        train(case, precision == "bf16")
