"""What all sides do: rows, sizes and rates, the same numbers for each; imports no side.

A work is a method, or a method and a model: `sft` starts from the base model, `sft-100m` from a
random Llama (`models`). A configuration is a precision, and for PPO perhaps `-shared`.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IS_QUICK = bool(os.environ.get("ACCORD_BENCH_QUICK"))
"""A sanity run: few steps, few rows; its figures mean nothing."""

SEED = int(os.environ.get("ACCORD_BENCH_SEED", "0"))
"""Of what is sampled: a round's number, so that mean rewards are over several seeds."""

_STEPS = {"sft": 8, "reward": 8, "dpo": 6, "kto": 6, "grpo": 6, "rloo": 6, "ppo": 8}
_STEPS |= {"sft-100m": 5, "dpo-100m": 5, "sampling": 7, "sampling-100m": 5}
_BATCH = {"sft": 16, "reward": 16, "dpo": 16, "kto": 16, "grpo": 32, "rloo": 32, "ppo": 16}
_BATCH |= {"sft-100m": 8, "dpo-100m": 8, "sampling": 32, "sampling-100m": 16}

WORKS = tuple(_STEPS)
STEPS = dict.fromkeys(_STEPS, 3) if IS_QUICK else _STEPS
"""Optimizer steps (updates, for the online methods; calls, for sampling) of one measurement. The
first, and the last with its evaluation, are not timed."""

BATCH = {name: min(8, rows) for name, rows in _BATCH.items()} if IS_QUICK else _BATCH
"""Rows (pairs, rollouts, responses) a step."""

MAX_LENGTH = 512
NEW_TOKENS = 16 if IS_QUICK else 64
GENERATIONS = 4 if IS_QUICK else 8
LEARNING_RATE = 1e-4
PPO_EPOCHS = 4
KL_COEF = 0.05
ONLINE = ("grpo", "rloo", "ppo")


def method(case: str) -> str:
    """The method of a work."""
    return case.split("-")[0]


def data() -> Path:
    """The folder of real rows."""
    return Path(os.environ["ACCORD_DATA"])


def base_model() -> str:
    """The trained model of 6.8M parameters; every tokenizer is its own."""
    return os.environ.get("ACCORD_BENCH_MODEL", str(data().parent / "models/base-7m"))


def model(case: str) -> str:
    """The model that all sides of a work start from."""
    return str(random_model()) if case.endswith("-100m") else base_model()


def random_model() -> Path:
    """Where the random Llama is kept between runs."""
    return ROOT / "build/bench/llama-100m"


def read(name: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a file that are not too long to be left whole."""
    rows: list[dict[str, Any]] = []
    with gzip.open(data() / name, "rt") as file:
        for line in file:
            row = json.loads(line)
            columns = ("prompt", "completion", "chosen", "rejected")
            kept = {key: row[key] for key in columns if key in row}
            if len(json.dumps(kept)) < 1500:
                rows.append(kept)
            if len(rows) == count:
                break
    return rows


def rows_of(case: str) -> list[dict[str, Any]]:
    """The rows of one measurement."""
    count, kind = STEPS[case] * BATCH[case], method(case)
    if kind == "sft":
        return read("demonstrations/gpteacher.jsonl.gz", count)
    if kind in ("reward", "dpo"):
        return read("preferences/hh-harmless/train.jsonl.gz", count)
    if kind == "kto":
        pairs = read("preferences/hh-harmless/train.jsonl.gz", count // 2)
        return [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
    prompts = count // (GENERATIONS if kind in ("grpo", "rloo") else 1)
    return [
        {"prompt": row["prompt"]} for row in read("demonstrations/gpteacher.jsonl.gz", prompts + 8)
    ]


def prompts_of(case: str) -> list[Any]:
    """The prompts of every call of a sampling work."""
    rows = read("demonstrations/gpteacher.jsonl.gz", BATCH[case])
    return [row["prompt"] for row in rows]


def reward(completions: list[Any], **_: Any) -> list[float]:
    """A cheap score that varies and can be learnt: the share of vowels."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [sum(t.count(v) for v in "aeiou") / max(1, len(t)) for t in texts]
