"""What a stage needs is told before it starts: from the config alone, near what it takes then."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, DebertaV2Config, GPT2Config, LlamaConfig

from accord.core import machine, processes
from accord.core.errors import ConfigError, ModelError
from accord.core.files import write_jsonl
from accord.models.footprint import footprint
from accord.models.lora import add_lora
from accord.pipeline import execute
from accord.training import memory
from accord.wiring import stage_config

PARAMETERS = 300 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32
"""Of the tiny model, by hand: embeddings; attention, MLP and two norms a layer; the last norm."""


def config(stage: str, model: Path, **values: Any) -> Any:
    data = {
        "sft": {"dataset_name": "rows.jsonl"},
        "dpo": {"comparisons": "rows.jsonl"},
        "reward": {"comparisons": "rows.jsonl"},
        "ppo": {"prompts": "rows.jsonl", "reward_funcs": "builtins:len"},
    }[stage]
    fields = {"model_name_or_path": str(model), "max_length": 64, **data, **values}
    return stage_config(stage).parse(fields, where="test")


def estimate(stage: str, model: Path, **values: Any) -> memory.Estimate:
    return memory.estimate(stage, config(stage, model, **values), device="cpu")


def test_a_model_is_weighed_without_being_read(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = footprint(str(tiny_model_dir))
    assert (found.parameters, found.trunk, found.head) == (PARAMETERS, PARAMETERS, 0)
    assert (found.layers, found.hidden, found.inner, found.context) == (2, 32, 64, 512)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    adapted = add_lora(model, r=3, alpha=1, seed=0)
    assert found.lora_rank * 3 == sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    # A head of its own is not in the trunk; families without `intermediate_size` have one of 4 H.
    LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False,
    ).save_pretrained(tmp_path / "untied")  # fmt: skip
    untied = footprint(str(tmp_path / "untied"))
    assert (untied.head, untied.groups, untied.head_dim) == (50 * 16, 2, 4)
    GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2).save_pretrained(tmp_path / "gpt2")
    assert footprint(str(tmp_path / "gpt2")).inner == 64
    DebertaV2Config(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2,
    ).save_pretrained(tmp_path / "encoder")  # fmt: skip
    encoder = footprint(str(tmp_path / "encoder"))  # of a family that has no language model
    assert (encoder.head, encoder.layers, encoder.inner) == (0, 1, 24)
    with pytest.raises(ModelError, match="no such model"):
        footprint(str(tmp_path / "none"))


def test_parts_by_hand(tiny_model_dir: Path) -> None:
    found = estimate("sft", tiny_model_dir, per_device_train_batch_size=4)
    assert found.resident["weights"] == found.phases["training"]["gradients"] == 4 * PARAMETERS
    assert found.resident["optimizer states"] == 8 * PARAMETERS
    # Four rows of 64 tokens are below the budget of a micro-batch, which then does not matter.
    assert "activations of 256 tokens" in found.phases["training"]
    small = estimate("sft", tiny_model_dir, tokens_per_micro_batch=128)
    assert "activations of 128 tokens" in small.phases["training"]
    pairs = estimate("dpo", tiny_model_dir, per_device_train_batch_size=4)
    assert "activations of 512 tokens" in pairs.phases["training"]
    assert estimate("dpo", tiny_model_dir).resident["best weights so far"] == 0


def test_ppo_has_four_models_and_adapters_take_the_reference_away(tiny_model_dir: Path) -> None:
    reward_model = {"reward_model_name_or_path": str(tiny_model_dir)}
    whole = estimate("ppo", tiny_model_dir, **reward_model).resident
    names = ["", " of the reference", " of the value model", " of reward models"]
    assert [whole[f"weights{name}"] for name in names] == [4 * PARAMETERS] * 4
    assert whole["optimizer states"] == 16 * PARAMETERS
    adapters = estimate("ppo", tiny_model_dir, use_peft=True, lora_r=2).resident
    assert adapters["weights of the reference"] == 0
    rank = footprint(str(tiny_model_dir)).lora_rank
    assert adapters["optimizer states"] == 8 * (2 * rank + 2 * rank)
    shared = estimate("ppo", tiny_model_dir, value_model="shared").resident
    assert shared["weights of the value model"] == 0
    assert shared["optimizer states"] == 8 * PARAMETERS


def test_processes_divide_what_they_shard(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = estimate("sft", tiny_model_dir)
    monkeypatch.setenv("WORLD_SIZE", "2")
    copied = estimate("sft", tiny_model_dir)
    assert copied.resident["optimizer states"] == one.resident["optimizer states"]
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert processes.shards()
    sharded = estimate("sft", tiny_model_dir)
    assert sharded.resident["optimizer states"] == one.resident["optimizer states"] // 2
    assert sharded.phases["training"]["gradients"] == one.phases["training"]["gradients"] // 2


def test_a_stage_that_will_not_fit_is_refused_with_what_to_change(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine of made-up size; every change that is said to fit does, and would start."""
    chosen = config("ppo", tiny_model_dir, max_length=512, max_completion_length=8)
    needed = memory.estimate("ppo", chosen, device="cpu").total
    free = needed - 2**20
    monkeypatch.setattr(machine, "available_bytes", lambda: free)
    with pytest.raises(ConfigError) as refused:
        execute("ppo", chosen, tmp_path / "run")
    message = str(refused.value)
    assert f"ppo: needs about {needed / 2**30:.2f} GiB" in message
    assert "activations of 8192 tokens" in message and "nothing was started" in message
    assert "value_model = shared" in message and "use_peft" not in message  # it gains too little
    assert memory.SKIP in message
    assert list((tmp_path / "run").iterdir()) == []
    found = memory.estimate("ppo", chosen, device="cpu")
    changes = list(memory.advice("ppo", chosen, found, free, device="cpu"))
    tokens = next(int(c.split(" = ")[1]) for c, _ in changes if c.startswith("tokens_per"))
    fits = chosen.model_copy(update={"tokens_per_micro_batch": tokens})
    assert memory.admit("ppo", fits)["estimated_bytes"] > 0
    bigger = chosen.model_copy(update={"tokens_per_micro_batch": 2 * tokens})
    with pytest.raises(ConfigError):
        memory.admit("ppo", bigger)
    monkeypatch.setenv(memory.SKIP, "1")
    assert memory.admit("ppo", chosen)["available_bytes"] == free


