"""What was read before is not run again, and nobody can tell but by the count."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig

from accord.core.types import GenerationRequest, SamplingParams
from accord.engine import decoder as decoder_module
from accord.engine import prefill
from accord.engine.columns import new_cache
from accord.engine.decoder import Decoder
from accord.engine.kernels import NativeKernels
from accord.engine.local import LocalEngine
from accord.engine.prefixes import BLOCK, Prefixes, Prompt
from accord.engine.requests import CooperativeGeneration
from accord.models.loading import load_policy, load_tokenizer
from accord.models.packing import pack_prompts, use_packing

CPU = torch.device("cpu")
GREEDY = SamplingParams(12, 0.0)


def draw(length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(4, 300, (length,), generator=generator).tolist())


SYSTEM, DOCUMENT = draw(40, 1), draw(50, 2)


def ask(engine: LocalEngine, prompts: Sequence[tuple[int, ...]]) -> list[CooperativeGeneration]:
    found = engine.submit([GenerationRequest(prompt, GREEDY, 0) for prompt in prompts])
    for generation in found:
        generation.result()
    return found


def answer(generation: CooperativeGeneration) -> tuple[int, ...]:
    return tuple(token.token_id for token in generation.tokens)


def conversations(engine: LocalEngine) -> list[CooperativeGeneration]:
    """Turns that go on from each other, beside newcomers and documents that several ask about."""
    first = ask(engine, [SYSTEM + draw(7, 3), draw(30, 4)])
    turns = [g.request.prompt_ids + answer(g) + draw(9, 5) for g in first]
    about = [SYSTEM + DOCUMENT + draw(n, n) for n in (6, 8, 20)]
    second = ask(engine, [*turns, *about, draw(3, 6), SYSTEM + draw(7, 3)])
    third = ask(engine, [turns[0] + answer(second[0]) + draw(60, 7), about[2], draw(3, 6)])
    return [*first, *second, *third]


def tiny(config: Any = None) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = config or LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=300, **sizes
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    use_packing(model)
    return model


def windowed() -> Any:
    """Layers that look back four tokens, and one that looks back to the start."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=4,
        vocab_size=300,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=3,
    )
    return Gemma3ForCausalLM(config).eval()


