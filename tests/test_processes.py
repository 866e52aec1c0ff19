"""Two processes give what one gives with the same global batch, and either resumes the other."""

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core import processes
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir

COMMON = ["--per_device_train_batch_size", "8", "--max_length", "64", "--quiet"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prompts, demonstrations and comparisons in one file each; a reward beside them."""
    words = ["know", "said", "asks", "answer"]
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": f"user asks {i}"} for i in range(24)])
    demonstrations = [
        {"prompt": f"user asks {i}", "completion": "and " * (i % 4) + "know"} for i in range(40)
    ]
    write_jsonl(tmp_path / "demonstrations.jsonl", demonstrations)
    pairs = [
        {"prompt": f"user asks {i}", "chosen": words[i % 3] + " know", "rejected": "said " * 3}
        for i in range(40)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    steps = [
        {"prompt": f"user {i}", "completions": ["know", words[i % 3]], "labels": [True, i % 3 == 0]}
        for i in range(40)
    ]
    write_jsonl(tmp_path / "steps.jsonl", steps)
    texts = [{"text": f"{i} {words[i % 3]}", "label": f"class {i % 3}"} for i in range(40)]
    write_jsonl(tmp_path / "texts.jsonl", texts)
    (tmp_path / "planted.py").write_text(PLANTED)
    return tmp_path


PLANTED = """
import os

asked = {"rises": 0, "falls": 0}

def score(completions, **_):
    return [len(str(c)) / 10 for c in completions]

def by_rank(completions, **_):
    return [len(str(c)) / 10 + int(os.environ.get("RANK", 0)) * (len(c) % 2) for c in completions]

def rises(completions, **_):
    asked["rises"] += 1
    return [10 * asked["rises"] + value for value in score(completions)]

def falls(completions, **_):
    asked["falls"] += 1
    return [-float(asked["falls"])] * len(completions)
"""


STAGES = {
    "pretrain": [
        "--dataset_name", "demonstrations.jsonl", "--eval_fraction", "0.3", "--eval_steps", "3",
        "--max_length", "32", "--copy_fraction", "0.5", "--muon_learning_rate", "1e-3",
    ],
    "sft": ["--dataset_name", "demonstrations.jsonl", "--eval_steps", "3"],
    "reward": ["--comparisons", "pairs.jsonl", "--eval_steps", "3", "--head_ridge", "0.3"],
    "reward of length": [
        "--comparisons", "pairs.jsonl", "--eval_steps", "3", "--disentangle_length",
        "--members", "2",
    ],
    "process_reward": ["--dataset_name", "steps.jsonl", "--eval_steps", "3"],
    "classifier": ["--dataset_name", "texts.jsonl", "--eval_steps", "3"],
    "dpo": ["--comparisons", "pairs.jsonl", "--eval_steps", "3"],
    "kto": ["--dataset_name", "pairs.jsonl", "--eval_steps", "3"],
    "orpo": ["--comparisons", "pairs.jsonl", "--eval_steps", "3"],
    "simpo": ["--comparisons", "pairs.jsonl", "--eval_steps", "3"],
    "rloo": [
        "--prompts", "prompts.jsonl", "--reward_funcs", "planted:score", "--eval_steps", "3",
        "--num_generations", "4", "--max_completion_length", "6",
    ],
    "reinforce": [
        "--prompts", "prompts.jsonl", "--reward_funcs", "planted:score", "--eval_steps", "3",
        "--max_completion_length", "6",
    ],
    "grpo": [
        "--prompts", "prompts.jsonl", "--reward_funcs", "planted:score", "--eval_steps", "3",
        "--num_generations", "4", "--max_completion_length", "6", "--beta", "0.1",
    ],
    "online_dpo": [
        "--prompts", "prompts.jsonl", "--reward_funcs", "planted:score", "--eval_steps", "3",
        "--max_completion_length", "6",
    ],
    "ppo": [
        "--prompts", "prompts.jsonl", "--reward_funcs", "planted:score", "--eval_steps", "3",
        "--mini_batch_size", "4", "--max_completion_length", "6", "--save_steps", "2",
    ],
}  # fmt: skip


def run(
    stage: str, model: Path, data: Path, name: str, *more: str, count: int, kind: str = "multi_gpu"
) -> Path:
    """A stage through `accelerate launch` (or alone, with one process); gives its directory."""
    done = launch(stage, model, data, name, *more, count=count, kind=kind)
    assert done.returncode == 0, done.stderr[-9000:]
    out = data / name
    assert json.loads((out / "manifest.json").read_text())["hardware"]["processes"] == count
    return out


def launch(
    stage: str, model: Path, data: Path, name: str, *more: str, count: int, kind: str
) -> "subprocess.CompletedProcess[str]":
    out = data / name
    command = ["-m", "accord.cli", stage.split()[0], "--output_dir", str(out)]
    command += ["--model_name_or_path", str(model), "--max_steps", "6"]
    command += ["--learning_rate", "1e-3"]
    command += ["--save_steps", "2", *COMMON]
    command += [str(data / a) if a.endswith(".jsonl") else a for a in (*STAGES[stage], *more)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(data), *(str(Path(p).resolve()) for p in sys.path)]),
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(data / "home"),
    }
    launcher = ["-m", "accelerate.commands.launch", f"--{kind}", "--num_processes", str(count)]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_port", "0"]
    whole = [sys.executable, *(launcher if count > 1 else []), *command]
    return subprocess.run(
        whole, env=environment, capture_output=True, text=True, cwd=data, timeout=600
    )


def metrics(path: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if v is not None and not k.startswith("perf/")}
        for row in RunDir(path).metrics()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_are_one(stage: str, tiny_model_dir: Path, data: Path) -> None:
    one = run(stage, tiny_model_dir, data, "one", count=1)
    two = run(stage, tiny_model_dir, data, "two", count=2)
    assert_alike(one, two)


def assert_alike(one: Path, two: Path) -> None:
    expected, found = metrics(one), metrics(two)
    assert [row["step"] for row in expected] == [row["step"] for row in found]
    for a, b in zip(expected, found, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            if (a["step"], key) == (1, "reward/accuracy"):
                continue  # the signs of margins that are rounding errors until the policy moves
            assert math.isclose(a[key], b[key], rel_tol=2e-3, abs_tol=2e-4), (a["step"], key)
    weights = [load_file(path / "model/model.safetensors") for path in (one, two)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=2e-4, rtol=1e-2)
    results = [json.loads((path / "result.json").read_text()) for path in (one, two)]
    assert results[0].keys() == results[1].keys()


@pytest.mark.slow
def test_a_function_is_asked_once(tiny_model_dir: Path, data: Path) -> None:
    """One whose answer differs by process would leave each with a batch of its own."""
    by_rank = ["--reward_funcs", "planted:by_rank"]
    one = run("grpo", tiny_model_dir, data, "one", *by_rank, count=1)
    two = run("grpo", tiny_model_dir, data, "two", *by_rank, count=2)
    assert_alike(one, two)


@pytest.mark.slow
def test_the_brake_stops_all(tiny_model_dir: Path, data: Path) -> None:
    """Gold falls while the reward rises, however long the responses are."""
    braked = [
        "--reward_funcs", "planted:rises", "--gold_funcs", "planted:falls", "--monitors", "stop",
        "--monitor_patience", "1", "--eval_steps", "1", "--eval_fraction", "0.3",
    ]  # fmt: skip
    one = run("grpo", tiny_model_dir, data, "one", *braked, count=1)
    two = run("grpo", tiny_model_dir, data, "two", *braked, count=2)
    assert_alike(one, two)
    incidents = [RunDir(path).read_json("incident-1.json") or {} for path in (one, two)]
    assert incidents[0]["reasons"] == incidents[1]["reasons"] != []
    result = RunDir(two).read_json("result.json") or {}
    assert result["was_stopped_by_monitors"] and result["updates"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi_gpu", "use_fsdp"])
def test_a_reward_model_is_refreshed_by_all(kind: str, tiny_model_dir: Path, data: Path) -> None:
    """It is whole on each process, also where the policy that it scores is sharded."""
    scorer = run("reward", tiny_model_dir, data, "scorer", count=1) / "model"
    refreshed = [
        "--reward_model_name_or_path", str(scorer), "--refresh_steps", "2", "--refresh_scorer",
        "planted:score", "--refresh_prompts", "13", "--tokens_per_micro_batch", "80",
    ]  # fmt: skip
    one = run("grpo", tiny_model_dir, data, "one", *refreshed, count=1)
    two = run("grpo", tiny_model_dir, data, "two", *refreshed, count=2, kind=kind)
    assert_alike(one, two)
    noted = (RunDir(two).read_json("manifest.json") or {})["refreshes"]
    assert [refresh["update"] for refresh in noted] == [2, 4]
    pairs = [(path / "refresh-2.jsonl").read_text() for path in (one, two)]
    assert pairs[0] == pairs[1]


SMALL = ["--tokens_per_micro_batch", "40", "--per_device_train_batch_size", "5"]
"""Micro-batches of a row or two, more of them on one process than on the other."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("sft", SMALL),
        ("sft", [*SMALL, "--use_peft", "True"]),
        ("reward", SMALL),
        ("reward of length", []),
        ("dpo", SMALL),
        ("kto", []),
        ("grpo", ["--tokens_per_micro_batch", "40"]),
        ("online_dpo", []),
        ("ppo", ["--tokens_per_micro_batch", "20", "--value_warmup_steps", "1"]),
        ("ppo", ["--value_model", "shared", "--ema_decay", "0.9", "--kl_budget_nats", "50"]),
        ("ppo", ["--use_peft", "True"]),
    ],
)
def test_two_sharded_processes_are_one(
    stage: str, more: list[str], tiny_model_dir: Path, data: Path
) -> None:
    one = run(stage, tiny_model_dir, data, "one", *more, count=1)
    two = run(stage, tiny_model_dir, data, "two", *more, count=2, kind="use_fsdp")
    assert_alike(one, two)
    parts = [json.loads((p / "manifest.json").read_text())["memory"]["parts"] for p in (one, two)]
    assert parts[1]["optimizer states"] == parts[0]["optimizer states"] // 2


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_sharded_checkpoint_is_any_checkpoint(
    before: int, after: int, tiny_model_dir: Path, data: Path
) -> None:
    """Written sharded and resumed whole, and the other way round."""
    unbroken = run("sft", tiny_model_dir, data, "unbroken", count=1)
    broken = run("sft", tiny_model_dir, data, "broken", count=before, kind="use_fsdp")
    for name in ("result.json", "model"):
        (broken / name).rename(data / f"gone-{name}")
    assert [step for step, _ in RunDir(broken).checkpoints()][-1] < 6
    assert_alike(unbroken, run("sft", tiny_model_dir, data, "broken", count=after, kind="use_fsdp"))


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_is_resumed_by_one(tiny_model_dir: Path, data: Path) -> None:
    whole = run("sft", tiny_model_dir, data, "whole", count=1)
    broken = run("sft", tiny_model_dir, data, "broken", count=2)
    for name in ("result.json", "model"):
        path = broken / name
        path.rename(data / f"gone-{name}")
    steps = [step for step, _ in RunDir(broken).checkpoints()]
    assert steps and steps[-1] < 6
    run("sft", tiny_model_dir, data, "broken", count=1)
    losses = [[row["loss"] for row in metrics(p) if "loss" in row] for p in (whole, broken)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_alone_everything_is_as_it_was() -> None:
    assert processes.count() == 1 and processes.is_main()
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.unshared([1, 2]) == [1, 2]
    assert processes.summed({"a": 1.5}) == {"a": 1.5}
    assert processes.by_main(lambda: 7) == 7


class ManyWords(Exception):
    """Pickled, but not read back: as errors of some clients are."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_an_error_of_the_main_process_is_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    told: list[Any] = []

    def gathered(mine: Any) -> list[Any]:
        if processes.is_main():
            told[:] = [pickle.loads(pickle.dumps(mine))]
        return told

    def fails() -> None:
        assert processes.is_main() and processes.count() == 1
        raise ManyWords("not", "today")

    monkeypatch.setattr(processes, "gathered", gathered)
    with pytest.raises(ManyWords, match="not today"):
        processes.by_main(fails)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(RuntimeError, match="ManyWords: not today"):
        processes.by_main(fails)


def test_shares_are_put_together_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What three processes would have, from their ranks alone."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    rows = list("abcdefgh")
    parts: list[Any] = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(list(processes.share(rows)))
    monkeypatch.setattr(processes, "gathered", lambda _: parts)
    assert processes.unshared(parts[0]) == rows
