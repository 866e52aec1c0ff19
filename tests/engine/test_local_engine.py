"""The local sampler around its numbers: who runs when, weights, precision, families, failures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
)

from accord.core.controls import Controls
from accord.core.errors import DataError, ModelError
from accord.core.types import GenerationRequest, SamplingParams
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.engine import local
from accord.engine.decoder import Decoder
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy
from accord.models.logprobs import token_logprobs
from accord.models.lora import add_lora
from accord.training.batches import collate

CPU = torch.device("cpu")
PROMPTS = [(5, 6, 7), (8,), tuple(range(10, 30)), (40, 41), (9, 9, 9, 9, 9), (3, 50)] * 2
TINY = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3}


@pytest.fixture
def tokenizer(tiny_model_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_dir)


@pytest.fixture
def policy(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU)


def count_rows(engine: LocalEngine) -> list[int]:
    """Rows of every forward from now on, by the model's own or by the decoder's step."""
    rows: list[int] = []
    engine.policy.base_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    decoder: Any = engine._decoder
    step = decoder.step
    decoder.step = lambda tokens, *others: rows.append(len(tokens)) or step(tokens, *others)
    return rows


def largest_gap(policy: nn.Module, engine: LocalEngine, params: SamplingParams) -> float:
    """Between sampler and trainer, in nats."""
    results = generate(engine, PROMPTS, params, seed=3)
    batch = collate([Encoded(r.prompt_ids, r.response_ids) for r in results], pad_id=2, device=CPU)
    with torch.no_grad():
        trained = token_logprobs(policy, *batch, temperature=params.temperature).logprobs
    return max(
        abs(token.logprob - float(trained[row, len(result.prompt_ids) + column]))
        for row, result in enumerate(results)
        for column, token in enumerate(result.tokens)
    )


def test_nobody_waits_for_the_longest_row(policy: Any, tokenizer: Any) -> None:
    engine = LocalEngine(policy, tokenizer, max_batch_size=8)
    rows = count_rows(engine)
    lengths = [100] + [5] * 63
    engine_requests = [
        GenerationRequest((5, 6), SamplingParams(n), seed) for seed, n in enumerate(lengths)
    ]
    results = [generation.result() for generation in engine.submit(engine_requests)]
    needed = sum(len(result.tokens) for result in results)
    assert max(rows) <= 8
    assert sum(rows) < 1.4 * needed  # in groups of 8 that wait for each other: 1080 of 415
    assert len(rows) < 130


def test_large_prompts_are_prefilled_in_parts(
    policy: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "PREFILL_TOKENS", 10)
    engine = LocalEngine(policy, tokenizer)
    policy.packs_rows = False
    rows = count_rows(engine)
    generate(engine, PROMPTS, SamplingParams(1), seed=0)
    # Lengths 1, 1, 2, 2, 2 | 2, 3, 3 | 5, 5 | 20 | 20; each prompt twice, and run once a part
    assert rows == [3, 2, 1, 1, 1]


def test_prompts_without_padding_are_the_padded_ones(policy: Any, tokenizer: Any) -> None:
    """Prompts of many lengths, some with a long start in common, which is run once."""
    assert policy.packs_rows
    start = tuple(range(5, 60))
    prompts = [*PROMPTS, (*start, 7), (*start, 8, 9), (*start[:50], 4)]
    params = SamplingParams(12)
    packed = generate(LocalEngine(policy, tokenizer), prompts, params, seed=1)
    policy.packs_rows = False
    padded = generate(LocalEngine(policy, tokenizer), prompts, params, seed=1)
    for one, other in zip(packed, padded, strict=True):
        assert one.response_ids == other.response_ids
        for a, b in zip(one.tokens, other.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)


def test_mode_and_gradients_are_as_before(policy: Any, tokenizer: Any) -> None:
    policy.train()
    policy.model.layers[0].eval()
    modes = [module.training for module in policy.modules()]
    stream = LocalEngine(policy, tokenizer).submit(
        [GenerationRequest((5,), SamplingParams(5), 0)]
    )[0].stream()  # fmt: skip
    next(stream)
    assert [module.training for module in policy.modules()] == modes
    assert torch.is_grad_enabled()


def test_dropout_is_off_while_sampling(tokenizer: Any) -> None:
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, resid_pdrop=0.5, **TINY)
    policy = GPT2LMHeadModel(config).train()
    greedy = SamplingParams(8, 0.0)
    ids = [
        generate(LocalEngine(policy, tokenizer), [(5, 6)], greedy, seed=0)[0].response_ids
        for _ in range(2)
    ]
    assert ids[0] == ids[1]
    assert policy.training


def test_adapters_are_sampled_with(policy: Any, tokenizer: Any) -> None:
    wrapped = add_lora(policy, r=2, alpha=8, seed=0)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    engine = LocalEngine(wrapped, tokenizer, max_batch_size=4)
    assert largest_gap(wrapped, engine, SamplingParams(10, 0.7)) < 1e-4
    engine.load_weights(wrapped.state_dict(), version=1)
    with wrapped.disable_adapter():
        assert largest_gap(wrapped, engine, SamplingParams(10)) < 1e-4


def test_half_precision_differs_by_its_rounding_only(tiny_model_dir: Path, tokenizer: Any) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU, dtype=torch.bfloat16)
    gap = largest_gap(policy, LocalEngine(policy, tokenizer), SamplingParams(10))
    assert gap < 2e-2


def test_sliding_windows_survive_padding(tokenizer: Any) -> None:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,  # the sixth attends to everything
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=4,
        max_position_embeddings=64,
        **TINY,
    )
    policy = Gemma3ForCausalLM(config).eval()
    engine = LocalEngine(policy, tokenizer, max_batch_size=4)
    assert largest_gap(policy, engine, SamplingParams(10)) < 1e-4


def test_finished_rows_stay_inside_the_context(tokenizer: Any) -> None:
    """A table of 32 positions has no 33rd for a finished row that is run along."""
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=32, **TINY)
    engine = LocalEngine(GPT2LMHeadModel(config), tokenizer, max_batch_size=8)
    full = GenerationRequest((5,) * 30, SamplingParams(2), 0)
    others = [GenerationRequest((5,), SamplingParams(20), seed) for seed in range(1, 8)]
    results = [generation.result() for generation in engine.submit([full, *others])]
    assert len(results[0].tokens) <= 2


def test_a_family_without_keys_and_values_is_refused(tokenizer: Any) -> None:
    config = MambaConfig(hidden_size=32, num_hidden_layers=1, state_size=4, **TINY)
    engine = LocalEngine(MambaForCausalLM(config), tokenizer)
    with pytest.raises(ModelError, match="'mamba' does not keep keys and values"):
        generate(engine, [(5,)], SamplingParams(2), seed=0)


def test_an_optimizer_step_is_seen_without_copying(
    policy: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("copied")

    engine = LocalEngine(policy, tokenizer)
    before = generate(engine, [(5, 6)], SamplingParams(1), seed=0)[0].tokens[0]
    with torch.no_grad():
        policy.get_output_embeddings().weight.mul_(5)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "copy_", fail)
        engine.load_weights(policy.state_dict(), version=7)
    after = generate(engine, [(5, 6)], SamplingParams(1), seed=0)[0].tokens[0]
    assert (before.weight_version, after.weight_version) == (0, 7)
    assert before.logprob != after.logprob


def test_weights_of_another_copy_are_taken(policy: Any, tokenizer: Any) -> None:
    torch.manual_seed(1)
    weights = {name: torch.randn_like(tensor) for name, tensor in policy.state_dict().items()}
    del weights["lm_head.weight"]  # tied, so a saved file lacks it
    engine = LocalEngine(policy, tokenizer)
    engine.load_weights(weights, version=2)
    assert all(torch.equal(policy.state_dict()[name], weights[name]) for name in weights)
    assert largest_gap(policy, engine, SamplingParams(6)) < 1e-4


@pytest.mark.parametrize("fault", ["unknown", "missing", "misshapen"])
def test_other_weights_are_refused_and_nothing_is_changed(
    policy: Any, tokenizer: Any, fault: str
) -> None:
    own = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    weights = {name: tensor + 1 for name, tensor in own.items()}
    if fault == "unknown":
        weights["model.extra"] = torch.zeros(1)
    elif fault == "missing":
        del weights["model.norm.weight"]
    else:
        weights["model.norm.weight"] = torch.zeros(5)
    with pytest.raises(ModelError, match=f"1 weights are {fault} "):
        LocalEngine(policy, tokenizer).load_weights(weights, version=1)
    assert all(torch.equal(own[name], tensor) for name, tensor in policy.state_dict().items())


def test_logits_that_are_not_finite_are_refused(policy: Any, tokenizer: Any) -> None:
    engine = LocalEngine(policy, tokenizer)
    with torch.no_grad():
        policy.model.norm.weight.fill_(float("nan"))
    engine.load_weights(policy.state_dict(), version=3)
    with pytest.raises(ModelError, match="not finite.*version 3"):
        generate(engine, [(5,)], SamplingParams(2), seed=0)


def test_rows_that_would_not_fit_the_memory_wait(policy: Any, tokenizer: Any) -> None:
    def answered(prompts: list[tuple[int, ...]], **options: Any) -> tuple[list[Any], int]:
        engine: Any = LocalEngine(policy, tokenizer, **options)
        take, widest = engine._take_tokens, []
        engine._take_tokens = lambda rows, hidden: (
            widest.append(len(rows.generations)) or take(rows, hidden)
        )
        found = generate(engine, prompts, SamplingParams(6), seed=3)
        return [result.response_ids for result in found], max(widest)

    free, together = answered(PROMPTS)
    assert answered(PROMPTS, cache_mb=0) == (free, 1) and together > 4
    # 1,024 columns of 1 KiB, a row of 250 prompt and 6 response tokens each.
    assert answered([tuple(range(5, 255))] * 9, cache_mb=1)[1] == 4


@pytest.mark.parametrize(("most_held_up", "gets"), [(4, 2), (None, 0)])
def test_who_comes_to_a_nearly_full_batch_waits_so_long(
    policy: Any, tokenizer: Any, most_held_up: int | None, gets: int
) -> None:
    engine = LocalEngine(policy, tokenizer, max_batch_size=8, most_held_up=most_held_up)
    goes_on = Controls(logit_bias={engine._end_of_turn_id: -100.0})
    prompts = [GenerationRequest((5, n), SamplingParams(60), n, goes_on) for n in range(8)]
    running = engine.submit(prompts[:7])
    running[0].advance_any(running)
    (late,) = engine.submit(prompts[7:])
    for _ in range(6):
        running[0].advance_any([*running, late])
    assert [len(g.tokens) for g in running] == [6 if gets else 7] * 7
    assert len(late.tokens) == gets


def test_the_shortest_prompts_run_first_and_each_step_is_told(policy: Any, tokenizer: Any) -> None:
    engine = LocalEngine(policy, tokenizer, max_batch_size=2)
    params = SamplingParams(20)
    requests = [GenerationRequest(tuple(range(5, 5 + n)), params, n) for n in (30, 2, 3)]
    long, *_ = generations = engine.submit(requests)
    long.advance_any(generations)
    assert [len(g.tokens) for g in generations] == [0, 1, 1]
    long.advance_any(generations)
    assert [len(g.tokens) for g in generations] == [0, 2, 2]


def test_after_a_failed_step_nothing_goes_on_from_half_a_cache(
    policy: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(policy, tokenizer, max_batch_size=2)
    params = SamplingParams(8)
    generations = engine.submit([GenerationRequest((5, 6), params, 1) for _ in range(4)])
    next(generations[0].stream())

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "step", fail)
        with pytest.raises(MemoryError):
            generations[0].result()
    assert [generation.result().finish for generation in generations] == ["cancelled"] * 4
    assert generate(engine, [(5,)], params, seed=0)[0].finish in {"stop", "length"}


def test_ids_beyond_the_vocabulary_are_refused(policy: Any, tokenizer: Any) -> None:
    engine = LocalEngine(policy, ChatEncoder(tokenizer))
    with pytest.raises(DataError, match=r"request 0: prompt ids lie in 5\.\.300; .* 300 tokens"):
        engine.submit([GenerationRequest((5, 300), SamplingParams(1), 0)])


def test_a_batch_of_nobody_is_refused(policy: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="max_batch_size must be at least 1, got 0"):
        LocalEngine(policy, tokenizer, max_batch_size=0)


def test_less_than_no_memory_is_refused(policy: Any, tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"prefix_cache_mb must be 0 \(none\) or more, got -1"):
        LocalEngine(policy, tokenizer, prefix_cache_mb=-1)


@pytest.mark.gpu
def test_sampler_and_trainer_agree_on_a_gpu(tiny_model_dir: Path, tokenizer: Any) -> None:
    policy = load_policy(str(tiny_model_dir), device=torch.device("cuda"))
    engine = LocalEngine(policy, tokenizer, max_batch_size=4)
    results = generate(engine, PROMPTS, SamplingParams(10), seed=3)
    rows = [Encoded(r.prompt_ids, r.response_ids) for r in results]
    batch = collate(rows, pad_id=2, device=torch.device("cuda"))
    with torch.no_grad():
        trained = token_logprobs(policy, *batch).logprobs.cpu()
    sampled = [token.logprob for result in results for token in result.tokens]
    assert sampled == pytest.approx(trained[batch.target_mask.cpu()].tolist(), abs=1e-4)


def test_an_engine_that_is_alone_looks_at_weights_that_it_is_given(
    tiny_model_dir: Path, tokenizer: Any
) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU).train()
    engine = LocalEngine(policy, tokenizer, is_alone=True, prefix_cache_mb=1)
    assert not policy.training

    def said() -> tuple[int, ...]:
        return generate(engine, [tuple(range(5, 40))], SamplingParams(20), seed=0)[0].response_ids

    before, plain = said(), policy.state_dict()
    assert said() == before
    draw = torch.Generator().manual_seed(0)
    noise = {name: t + torch.randn(t.shape, generator=draw) for name, t in plain.items()}
    plain = {name: t.clone() for name, t in plain.items()}
    engine.load_weights(noise, version=1)
    assert said() != before
    engine.load_weights(plain, version=2)
    assert said() == before
