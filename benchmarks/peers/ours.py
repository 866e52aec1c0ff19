"""Accord's side: the real stages, timed from one logged step to the next.

python -m benchmarks.peers.ours sft bf16
"""

import importlib
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import work
from benchmarks.peers.measured import Meter, write_rows

from accord.core.device import default_device
from accord.core.run_dir import RunDir
from accord.core.types import SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.models import heads, loading
from accord.models.loading import load_policy, load_tokenizer
from accord.training import batches
from accord.wiring import stage_config

STAGES = {"reward": "accord.stages.reward_modeling", "sft": "accord.stages.sft"}


class CountingEngine(LocalEngine):
    """The local sampler; remembers what was submitted, so that lengths can be read afterwards."""

    submitted: Sequence[list[Any]] = []

    def submit(self, requests: Sequence[Any]) -> list[Any]:
        """As ever."""
        generations = super().submit(requests)
        CountingEngine.submitted = [*CountingEngine.submitted, generations]
        return generations


def in_order(lengths: Any, *, batch_size: int, **_: Any) -> list[list[int]]:
    """The file's own order, as on the other side, so that every step has the same rows."""
    rows = range(len(lengths))
    return [list(rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)]


def fields_of(case: str, configuration: str, folder: Path) -> dict[str, Any]:
    """The stage's config."""
    kind = work.method(case)
    rows = write_rows(folder / "rows.jsonl", work.rows_of(case))
    few = write_rows(folder / "few.jsonl", work.rows_of(case)[:4])
    shared = {
        "model_name_or_path": work.model(case), "learning_rate": work.LEARNING_RATE,
        "bf16": configuration.startswith("bf16"), "max_steps": work.STEPS[case],
        "per_device_train_batch_size": work.BATCH[case], "max_length": work.MAX_LENGTH,
        "eval_steps": 10_000, "save_steps": 10_000, "warmup_steps": 0, "seed": work.SEED,
    }  # fmt: skip
    if kind in ("sft", "kto"):
        return {**shared, "dataset_name": rows, "eval_dataset_name": few}
    if kind in ("reward", "dpo"):
        return {**shared, "comparisons": rows, "eval_comparisons": few}
    shared |= {
        "prompts": rows, "reward_funcs": "benchmarks.peers.work:reward", "max_eval_prompts": 2,
        "max_completion_length": work.NEW_TOKENS, "mini_batch_size": work.BATCH[case],
        "monitors": "off",
    }  # fmt: skip
    if kind in ("grpo", "rloo"):
        return {**shared, "num_generations": work.GENERATIONS, "beta": 0.0}
    value = "shared" if configuration.endswith("-shared") else "separate"
    return {
        **shared, "num_ppo_epochs": work.PPO_EPOCHS, "max_update_kl": None, "value_model": value,
        "kl_coef": work.KL_COEF, "normalize_scores": "none", "missing_eos_penalty": 0.0,
    }  # fmt: skip


def train(case: str, configuration: str) -> None:
    """One measurement of a training method."""
    folder = Path(tempfile.mkdtemp())
    kind = work.method(case)
    package = STAGES.get(kind, f"accord.stages.policy_training.{kind}")
    stage = importlib.import_module(f"{package}.run")
    meter, log = Meter(), RunDir.log

    def timed(self: RunDir, step: int, metrics: Any) -> None:
        if step > 0:
            meter.step()
            meter.learned(metrics.get("loss"), metrics.get("score/mean"))
        log(self, step, metrics)

    RunDir.log = timed  # type: ignore[method-assign]
    count_from_loading(meter)
    batches.epoch_batches = in_order  # type: ignore[assignment]
    engine = {"engine_factory": CountingEngine} if kind in work.ONLINE else {}
    config = stage_config(kind).parse(fields_of(case, configuration, folder), where="bench")
    stage.run(config, RunDir(folder / "run"), **engine)
    meter.report(trees=sampled_trees(case) if kind in work.ONLINE else trees_of(case))


def count_from_loading(meter: Meter) -> None:
    """Memory is counted from the last model that is loaded before the first step."""
    load = loading.load_pretrained

    def loaded(*arguments: Any, **named: Any) -> Any:
        found = load(*arguments, **named)
        meter.is_loaded()
        return found

    for module in (loading, heads):
        module.load_pretrained = loaded  # type: ignore[attr-defined]


def sampled_trees(case: str) -> list[Any]:
    """Of each timed step: prompts, and the lengths of what was sampled from them."""
    batches_ = [b for b in CountingEngine.submitted if len(b) == work.BATCH[case]]
    return [
        _trees([(g.request.prompt_ids, len(g.tokens)) for g in batch]) for batch in batches_[1:-1]
    ]


def trees_of(case: str) -> list[Any]:
    """Of each timed step: prompts, and the lengths of the rows' responses to them."""
    encoder = ChatEncoder(load_tokenizer(work.model(case)))
    steps = []
    rows, size = work.rows_of(case), work.BATCH[case]
    for start in range(size, len(rows) - size, size):
        pairs = []
        for row in rows[start : start + size]:
            for side in ("completion", "chosen", "rejected"):
                if side in row:
                    answer = row[side] if isinstance(row[side], str) else row[side][0]["content"]
                    encoded = encoder.encode(row["prompt"], answer, max_length=work.MAX_LENGTH)
                    pairs.append((tuple(encoded.prompt_ids), len(encoded.response_ids)))
        steps.append(_trees(pairs))
    return steps


def _trees(pairs: list[tuple[Any, int]]) -> list[Any]:
    groups = itertools.groupby(pairs, key=lambda pair: pair[0])
    return [(len(prompt), [length for _, length in group]) for prompt, group in groups]


def sample(case: str, configuration: str) -> None:
    """Responses of equal length to every prompt: none may end earlier."""
    dtype = torch.bfloat16 if configuration == "bf16" else torch.float32
    policy = load_policy(work.model(case), device=default_device(), dtype=dtype)
    encoder = ChatEncoder(load_tokenizer(work.model(case)))
    engine = LocalEngine(policy, encoder)
    engine._end_of_turn_id = -1
    prompts = [encoder.encode_prompt(prompt) for prompt in work.prompts_of(case)]
    meter = Meter()
    meter.is_loaded()
    for seed in range(work.STEPS[case]):
        generate(engine, prompts, SamplingParams(work.NEW_TOKENS, 1.0), seed=seed)
        meter.step()
    meter.report(trees=[[(len(prompt), [work.NEW_TOKENS]) for prompt in prompts]])


if __name__ == "__main__":
    torch.set_num_threads(2)
    if work.method(sys.argv[1]) == "sampling":
        sample(*sys.argv[1:])
    else:
        train(*sys.argv[1:])
