"""What both sides do: rows, sizes and rates, the same numbers for each; imports neither side."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

STEPS = {"sft": 6, "reward": 6, "dpo": 4, "kto": 4, "grpo": 4, "rloo": 4, "ppo": 3}
"""Optimizer steps (updates, for the online methods) of one measurement."""

BATCH = {"sft": 16, "reward": 16, "dpo": 16, "kto": 16, "grpo": 32, "rloo": 32, "ppo": 16}
"""Rows (pairs, rollouts) a step."""

MAX_LENGTH = 512
NEW_TOKENS = 64
GENERATIONS = 8
LEARNING_RATE = 1e-4
SAMPLING_BATCH = 32


def data() -> Path:
    """The folder of real rows."""
    return Path(os.environ["ACCORD_DATA"])


def model() -> str:
    """The model that both sides start from."""
    return os.environ.get("ACCORD_BENCH_MODEL", str(data().parent / "models/base-7m"))


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
    count = STEPS[case] * BATCH[case]
    if case == "sft":
        return read("demonstrations/gpteacher.jsonl.gz", count)
    if case in ("reward", "dpo"):
        return read("preferences/hh-harmless/train.jsonl.gz", count)
    if case == "kto":
        pairs = read("preferences/hh-harmless/train.jsonl.gz", count // 2)
        return [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
            for pair in pairs
            for side in ("chosen", "rejected")
        ]
    prompts = count // (GENERATIONS if case in ("grpo", "rloo") else 1)
    return [
        {"prompt": row["prompt"]} for row in read("demonstrations/gpteacher.jsonl.gz", prompts + 8)
    ]


def reward(completions: list[Any], **_: Any) -> list[float]:
    """A cheap score that varies: the share of vowels."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [sum(t.count(v) for v in "aeiou") / max(1, len(t)) for t in texts]