def test_the_manifest_has_the_estimate_and_the_peak(tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(20)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    chosen = config("sft", tiny_model_dir, dataset_name=str(tmp_path / "rows.jsonl"), max_steps=1)
    execute("sft", chosen, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["memory"]
    assert told["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert set(told["parts"]) >= {"weights", "gradients", "optimizer states"}
    assert sum(told["parts"].values()) == told["estimated_bytes"]
    if machine.peak_bytes() is not None:
        assert 0 < told["peak_bytes"] < 2 * told["estimated_bytes"]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="peaks of a CPU")
@pytest.mark.parametrize("stage", ["sft", "reward", "dpo", "ppo"])
def test_the_estimate_is_a_little_above_the_peak(stage: str, tmp_path: Path) -> None:
    """In a fresh process, with rows that fill `max_length` and have nothing in common."""
    draw = random.Random(0)
    known = "what is the and of to a in that it was for on as with his they at be this".split()  # noqa: SIM905

    def words(count: int) -> str:
        return " ".join(draw.choices(known, k=count))

    columns = {"sft": ["completion"], "ppo": []}.get(stage, ["chosen", "rejected"])
    rows = [{"prompt": words(260), **{name: words(190) for name in columns}} for _ in range(40)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    (tmp_path / "planted.py").write_text(
        "def score(completions, **_):\n    return [*map(len, map(str, completions))]\n"
    )
    values: dict[str, Any] = {
        "max_length": 256, "tokens_per_micro_batch": 2048, "per_device_train_batch_size": 8,
        "max_steps": 2, "eval_steps": 2,
    }  # fmt: skip
    if stage == "ppo":
        values |= {"mini_batch_size": 8, "max_completion_length": 16, "num_ppo_epochs": 1}
        values |= {"reward_funcs": "planted:score", "max_eval_prompts": 8}
    script = f"""
from pathlib import Path
from accord.pipeline import execute
from accord.wiring import stage_config
values = {config(stage, Path("accord:base"), **values).model_dump(exclude_none=True)!r}
execute({stage!r}, stage_config({stage!r}).parse(values, where="test"), Path("run"))
"""
    paths = [str(Path(p).resolve()) for p in sys.path]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *paths])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["memory"]
    assert 0.95 < told["estimated_bytes"] / told["peak_bytes"] < 1.6, told


def test_what_a_control_group_leaves(tmp_path: Path) -> None:
    """The tightest of the groups; cached file pages count as free; no limit is no number."""

    def group(name: str, limit: str, used: int, files: int) -> None:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")

    mine = tmp_path / "cgroup"
    mine.write_text("1:cpu:/other\n0::/outer/inner\n")
    assert machine.group_bytes(tmp_path, mine) is None
    group("outer/inner", "1000", 700, 100)
    assert machine.group_bytes(tmp_path, mine) == 400
    group("", "max", 5000, 0)
    assert machine.group_bytes(tmp_path, mine) == 400
    group("", "800", 900, 50)
    assert machine.group_bytes(tmp_path, mine) == 0
    assert machine.group_bytes(tmp_path / "none", tmp_path / "none") is None
