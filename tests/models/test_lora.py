"""Adapters: seeded, folded in for saving, and switched off they are the frozen reference."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from accord.core.errors import ConfigError, ModelError
from accord.core.train_config import TrainConfig
from accord.models.heads import init_reward_model
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.models.logprobs import token_logprobs
from accord.models.lora import (
    TrainingDropout,
    adapted,
    adapters_off,
    add_lora,
    merged,
    reference_of,
)

CPU = torch.device("cpu")
IDS = torch.randint(4, 300, (2, 10), generator=torch.Generator().manual_seed(7))


@pytest.fixture
def policy(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU)


def logprobs_of(model: Any) -> Tensor:
    targets = torch.ones_like(IDS, dtype=torch.bool)
    targets[:, 0] = False
    return token_logprobs(model, IDS, torch.ones_like(IDS), targets).logprobs


def train(model: Any, steps: int = 3) -> None:
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        (-logprobs_of(model).mean()).backward()
        optimizer.step()


def test_all_linear_layers_and_nothing_else(policy: Any) -> None:
    before = logprobs_of(policy).detach()
    model = add_lora(policy, r=4, alpha=8, seed=0)
    torch.testing.assert_close(logprobs_of(model), before)
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    assert all("lora_" in name and "lm_head" not in name for name in trainable)


def test_seeded_without_touching_the_random_state(tiny_model_dir: Path) -> None:
    def adapter(seed: int) -> Tensor:
        model = add_lora(load_policy(str(tiny_model_dir), device=CPU), r=4, alpha=8, seed=seed)
        return torch.cat([p.flatten() for n, p in model.named_parameters() if "lora_A" in n])

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = adapter(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(adapter(1), first)
    assert not torch.equal(adapter(2), first)


def test_merged_is_plain_and_disturbs_nothing(policy: Any, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(policy.config._name_or_path)
    model = add_lora(policy, r=4, alpha=8, seed=0)
    train(model)
    model.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = logprobs_of(model).detach()
    plain = merged(model)
    torch.testing.assert_close(logprobs_of(plain).detach(), expected, atol=1e-5, rtol=0)
    assert not any("lora" in name or "base_layer" in name for name in plain.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    train(model, steps=1)  # still trains

    save_model(plain, tokenizer, tmp_path / "model")
    assert not (tmp_path / "model" / "adapter_config.json").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(logprobs_of(loaded).detach(), expected, atol=1e-5, rtol=0)


def test_merged_leaves_a_plain_model_alone(policy: Any) -> None:
    assert merged(policy) is policy


@pytest.mark.parametrize("use_peft", [False, True])
def test_the_reference_stays_while_the_policy_trains(policy: Any, use_peft: bool) -> None:
    before = logprobs_of(policy).detach()
    model = add_lora(policy, r=4, alpha=8, seed=0) if use_peft else policy
    as_reference = reference_of(model, use_peft=use_peft)
    train(model)
    with as_reference() as reference:
        now = logprobs_of(reference)
        assert not reference.training and not torch.is_grad_enabled()
    assert not now.requires_grad
    assert torch.equal(now, before)
    assert model.training
    assert (logprobs_of(model) - before).abs().max() > 0.01
    train(model, steps=1)
    with as_reference() as reference:
        assert torch.equal(logprobs_of(reference), before)


def test_the_reference_between_forward_and_backward(policy: Any) -> None:
    """DPO reads the reference while the policy's graph is alive; gradients must not notice."""

    def gradients(with_reference: bool) -> list[Tensor]:
        model.zero_grad()
        loss = logprobs_of(model).sum()
        if with_reference:
            with as_reference() as reference:
                logprobs_of(reference)
        loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    model = add_lora(policy, r=4, alpha=8, seed=0)
    as_reference = reference_of(model, use_peft=True)
    expected = gradients(with_reference=False)
    assert len(expected) == 28
    assert all(map(torch.equal, gradients(with_reference=True), expected))


def test_frozen_adapters_stay_frozen(policy: Any) -> None:
    model = add_lora(policy, r=4, alpha=8, seed=0).requires_grad_(False)
    with adapters_off(model):
        pass
    assert not any(p.requires_grad for p in model.parameters())


