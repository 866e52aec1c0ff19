"""Layers that are run here, the last for what is read alone, are the model's own: values and
gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from accord.models import decoder_layers
from accord.models.decoder_layers import run_layers, runs_layers
from accord.models.heads import init_reward_model, response_scores
from accord.models.loading import load_policy
from accord.models.logprobs import before, hidden_states, token_logprobs
from accord.models.lora import add_lora
from accord.models.packing import packs_rows, use_packing

CPU = torch.device("cpu")
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 300}
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2, **SMALL}
FAMILIES = {
    "llama": LlamaConfig(**GROUPED),
    "mistral": MistralConfig(sliding_window=None, **GROUPED),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(head_dim=8, **GROUPED),
}


def rows(*, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Six rows of two prompts, of several lengths, and what is read of them: in some rows all from
    a place on, in one a single token, in one nothing."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 300, (6, 40), generator=generator)
    ids[1:3, :20] = ids[0, :20]
    ids[4, :25] = ids[3, :25]
    lengths = torch.tensor([40, 24, 31, 29, 38, 7])[:, None]
    columns = torch.arange(40)
    mask = (columns < lengths).long()
    read = mask.bool() & (columns >= torch.tensor([19, 21, 19, 28, 40, 3])[:, None])
    return ids, mask, read


def states_and_gradients(model: Any, is_ours: bool) -> tuple[Tensor, dict[str, Tensor]]:
    ids, mask, read = rows()
    run_layers(bare(model), is_ours)
    states = hidden_states(model, ids, mask, read=read)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1))
    (weights * states.float()).sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return states.detach().float(), gradients


def bare(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def of_family(name: str) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[name]).eval()
    for parameter in model.parameters():  # norms that are all 1 would hide what is left out
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    use_packing(model)
    return model


def assert_close(found: Any, expected: Any, *, tolerance: float) -> None:
    """States, and gradients of the same parameters."""
    torch.testing.assert_close(found[0], expected[0], atol=tolerance, rtol=tolerance)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        size = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(
            found[1][name] / size, gradient / size, atol=10 * tolerance, rtol=0, msg=name
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_states_and_all_gradients(name: str) -> None:
    model = of_family(name)
    assert packs_rows(model) and runs_layers(model)
    ours = states_and_gradients(model, True)
    assert_close(ours, states_and_gradients(model, False), tolerance=1e-5)
    model.packs_rows = False
    assert_close(ours, states_and_gradients(model, False), tolerance=1e-5)


def test_under_autocast() -> None:
    """Up to the rounding of bfloat16."""
    model = of_family("llama")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = states_and_gradients(model, True)
        plain = states_and_gradients(model, False)
    assert (ours[0] - plain[0]).abs().max() < 0.05 * plain[0].abs().max()
    for name, gradient in plain[1].items():
        assert (ours[1][name] - gradient).norm() < 0.05 * gradient.norm(), name


def test_adapters_are_in_it() -> None:
    adapted: Any = add_lora(of_family("qwen3"), r=2, alpha=4, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    ours = states_and_gradients(adapted, True)
    assert_close(ours, states_and_gradients(adapted, False), tolerance=1e-4)
    assert ours[1] and all("lora" in name for name in ours[1])


def test_the_last_layer_computes_what_is_read_alone(tiny_model_dir: Path) -> None:
    model: Any = load_policy(str(tiny_model_dir), device=CPU)
    counts: dict[str, int] = {}
    for layer in model.base_model.layers:
        for name in ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj"):
            key = f"{layer.self_attn.layer_idx} {name}"
            layer.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, key=key: counts.__setitem__(key, len(output))
            )
    ids, mask, read = rows()
    hidden_states(model, ids, mask, read=read)
    all_tokens = 40 + 4 + 11 + 29 + 13 + 7
    # The shared places 19 of rows 0 and 2 are one; those of row 3 end before 25 and after 27.
    asked = 1 + 20 + 3 + 11 + 1 + 4
    last = [counts[f"1 {n}"] for n in ("self_attn.k_proj", "self_attn.q_proj", "mlp.down_proj")]
    assert last == [all_tokens, asked, asked]
    assert counts["0 self_attn.q_proj"] == counts["0 mlp.down_proj"] == all_tokens


def test_rewards_and_log_probs(tiny_model_dir: Path) -> None:
    ids, mask, _ = rows()
    targets = mask.bool() & (torch.arange(40) > 20)
    reward = init_reward_model(str(tiny_model_dir), device=CPU, seed=0)
    policy: Any = load_policy(str(tiny_model_dir), device=CPU)
    with torch.no_grad():
        ours = response_scores(reward, ids, mask), token_logprobs(policy, ids, mask, targets)[0]
        reward.packs_rows = policy.packs_rows = False
        plain = response_scores(reward, ids, mask), token_logprobs(policy, ids, mask, targets)[0]
    for found, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_nothing_read_has_a_gradient(tiny_model_dir: Path) -> None:
    model: Any = load_policy(str(tiny_model_dir), device=CPU)
    ids, mask, read = rows()
    states = hidden_states(model, ids, mask, read=torch.zeros_like(read))
    assert states.shape == (0, 32)
    states.sum().backward()
    assert model.base_model.layers[0].mlp.down_proj.weight.grad.abs().max() == 0


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=300),
        GraniteConfig(residual_multiplier=0.5, **GROUPED),
        MistralConfig(sliding_window=8, **GROUPED),
    ],
)
def test_other_families_run_as_they_are(config: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    use_packing(model)
    assert not runs_layers(model)
    ids, mask, read = rows()
    with torch.no_grad():
        expected = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[read]
        found = hidden_states(model, ids, mask, read=read)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_checkpointed_model_runs_as_it_is(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = load_policy(str(tiny_model_dir), device=CPU)
    assert runs_layers(model)
    for module in model.modules():  # as the library's method does
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True
    monkeypatch.delattr(decoder_layers, "last_states")
    ids, mask, read = rows()
    assert hidden_states(model, ids, mask, read=read).shape == (int(read.sum()), 32)


def test_the_states_before_targets() -> None:
    targets = torch.tensor([[False, True, False, True]])
    assert before(targets).tolist() == [[True, False, True, False]]
    with pytest.raises(ValueError, match="first token"):
        before(~targets)