@pytest.mark.parametrize("way", ["native", "operators", "own forward", "padded", "windows"])
def test_answers_are_those_without(
    way: str, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "operators":
        monkeypatch.setattr(NativeKernels, "of", lambda _: None)
    elif way == "own forward":
        monkeypatch.setattr(decoder_module, "_LONG", 0)
    elif way in ("padded", "windows"):
        monkeypatch.setattr(Decoder, "of", lambda _: None)
    policy = windowed() if way == "windows" else tiny()
    if way == "padded":
        policy.packs_rows = False
    tokenizer = load_tokenizer(str(tiny_model_dir))
    cached = check_answers(policy, tokenizer)
    assert cached[:2] == [0, 0]
    # By whole blocks: the first turn (47 tokens and 12 said), the other (30 and 12), SYSTEM, what
    # was asked already but for its last token, and all of the second turn.
    if way not in ("padded", "windows"):  # where all rows run as many columns
        assert cached[2:9] == [48, 32, 32, 32, 32, 0, 32]
        assert cached[9:] == [(47 + 12 + 9 + 11) // BLOCK * BLOCK, 96, 0]
    assert sum(cached[2:]) > 0


def check_answers(policy: Any, tokenizer: Any) -> list[int]:
    """That they are the same with a cache and without; tokens that each prompt found there."""
    plain, caching = (
        conversations(LocalEngine(policy, tokenizer, max_batch_size=16, prefix_cache_mb=mb))
        for mb in (0, 8)
    )
    for without, with_it in zip(plain, caching, strict=True):
        assert answer(with_it) == answer(without)
        found, expected = ([t.logprob for t in g.tokens] for g in (with_it, without))
        assert found == pytest.approx(expected, abs=1e-5)
    assert not any(g.cached_tokens for g in plain)
    return [g.cached_tokens for g in caching]


def test_answers_of_a_trained_model_are_those_without(accord_data: Path) -> None:
    """Its states are larger, and its choices closer, than a random model's."""
    name = str(accord_data.parent / "models" / "base-7m")
    assert any(check_answers(load_policy(name, device=CPU), load_tokenizer(name)))


@pytest.mark.gpu
def test_answers_on_a_gpu_are_those_without(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=torch.device("cuda"))
    assert any(check_answers(policy, load_tokenizer(str(tiny_model_dir))))


def test_only_what_is_new_is_run(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that several ask about at once is run once, also where its start is known."""
    policy = tiny()
    engine = LocalEngine(policy, load_tokenizer(str(tiny_model_dir)), prefix_cache_mb=8)
    counts: list[int] = []

    def pack(*arguments: Any, **options: Any) -> Any:
        packed = pack_prompts(*arguments, **options)
        counts.append(packed.input_ids.shape[1])
        return packed

    monkeypatch.setattr(prefill, "pack_prompts", pack)
    ask(engine, [SYSTEM])
    ask(engine, [SYSTEM + DOCUMENT + draw(n, n) for n in (6, 8)])
    ask(engine, [SYSTEM + DOCUMENT + draw(11, 11)])
    assert counts == [40, 40 + 50 - 32 + 6 + 8, 101 - 80]


def test_prompts_in_bfloat16_are_filled_up(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their answers are those of prompts as long as they are, also behind known starts."""
    monkeypatch.setattr(Decoder, "is_own", lambda *_: False)
    policy = load_policy(str(tiny_model_dir), device=CPU, dtype=torch.bfloat16)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    fill, counts = prefill.filled, []

    def noted(packed: Any) -> Any:
        counts.append(fill(packed).input_ids.shape[1])
        return fill(packed)

    answers = []
    for way in (noted, lambda packed: packed):
        monkeypatch.setattr(prefill, "filled", way)
        engine = LocalEngine(policy, tokenizer, prefix_cache_mb=8)
        answers.append([g.tokens[0] for g in conversations(engine)])
    assert counts
    assert all(count % 64 == 0 for count in counts)
    for filled, alone in zip(*answers, strict=True):
        assert filled.token_id == alone.token_id
        assert filled.logprob == pytest.approx(alone.logprob, abs=2e-2)


def test_other_weights_forget(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    engine = LocalEngine(policy, tokenizer, prefix_cache_mb=8)
    ask(engine, [SYSTEM])
    assert ask(engine, [SYSTEM])[0].cached_tokens == 32
    (running,) = engine.submit([GenerationRequest(SYSTEM, SamplingParams(30, 0.0), 0)])
    next(running.stream())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    running.result()  # half of the old weights, half of the new
    onward = SYSTEM + answer(running) + (5, 6)
    (after,) = ask(engine, [onward])
    assert after.cached_tokens == 0
    (expected,) = ask(LocalEngine(policy, tokenizer), [onward])
    assert answer(after) == answer(expected)
    assert ask(engine, [onward])[0].cached_tokens > 32


def test_a_row_goes_on_from_what_was_said(tiny_model_dir: Path) -> None:
    """Whole blocks of the response are known, too."""
    engine = LocalEngine(tiny(), load_tokenizer(str(tiny_model_dir)), prefix_cache_mb=8)
    (first,) = engine.submit([GenerationRequest((5, 6), SamplingParams(50, 1.0), 1)])
    first.result()
    said = len(first.tokens)
    assert said > 20
    (second,) = ask(engine, [(5, 6, *answer(first), 7)])
    assert second.cached_tokens == (2 + said - 1) // BLOCK * BLOCK


def filled(rows: int, columns: int) -> Any:
    cache = new_cache()
    for layer in range(2):
        cache.update(*torch.randn(2, rows, 3, columns, 4).unbind(), layer)
    return cache


BLOCK_BYTES = 2 * 2 * 3 * BLOCK * 4 * 4


def test_another_text_never_answers() -> None:
    """The same block behind other tokens, or under another adapter, is another block."""
    prefixes, cache = Prefixes(2**20), filled(1, 3 * BLOCK)
    one, two, three = draw(BLOCK, 1), draw(BLOCK, 2), draw(BLOCK, 3)
    prefixes.keep(Prompt(None, one + two + three), cache, 0, 0)
    assert len(prefixes.find(Prompt(None, one + two + three))) == 2  # the last token is run
    assert len(prefixes.find(Prompt(None, (*one, *two, *three, 4)))) == 3
    assert len(prefixes.find(Prompt(None, one + three + two))) == 1
    assert prefixes.find(Prompt(None, two + three + one)) == []
    assert prefixes.find(Prompt("a", one + two + three)) == []
    found = torch.cat(prefixes.find(Prompt(None, one + two + (4,))), dim=3)
    for layer, kept in zip(cache.layers, found, strict=True):
        assert torch.equal(kept[0], layer.keys[0, :, : 2 * BLOCK])
        assert torch.equal(kept[1], layer.values[0, :, : 2 * BLOCK])


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    prefixes, cache = Prefixes(4 * BLOCK_BYTES + 1), filled(1, 9 * BLOCK)
    shared, a, b = draw(BLOCK, 1), draw(BLOCK, 2), draw(BLOCK, 3)
    for text in (shared + a, shared + b, draw(BLOCK, 4)):
        prefixes.keep(Prompt(None, text), cache, 0, 0)
    assert prefixes.bytes == 4 * BLOCK_BYTES  # what two texts share is kept once

    def count(text: tuple[int, ...]) -> int:
        return len(prefixes.find(Prompt(None, (*text, 4))))

    assert count(shared + a) == 2
    prefixes.keep(Prompt(None, draw(BLOCK, 5)), cache, 0, 0)
    assert (count(shared + a), count(shared + b)) == (2, 1)  # b was used the longest ago
    prefixes.keep(Prompt(None, draw(9 * BLOCK, 6)), cache, 0, 0)
    assert prefixes.bytes == 4 * BLOCK_BYTES
    assert count(draw(9 * BLOCK, 6)) == 4  # its beginning: an end alone could not be found
    prefixes.clear()
    assert prefixes.bytes == 0 and count(shared + a) == 0


def test_layers_with_other_heads_are_left_out() -> None:
    prefixes, cache = Prefixes(2**20), filled(1, BLOCK)
    cache.update(*torch.randn(2, 1, 1, BLOCK, 4).unbind(), 2)
    prefixes.keep(Prompt(None, draw(BLOCK, 1)), cache, 0, 0)
    assert prefixes.bytes == 0
