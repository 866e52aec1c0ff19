"""Log-probs against the model's own logits, and on rows that are padded, alone or packed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    FalconH1Config,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    MptConfig,
)

from accord.core.errors import ModelError
from accord.models import logit_transform, logprobs
from accord.models.loading import load_policy
from accord.models.logprobs import (
    check_logits,
    hidden_states,
    logprobs_from_states,
    token_logprobs,
)

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU)


def padded_batch(lengths: list[int], prompt: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Random rows, right-padded with an id that is also a real token; targets after the prompt."""
    generator = torch.Generator().manual_seed(7)
    width = max(lengths)
    ids = torch.full((len(lengths), width), 2)
    attention = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.randint(4, 300, (n,), generator=generator)
        ids[row, n - 1] = 2
        attention[row, :n] = 1
    targets = attention.bool()
    targets[:, :prompt] = False
    return ids, attention, targets


def full_logprobs(model: nn.Module, ids: Tensor, attention: Tensor, temperature: float) -> Tensor:
    """(B, L, V) log-softmax of the model's own logits; entry l is about token l."""
    logits = model(input_ids=ids, attention_mask=attention).logits.float() / temperature
    return nn.functional.pad(logits.log_softmax(-1)[:, :-1], (0, 0, 1, 0))


@pytest.mark.parametrize(("chunk", "block"), [(1, 8192), (5, 128), (7, 300), (1024, 77)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_equal_full_logits_with_gradients(
    model: Any, monkeypatch: pytest.MonkeyPatch, chunk: int, block: int, temperature: float
) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_LOGITS", 300 * chunk)
    monkeypatch.setattr(logprobs, "VOCABULARY_BLOCK", block)
    ids, attention, targets = padded_batch([9, 6, 12])
    weights = torch.randn(ids.shape, generator=torch.Generator().manual_seed(1))

    full = full_logprobs(model, ids, attention, temperature)
    expected = full.gather(-1, ids[..., None]).squeeze(-1) * targets
    entropy = -(full.exp() * full).sum(-1) * targets
    (weights * (expected + 0.3 * entropy)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    out = token_logprobs(model, ids, attention, targets, temperature=temperature, with_entropy=True)
    (weights * (out.logprobs + 0.3 * out.entropies)).sum().backward()
    torch.testing.assert_close(out.logprobs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.entropies, entropy, atol=1e-5, rtol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-4)


def test_gradients_through_a_family_s_transform(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A multiplier, a soft cap and a temperature, against the formula and plain autograd."""
    monkeypatch.setattr(model.config, "final_logit_softcapping", 3.0, raising=False)
    monkeypatch.setattr(logit_transform, "_multiplier", lambda _: 5.0)
    head = model.get_output_embeddings()
    head.bias = nn.Parameter(torch.randn(300, generator=torch.Generator().manual_seed(3)))
    hidden = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(4), requires_grad=True)
    ids, targets = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([[0, 1, 1, 1]] * 2)
    inputs = [hidden, head.weight, head.bias]
    capped = 3.0 * torch.tanh(5.0 * nn.functional.linear(hidden, head.weight, head.bias) / 3.0)
    full = (capped / 0.7).log_softmax(-1)[:, :-1]
    expected = full.gather(-1, ids[:, 1:, None]).sum() - 0.3 * (full.exp() * full).sum()
    out = logprobs.logprobs_from_states(
        model, hidden[:, :-1].flatten(0, 1), ids, targets.bool(), temperature=0.7, with_entropy=True
    )
    found = out.logprobs.sum() + 0.3 * out.entropies.sum()
    torch.testing.assert_close(found, expected)
    for ours, plain in zip(
        torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


def test_zero_outside_the_mask_and_for_an_empty_one(model: Any) -> None:
    ids, attention, targets = padded_batch([9, 6])
    out = token_logprobs(model, ids, attention, targets)
    assert (out.logprobs[~targets] == 0).all() and (out.logprobs[targets] < 0).all()
    assert (out.entropies == 0).all()
    nothing = token_logprobs(model, ids, attention, torch.zeros_like(targets))
    assert nothing.logprobs.shape == ids.shape and (nothing.logprobs == 0).all()


def test_first_token_cannot_be_a_target(model: Any) -> None:
    ids, attention, _ = padded_batch([4])
    with pytest.raises(ValueError, match="first token"):
        token_logprobs(model, ids, attention, attention.bool())


def test_uniform_model_by_hand(model: Any) -> None:
    nn.init.zeros_(model.get_output_embeddings().weight)
    ids, attention, targets = padded_batch([5])
    out = token_logprobs(model, ids, attention, targets, with_entropy=True)
    log_v = torch.tensor(300.0).log().item()
    assert out.logprobs[targets].tolist() == pytest.approx([-log_v] * 2, abs=1e-5)
    assert out.entropies[targets].tolist() == pytest.approx([log_v] * 2, abs=1e-5)


def test_full_logits_never_exist(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "CHUNK_LOGITS", 4 * 300)
    shapes: list[tuple[int, ...]] = []
    kept: list[tuple[int, ...]] = []
    original = logprobs.linear

    def recorded(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        product = original(states, weight, bias)
        if product.shape[-1] == 300:
            shapes.append(tuple(product.shape))
        return product

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(logprobs, "linear", recorded)
    ids, attention, targets = padded_batch([9, 6, 12])
    head = model.get_output_embeddings().weight
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = token_logprobs(model, ids, attention, targets, with_entropy=True)
    assert [shape[0] for shape in shapes] == [4, 4, 4, 4, 2]
    assert kept and not any(shape and shape[-1] == 300 for shape in kept)
    (first,) = torch.autograd.grad(out.logprobs.sum(), head, retain_graph=True)
    assert len(shapes) == 9 and max(shape[0] for shape in shapes) == 4  # the last was kept
    (again,) = torch.autograd.grad(out.logprobs.sum(), head)
    assert len(shapes) == 14 and torch.equal(first, again)


@pytest.mark.parametrize("layout", ["alone", "packed"])
def test_padded_alone_and_packed_agree(model: Any, layout: str) -> None:
    lengths = [9, 6, 12]
    ids, attention, targets = padded_batch(lengths)
    padded = token_logprobs(model, ids, attention, targets, with_entropy=True)
    expected = torch.cat([padded.logprobs[row, :n] for row, n in enumerate(lengths)])
    entropies = torch.cat([padded.entropies[row, :n] for row, n in enumerate(lengths)])
    (padded.logprobs.sum() + entropies.sum()).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()

    rows = [(ids[r : r + 1, :n], targets[r : r + 1, :n]) for r, n in enumerate(lengths)]
    if layout == "alone":
        parts = [
            token_logprobs(model, i, torch.ones_like(i), t, with_entropy=True) for i, t in rows
        ]
        got = torch.cat([part.logprobs[0] for part in parts])
        got_entropies = torch.cat([part.entropies[0] for part in parts])
    else:
        out = token_logprobs(
            model,
            torch.cat([i for i, _ in rows], dim=1),
            None,
            torch.cat([t for _, t in rows], dim=1),
            position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
            with_entropy=True,
        )
        got, got_entropies = out.logprobs[0], out.entropies[0]
    (got.sum() + got_entropies.sum()).backward()
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(got_entropies, entropies, atol=1e-5, rtol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-4)


def test_float32_under_autocast(model: Any) -> None:
    ids, attention, targets = padded_batch([9, 6])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = token_logprobs(model, ids, attention, targets)
    exact = token_logprobs(model, ids, attention, targets)
    assert out.logprobs.dtype == torch.float32
    torch.testing.assert_close(out.logprobs, exact.logprobs, atol=0.05, rtol=0)


@pytest.mark.parametrize("with_entropy", [False, True])
def test_gradients_of_the_head_under_autocast(model: Any, with_entropy: bool) -> None:
    """Their products are bfloat16's, each gradient as near to float32's as one rounding leaves."""
    ids, _, targets = padded_batch([9, 6])
    head = model.get_output_embeddings()

    def gradients(products: torch.dtype) -> list[torch.Tensor]:
        shape = int(targets.sum()), head.weight.shape[1]
        states = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        states.requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=products == torch.bfloat16):
            out = logprobs_from_states(model, states, ids, targets, with_entropy=with_entropy)
        weighed = torch.arange(1.0, 1 + targets.numel()).view_as(out.logprobs)
        loss = (weighed * (out.logprobs + 0.3 * out.entropies)).sum()
        return list(torch.autograd.grad(loss, [states, head.weight]))

    for found, exact in zip(gradients(torch.bfloat16), gradients(torch.float32), strict=True):
        assert found.dtype == torch.float32
        gap = (found - exact).norm() / exact.norm()
        assert 0 < gap < 0.01


SIZES = {
    "vocab_size": 60, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "max_position_embeddings": 64,
}  # fmt: skip
FAMILIES = {
    "gemma2": lambda: Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.5),
    "granite": lambda: GraniteConfig(**SIZES, logits_scaling=3.0),
    "cohere": lambda: CohereConfig(**SIZES, logit_scale=0.25),
    "falcon_h1": lambda: FalconH1Config(
        **SIZES, lm_head_multiplier=0.3, mamba_d_ssm=16, mamba_n_heads=2, mamba_d_head=8,
        mamba_d_state=4, mamba_n_groups=1, mamba_chunk_size=8,
    ),
    "mpt": lambda: MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=60, logit_scale=0.5),
    "gpt2": lambda: GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2, n_positions=64),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_change_their_logits(family: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]()).eval()
    head = model.get_output_embeddings()
    nn.init.normal_(head.weight, std=1.0)  # large enough for a forgotten transform to show
    check_logits(model, where=family)
    ids, attention, targets = padded_batch([9, 6])
    ids = ids % 60
    with torch.no_grad():
        full = full_logprobs(model, ids, attention, 1.0)
        out = token_logprobs(model, ids, attention, targets)
    expected = full.gather(-1, ids[..., None]).squeeze(-1) * targets
    torch.testing.assert_close(out.logprobs, expected, atol=1e-4, rtol=0)


def test_an_unknown_transform_is_refused(model: Any) -> None:
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: output * 1.5)
    with pytest.raises(ModelError, match=r"llama.*not known"):
        check_logits(model, where="some/model")


def test_hidden_states_end_after_the_last_norm(model: Any) -> None:
    ids, attention, _ = padded_batch([5])
    expected = model(input_ids=ids, attention_mask=attention, output_hidden_states=True)
    torch.testing.assert_close(
        hidden_states(model, ids, attention), expected.hidden_states[-1], atol=1e-6, rtol=0
    )
