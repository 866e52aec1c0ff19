"""The decoder's step is the model's own forward, for what it knows; the rest goes the long way."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from accord.core.types import GenerationRequest, SamplingParams
from accord.engine import decoder as decoder_module
from accord.engine import spans
from accord.engine.decoder import Decoder
from accord.engine.generate import generate
from accord.engine.kernels import NativeKernels
from accord.engine.local import LocalEngine
from accord.engine.native import native_library
from accord.engine.requests import CooperativeGeneration
from accord.engine.rows import Rows
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import token_logprobs
from accord.models.lora import add_lora
from accord.models.packing import use_packing

CPU = torch.device("cpu")
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "vocab_size": 300,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def build(config: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:  # ones and zeros would hide what is left out
            torch.nn.init.normal_(parameter, mean=1.0, std=0.3)
    return model


@pytest.mark.parametrize(
    ("config", "is_known"),
    [
        (LlamaConfig(**SMALL), True),
        (LlamaConfig(**SMALL, head_dim=16, attention_bias=True), True),
        (Qwen2Config(**SMALL), True),
        (Qwen3Config(**SMALL, head_dim=8), True),
        (MistralConfig(**SMALL, sliding_window=None), True),
        (MistralConfig(**SMALL, sliding_window=64), False),
        (LlamaConfig(**SMALL, hidden_act="gelu"), False),
        (Gemma2Config(**SMALL, head_dim=8), False),
        (GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=300), False),
    ],
)
@pytest.mark.parametrize("kernels", ["native", "under autocast", "one call a row", "one call"])
def test_a_step_is_the_forward(
    config: Any, is_known: bool, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After left-padded prompts of unequal length, several tokens in a row."""
    is_native = kernels in ("native", "under autocast")
    if not is_native:
        monkeypatch.setattr(spans, "CALL_BYTES", 0 if kernels == "one call a row" else 2**19)
        monkeypatch.setattr(NativeKernels, "of", lambda _: None)
    elif native_library() is None:
        pytest.skip("no compiler")
    model = build(config)
    with torch.autocast("cpu", torch.bfloat16, enabled=kernels == "under autocast"):
        decoder = Decoder.of(model)
    assert (decoder is not None) is is_known
    if decoder is None:
        return
    ids = torch.randint(4, 300, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :4], mask[2, :2] = 0, 0
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    assert isinstance(decoder._kernels, NativeKernels) is is_native
    assert (decoder.dtype == torch.bfloat16) is (kernels == "under autocast")
    reads = decoder.reads(mask, room=12)
    cache = decoder.new_cache()
    with torch.no_grad():
        model.base_model(
            input_ids=ids[:, :6], attention_mask=mask[:, :6], position_ids=positions[:, :6],
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        for t in range(6, 12):
            hidden = decoder.step(ids[:, t], positions[:, t], reads, cache)
            whole = model(
                input_ids=ids[:, : t + 1], attention_mask=mask[:, : t + 1],
                position_ids=positions[:, : t + 1], use_cache=False,
            ).logits[:, -1]  # fmt: skip
            room = 1e-4 if decoder.dtype == torch.float32 else 0.05
            torch.testing.assert_close(decoder.logits(hidden), whole, atol=room, rtol=room)


@pytest.mark.parametrize("longest", [0, 1024])
def test_prompts_that_share_a_start_give_the_padded_forward(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the decoder, or by the model's own forward where a prompt is too long for it."""
    monkeypatch.setattr(decoder_module, "_LONG", longest)
    model = build(LlamaConfig(**SMALL))
    use_packing(model)
    assert model.packs_rows
    draw = torch.Generator().manual_seed(2)
    start = torch.randint(4, 300, (20,), generator=draw).tolist()
    others = [torch.randint(4, 300, (n,), generator=draw).tolist() for n in (5, 1, 9, 30)]
    prompts = [(*start, *others[0]), (*start, *others[1]), tuple(others[2]), tuple(others[3])]
    requests = [GenerationRequest(p, SamplingParams(3, 0.0), 0) for p in prompts]
    generations = [CooperativeGeneration(request, lambda _: None) for request in requests]
    with torch.no_grad():
        rows, hidden = Rows.prefill(model, generations, decoder=Decoder.of(model))
        for row, prompt in enumerate(prompts):
            alone = model.base_model(input_ids=torch.tensor([prompt]), use_cache=False)
            torch.testing.assert_close(hidden[row], alone.last_hidden_state[0, -1])
        rows.last = torch.tensor([7, 8, 9, 10])
        stepped = rows.step(model, Decoder.of(model))
        for row, prompt in enumerate(prompts):
            ids = torch.tensor([[*prompt, 7 + row]])
            alone = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, -1]
            torch.testing.assert_close(stepped[row], alone)


def test_under_autocast_without_a_compiler_it_is_the_one_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NativeKernels, "of", lambda _: None)
    with torch.autocast("cpu", torch.bfloat16):
        decoder = Decoder.of(build(LlamaConfig(**SMALL)))
    assert decoder is not None
    assert decoder.dtype == torch.float32


