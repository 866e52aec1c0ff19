"""Adapter directories: peft reads ours, and a stage starts from anybody's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import accord
from accord.api import Trained
from accord.core.errors import ConfigError, ModelError
from accord.models.adapter_files import base_of, is_adapter
from accord.models.heads import init_reward_model, load_reward_model, response_scores
from accord.models.loading import load_policy, load_tokenizer
from accord.models.lora import add_lora

CPU = torch.device("cpu")
ROWS = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
PAIRS = [{"prompt": f"user asks {i}", "chosen": "know", "rejected": "said"} for i in range(40)]
LORA: dict[str, Any] = {
    "max_steps": 4, "max_length": 64, "eval_fraction": 0.3, "learning_rate": 0.02,
    "use_peft": True, "lora_r": 4, "lora_dropout": 0.1, "lora_target_modules": ["q_proj", "o_proj"],
    "save_adapter": True,
}  # fmt: skip
IDS = torch.randint(4, 300, (2, 10), generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def logits(model: Any) -> Tensor:
    found: Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return found


@pytest.fixture(scope="module")
def trained(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    out = tmp_path_factory.mktemp("adapters") / "run"
    return accord.sft(tiny_model_dir, ROWS, output_dir=out, **LORA)


def test_peft_loads_the_adapters_on_their_base(trained: Trained, tiny_model_dir: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    before = logits(base)
    found = logits(PeftModel.from_pretrained(base, str(trained.path / "adapter")))
    expected = logits(AutoModelForCausalLM.from_pretrained(trained.model_path))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - before).abs().max() > 0.01
    assert not (trained.path / "adapter" / "README.md").exists()
    config = json.loads((trained.path / "adapter" / "adapter_config.json").read_text())
    assert set(config["target_modules"]) == {"q_proj", "o_proj"} and config["lora_dropout"] == 0.1


def test_a_policy_from_adapters_is_the_merged_one(
    trained: Trained, tiny_model_dir: Path, tmp_path: Path
) -> None:
    adapter = str(trained.path / "adapter")
    assert is_adapter(adapter) and base_of(adapter) == str(tiny_model_dir.resolve())
    expected = logits(load_policy(str(trained.model_path), device=CPU))
    model = load_policy(adapter, device=CPU)
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=0)
    assert not any("lora" in name for name in model.state_dict())
    # With no tokenizer of its own, it has its base's.
    bare = shutil.copytree(adapter, tmp_path / "bare")
    for file in bare.glob("*token*"):
        file.unlink()
    assert load_tokenizer(str(bare)).chat_template == load_tokenizer(adapter).chat_template
    # Stages start from it: a policy, and a reward model on its trunk.
    values = {**LORA, "save_adapter": False}
    again = accord.dpo(adapter, PAIRS, output_dir=tmp_path / "dpo", **values)
    assert again.model.config.vocab_size == 300
    head = init_reward_model(adapter, device=CPU, seed=0)
    same = init_reward_model(str(trained.model_path), device=CPU, seed=0)
    mask = torch.ones_like(IDS)
    with torch.no_grad():
        torch.testing.assert_close(
            response_scores(head, IDS, mask), response_scores(same, IDS, mask), atol=1e-5, rtol=0
        )
    rewarded = accord.reward(adapter, PAIRS, output_dir=tmp_path / "reward", **values)
    assert rewarded.result["heldout_pairs"] > 0


def test_a_base_is_found_from_anywhere(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model_dir.parent)
    found = accord.sft(tiny_model_dir.name, ROWS, output_dir=tmp_path / "run", **LORA)
    monkeypatch.chdir(tmp_path)
    assert base_of(str(found.path / "adapter")) == str(tiny_model_dir)
    load_policy(str(found.path / "adapter"), device=CPU)


def test_a_reward_models_adapters_bring_their_head(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = accord.reward(tiny_model_dir, PAIRS, output_dir=tmp_path / "run", **LORA)
    mask = torch.ones_like(IDS)
    with torch.no_grad():
        expected = response_scores(found.model, IDS, mask)
        ours = load_reward_model(str(found.path / "adapter"), device=CPU)
        torch.testing.assert_close(response_scores(ours, IDS, mask), expected, atol=1e-5, rtol=0)
        base = AutoModelForSequenceClassification.from_pretrained(tiny_model_dir, num_labels=1)
        theirs = PeftModel.from_pretrained(base, str(found.path / "adapter")).eval()
        scores = theirs(input_ids=IDS).logits.squeeze(-1)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_online_methods_save_them_too(tiny_model_dir: Path, tmp_path: Path) -> None:
    """And dropout, which only training passes know, leaves sampler and reference alone."""

    def short(completions: list[Any], **_: Any) -> list[float]:
        return [-float(len(c)) for c in completions]

    fields = {k: v for k, v in LORA.items() if k != "eval_fraction"}
    found = accord.rloo(
        tiny_model_dir, [{"prompt": f"user asks {i}"} for i in range(16)], reward_funcs=[short],
        num_generations=2, max_completion_length=4, output_dir=tmp_path / "run",
        **{**fields, "max_steps": 1, "learning_rate": 1e-9},
    )  # fmt: skip
    assert is_adapter(str(found.path / "adapter"))
    # A step of no length: the policy that samples and is evaluated is still the reference.
    assert abs(found.result["heldout_kl_nats"]) < 1e-4


def test_what_needs_adapters_says_so(tiny_model_dir: Path) -> None:
    for name in ("save_adapter", "load_in_4bit"):
        with pytest.raises(ConfigError, match=f"{name} needs use_peft"):
            accord.sft(tiny_model_dir, ROWS, **{name: True})
    with pytest.raises(ConfigError, match="did you mean 'up_proj'"):
        accord.sft(tiny_model_dir, ROWS, use_peft=True, lora_target_modules=["upproj"])


def test_adapters_without_a_base(tmp_path: Path, tiny_model_dir: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no base"):
        load_policy(str(tmp_path), device=CPU)
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tmp_path / "gone")})
    )
    with pytest.raises(ModelError, match="no such model directory"):
        load_policy(str(tmp_path), device=CPU)
    model = add_lora(load_policy(str(tiny_model_dir), device=CPU), r=2, alpha=2, seed=0)
    model.save_pretrained(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(str(tmp_path), device=CPU)