def test_without_adapters(policy: Any) -> None:
    with pytest.raises(ModelError, match="no adapters"), adapters_off(policy):
        pass
    with pytest.raises(ModelError, match="no adapters"):
        reference_of(policy, use_peft=True)


def test_a_reward_models_head_keeps_training(tiny_model_dir: Path) -> None:
    model = add_lora(
        init_reward_model(str(tiny_model_dir), device=CPU, seed=0), r=4, alpha=8, seed=0
    )
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert [name for name in trainable if "lora_" not in name] == [
        "base_model.model.score.modules_to_save.default.weight"
    ]


def test_dropout_is_on_in_training_passes_alone(policy: Any) -> None:
    """The same module trains, samples and is the reference, in whatever mode it stands."""
    model = add_lora(policy, r=4, alpha=8, seed=0, dropout=0.5)
    train(model)
    model.train()
    trained = [logprobs_of(model).detach() for _ in range(2)]
    assert (trained[0] - trained[1]).abs().max() > 1e-3
    with torch.no_grad():
        read = [logprobs_of(model) for _ in range(2)]
    assert torch.equal(read[0], read[1])
    torch.testing.assert_close(logprobs_of(merged(model)).detach(), read[0], atol=1e-5, rtol=0)
    model.eval()
    assert torch.equal(logprobs_of(model).detach(), read[0])
    with adapters_off(model), torch.no_grad():
        assert (logprobs_of(model) - read[0]).abs().max() > 0.01


def test_a_share_of_the_inputs_is_hidden(policy: Any) -> None:
    model = add_lora(policy, r=4, alpha=8, seed=0, dropout=0.25)
    dropouts = [m for m in model.modules() if isinstance(m, TrainingDropout)]
    assert len(dropouts) == 2 * 7
    hidden = dropouts[0](torch.ones(100_000))
    assert (hidden == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert hidden.mean().item() == pytest.approx(1.0, abs=0.02)  # what is left makes up for it


def test_named_layers_alone(policy: Any) -> None:
    model = add_lora(policy, r=4, alpha=8, seed=0, target_modules=["q_proj", "mlp.up_proj"])
    names = {n.split(".lora_")[0].rsplit(".", 1)[1] for n in model.state_dict() if "lora_" in n}
    assert names == {"q_proj", "up_proj"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("q_porj", "'q_porj'; did you mean 'q_proj'"),
        ("lm_head", "no linear layer of the trunk"),  # the head is read without adapters
        ("embed_tokens", "no linear layer of the trunk"),
        ("input_layernorm", "no linear layer of the trunk"),
    ],
)
def test_layers_that_cannot_have_adapters(policy: Any, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        add_lora(policy, r=4, alpha=8, seed=0, target_modules=["q_proj", name])
    assert not any("lora" in n for n in policy.state_dict())  # nothing was touched


def test_every_setting_reaches_the_adapters(policy: Any) -> None:
    config = TrainConfig(
        model_name_or_path="x", use_peft=True, lora_r=3, lora_alpha=5, lora_dropout=0.2,
        lora_target_modules=["k_proj"], use_rslora=True,
    )  # fmt: skip
    made: Any = adapted(policy, config)
    found = made.peft_config["default"]
    assert (found.r, found.lora_alpha, found.lora_dropout) == (3, 5, 0.2)
    assert found.target_modules == {"k_proj"} and found.use_rslora


def test_rank_stabilised_scale(tiny_model_dir: Path) -> None:
    """alpha / sqrt(r) of 8 / 2 is alpha / r of 16 / 4."""

    def change(alpha: int, **options: Any) -> Tensor:
        start = load_policy(str(tiny_model_dir), device=CPU)
        model: Any = add_lora(start, r=4, alpha=alpha, seed=0, **options)
        layer = model.base_model.model.model.layers[0].mlp.up_proj
        torch.nn.init.ones_(layer.lora_B["default"].weight)
        delta: Tensor = layer.get_delta_weight("default")
        return delta

    torch.testing.assert_close(change(8, use_rslora=True), change(16))
    assert not torch.allclose(change(8), change(16))