def test_under_autocast_adapters_are_not_rounded_with_the_weights() -> None:
    adapted: Any = add_lora(build(LlamaConfig(**SMALL)), r=2, alpha=4, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        decoder = Decoder.of(adapted)
    assert decoder is not None
    assert decoder.dtype == torch.float32


@pytest.mark.skipif(native_library() is None, reason="no compiler")
@pytest.mark.parametrize("longest", [0, 1024])
def test_under_autocast_it_multiplies_as_training_does(
    longest: int, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log-probs are nearer to training's than float32's are, and follow the weights."""
    monkeypatch.setattr(decoder_module, "_LONG", longest)
    policy = load_policy(str(tiny_model_dir), device=CPU)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    with torch.autocast("cpu", torch.bfloat16):
        half = LocalEngine(policy, tokenizer, prefix_cache_mb=8)
    whole = LocalEngine(policy, tokenizer)
    assert half._decoder is not None and whole._decoder is not None
    assert (half._decoder.dtype, whole._decoder.dtype) == (torch.bfloat16, torch.float32)
    prompts = [tuple(range(5 + n, 50)) for n in range(16)]
    generator = torch.Generator().manual_seed(3)
    for _ in range(2):
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        gaps = []
        for engine in (half, whole):
            gap = []
            found = generate(engine, prompts, SamplingParams(8, 1.0), seed=1)
            for prompt, generation in zip(prompts, found, strict=True):
                ids = torch.tensor([[*prompt, *generation.response_ids]])
                targets = torch.arange(ids.shape[1])[None] >= len(prompt)
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    trained = token_logprobs(policy, ids, torch.ones_like(ids), targets).logprobs
                sampled = torch.tensor([token.logprob for token in generation.tokens])
                gap.append((sampled - trained[targets]).abs())
            gaps.append(float(torch.cat(gap).mean()))
        assert 0 < gaps[0] < 0.9 * gaps[1]


def test_changed_weights_and_adapters_are_seen(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    adapted: Any = add_lora(policy, r=2, alpha=4, seed=0)
    engine = LocalEngine(adapted, load_tokenizer(str(tiny_model_dir)))
    assert engine._decoder is not None

    def logprobs() -> list[float]:
        results = generate(engine, [(5, 6, 7)], SamplingParams(4), seed=0)
        return [token.logprob for token in results[0].tokens]

    first = logprobs()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    second = logprobs()
    assert first != second
    with adapted.disable_adapter():
        assert logprobs() == pytest.approx(first, abs=1e-5)
    assert logprobs() == pytest.approx(second, abs=1e-6)


def test_equal_prompts_are_run_once(tiny_model_dir: Path) -> None:
    """And each still gets its own response: the one it gets alone."""
    policy = load_policy(str(tiny_model_dir), device=CPU)
    engine = LocalEngine(policy, load_tokenizer(str(tiny_model_dir)))
    tokens: list[int] = []
    policy.base_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    decoder: Any = engine._decoder
    step = decoder.step
    decoder.step = lambda ids, *others: tokens.append(len(ids)) or step(ids, *others)
    prompts = [(5, 6, 7), (8, 9), (5, 6, 7), (5, 6, 7)]
    together = generate(engine, prompts, SamplingParams(6), seed=3)
    assert tokens == [5] + [4] * 5
    assert len({result.response_ids for result in together}) == 4
    seeds = [generation.seed for generation in _requests(prompts)]
    for prompt, seed, result in zip(prompts, seeds, together, strict=True):
        alone = engine.submit([GenerationRequest(prompt, SamplingParams(6), seed)])[0].result()
        assert alone.response_ids == result.response_ids


def _requests(prompts: list[tuple[int, ...]]) -> list[Any]:
    """The requests that `generate` makes of prompts with seed 3."""

    class Recorder:
        def submit(self, requests: list[Any]) -> list[Any]:
            self.requests = requests
            return []

    recorder: Any = Recorder()
    generate(recorder, prompts, SamplingParams(6), seed=3)
    return list(recorder.requests)


def test_rows_are_cut_where_padding_costs_more_than_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans, "CALL_BYTES", 100)
    found = spans.spans([90, 80, 8, 3, 3, 0], room=100, column_bytes=10)
    assert [(s.rows.start, s.rows.stop, s.start) for s in found] == [
        (0, 2, 80),
        (2, 5, 3),
        (5, 6, 0),
    ]
    assert found[0].bias is not None and found[0].bias.shape == (2, 1, 1, 20)
    assert found[0].bias[:, 0, 0].isinf().sum(1).tolist() == [10, 0]
    assert found[2].bias is None
