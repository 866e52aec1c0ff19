"""QLoRA on the CPU, where bitsandbytes is installed; and what is said where it is not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import accord
from accord.core.errors import ConfigError
from accord.core.run_dir import RunDir
from accord.models import quantized
from accord.models.heads import init_reward_model, load_reward_model
from accord.models.loading import load_policy
from accord.models.logprobs import token_logprobs
from accord.models.lora import adapters_off, add_lora, merged
from accord.models.quantized import is_quantized
from accord.training.state import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
ROWS = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
PAIRS = [{"prompt": f"user asks {i}", "chosen": "know", "rejected": "said"} for i in range(40)]
QLORA: dict[str, Any] = {
    "max_steps": 3, "max_length": 64, "learning_rate": 0.02, "use_peft": True, "lora_r": 4,
    "load_in_4bit": True,
}  # fmt: skip
IDS = torch.randint(4, 300, (2, 10), generator=torch.Generator().manual_seed(7))

has_bitsandbytes = importlib.util.find_spec("bitsandbytes") is not None
with_bitsandbytes = pytest.mark.skipif(not has_bitsandbytes, reason="needs bitsandbytes")


def logprobs_of(model: Any) -> Tensor:
    targets = torch.ones_like(IDS, dtype=torch.bool)
    targets[:, 0] = False
    return token_logprobs(model, IDS, torch.ones_like(IDS), targets).logprobs


def train(model: Any, steps: int = 3) -> None:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        (-logprobs_of(model).mean()).backward()
        optimizer.step()


@pytest.fixture
def policy(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU, load_in_4bit=True)


def test_it_says_what_to_install(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "is_there", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'accord\[qlora\]'"):
        accord.sft(tiny_model_dir, ROWS, output_dir=tmp_path / "run", eval_fraction=0.3, **QLORA)
    assert not (tmp_path / "run" / "manifest.json").exists()  # nothing was run


@with_bitsandbytes
def test_the_trunk_is_in_four_bits_and_learns(policy: Any, tiny_model_dir: Path) -> None:
    layer = policy.model.layers[0].mlp.up_proj
    assert layer.weight.dtype == torch.uint8 and layer.weight.numel() == 32 * 64 // 2
    assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
    assert policy.lm_head.weight.dtype == policy.model.norm.weight.dtype == torch.float32
    whole = load_policy(str(tiny_model_dir), device=CPU)
    assert (logprobs_of(policy) - logprobs_of(whole)).abs().max() < 0.5
    model = add_lora(policy, r=4, alpha=8, seed=0)
    before = logprobs_of(model).detach()
    train(model)
    after = logprobs_of(model).detach()
    assert after.mean() > before.mean() + 0.05
    with adapters_off(model), torch.no_grad():
        assert torch.equal(logprobs_of(model), before)  # the reference


@with_bitsandbytes
def test_what_is_saved_is_what_was_trained(policy: Any, tiny_model_dir: Path) -> None:
    model = add_lora(policy, r=4, alpha=8, seed=0)
    train(model)
    expected = logprobs_of(model).detach()
    plain = merged(model)
    assert is_quantized(model) and not is_quantized(plain)
    found = logprobs_of(plain).detach()
    # bfloat16 computed the one, float32 the other.
    assert (found - expected).abs().max() < 0.03
    base = load_policy(str(tiny_model_dir), device=CPU)
    assert (found - logprobs_of(base)).abs().max() > 0.1
    names = set(base.state_dict())
    assert set(plain.state_dict()) == names
    assert all(tensor.dtype == torch.float32 for tensor in plain.state_dict().values())
    assert torch.equal(logprobs_of(model).detach(), expected)  # it was not disturbed
    train(model, steps=1)


@with_bitsandbytes
def test_a_checkpoint_keeps_the_adapters(policy: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    model = add_lora(policy, r=4, alpha=8, seed=0)
    train(model)
    expected = logprobs_of(model).detach()
    run_dir = RunDir(tmp_path / "run")
    save_checkpoint(run_dir, 1, modules={"model": model}, optimizations={}, loop={})
    kept = torch.load(tmp_path / "run" / "checkpoint-1" / "state.pt")["modules"]["model"]
    assert not any("proj.base_layer.weight" in name for name in kept)
    fresh = load_policy(str(tiny_model_dir), device=CPU, load_in_4bit=True)
    again = add_lora(fresh, r=4, alpha=8, seed=1)
    assert load_checkpoint(run_dir, modules={"model": again}, optimizations={}) == (1, {})
    assert torch.equal(logprobs_of(again).detach(), expected)


@with_bitsandbytes
@pytest.mark.parametrize("method", ["sft", "dpo", "reward"])
def test_stages(method: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    data = ROWS if method == "sft" else PAIRS
    found = getattr(accord, method)(
        tiny_model_dir, data, output_dir=tmp_path / "run", eval_fraction=0.3, save_adapter=True,
        **QLORA,
    )  # fmt: skip
    assert found.model.dtype == torch.float32
    assert not is_quantized(found.model)
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()
    if method != "reward":
        AutoModelForCausalLM.from_pretrained(found.model_path)


@with_bitsandbytes
def test_online(tiny_model_dir: Path, tmp_path: Path) -> None:
    def short(completions: list[Any], **_: Any) -> list[float]:
        return [-float(len(c)) for c in completions]

    found = accord.ppo(
        tiny_model_dir, [{"prompt": f"user asks {i}"} for i in range(16)], reward_funcs=[short],
        per_device_train_batch_size=8, mini_batch_size=8, max_completion_length=4,
        max_eval_prompts=4, output_dir=tmp_path / "run", **QLORA,
    )  # fmt: skip
    assert found.result["updates"] == 3
    assert found.model.dtype == torch.float32
    load_reward_model(str(tmp_path / "run" / "value"), device=CPU)


@with_bitsandbytes
def test_a_reward_models_head_stays_whole(tiny_model_dir: Path) -> None:
    model = init_reward_model(str(tiny_model_dir), device=CPU, seed=0, load_in_4bit=True)
    assert is_quantized(model) and model.score.weight.dtype == torch.float32


@with_bitsandbytes
def test_adapters_are_not_folded_into_four_bits(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = add_lora(load_policy(str(tiny_model_dir), device=CPU), r=2, alpha=2, seed=0)
    model.save_pretrained(str(tmp_path))
    with pytest.raises(ConfigError, match="directory of adapters"):
        load_policy(str(tmp_path), device=CPU, load_in_4bit=True)
