"""A step in one call is the step in parts, which test_decoder.py holds to the forward."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from accord.core.types import GenerationRequest, SamplingParams
from accord.engine.decoder import Decoder
from accord.engine.requests import CooperativeGeneration
from accord.engine.rows import Rows
from accord.models.few_rows import MOST_ROWS, FewRows
from accord.models.lora import add_lora

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "vocab_size": 320,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
FAMILIES = [
    LlamaConfig(**SIZES),
    LlamaConfig(**SIZES, head_dim=32, attention_bias=True, mlp_bias=True),
    Qwen2Config(**SIZES),
    Qwen3Config(**SIZES, head_dim=16),
    MistralConfig(**SIZES, sliding_window=None),
]
KINDS = [torch.float32, torch.bfloat16]


def build(config: Any, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:  # ones and zeros would hide what is left out
                torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
            elif "embed" not in name:
                parameter *= 4  # for states that are not all alike
    return model.to(dtype)


def decoder_of(model: Any) -> Decoder:
    decoder = Decoder.of(model)
    assert decoder is not None
    if FewRows.of(torch.ones(32, 32, dtype=model.dtype)) is None:
        pytest.skip("this processor has no products of a few rows")
    return decoder


def states_of(model: Any, decoder: Decoder, rows: int, steps: int = 40) -> Tensor:
    """(steps, R, H), after prompts of unequal length; the cache's room is used up on the way."""
    draw = torch.Generator().manual_seed(rows)
    prompts = [
        torch.randint(320, (1 + 7 * row % 20,), generator=draw).tolist() for row in range(rows)
    ]
    requests = [
        GenerationRequest((*p, row), SamplingParams(64), 0) for row, p in enumerate(prompts)
    ]
    generations = [CooperativeGeneration(request, lambda _: None) for request in requests]
    running, _ = Rows.prefill(model, generations, decoder=decoder)
    found = []
    for _ in range(steps):
        running.last = torch.randint(320, (rows,), generator=draw)
        found.append(running.step(model, decoder))
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("config", FAMILIES)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_one_call_is_the_parts(config: Any, dtype: torch.dtype, rows: int) -> None:
    model = build(config, dtype)
    decoder = decoder_of(model)
    assert decoder._whole is not None
    found = states_of(model, decoder, rows)
    decoder._whole = None
    expected = states_of(model, decoder, rows)
    # The same functions: only what PyTorch adds after a product of bfloat16 is rounded once more.
    assert float((found - expected).abs().max()) <= (0 if dtype == torch.float32 else 1e-6)


@torch.no_grad()
def test_many_rows_go_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(FAMILIES[0], torch.float32)
    decoder = decoder_of(model)
    monkeypatch.setattr(decoder, "_whole", lambda *_: pytest.fail("too many rows"))
    assert states_of(model, decoder, MOST_ROWS + 1, steps=2).isfinite().all()


@torch.no_grad()
def test_adapters_that_are_merged_are_in_it_and_weights_are_read_again() -> None:
    model = build(FAMILIES[0], torch.float32)
    adapted: Any = add_lora(model, r=2, alpha=4, seed=0)
    decoder = decoder_of(adapted)
    before = states_of(adapted, decoder, 3)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.5)
    decoder.refresh()
    assert decoder._whole is not None
    after = states_of(adapted, decoder, 3)
    decoder._whole = None
    assert not torch.allclose(before, after)
    assert torch.equal(states_of(adapted, decoder, 3), after)


@torch.no_grad()
def test_layers_that_differ_go_part_by_part() -> None:
    model = build(FAMILIES[0], torch.float32)
    wide = torch.nn.Linear(64, 128, bias=False)
    mlp = model.model.layers[1].mlp
    mlp.gate_proj, mlp.up_proj = wide, wide
    mlp.down_proj = torch.nn.Linear(128, 64, bias=False)
    assert decoder_of(model)._whole is None
