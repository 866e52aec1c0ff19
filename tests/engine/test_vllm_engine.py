"""vLLM beside the local sampler, where it is installed: the same tokens, and close log-probs."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from accord.core.controls import Controls
from accord.core.errors import ConfigError, DataError, ModelError
from accord.core.interfaces import Engine
from accord.core.types import GenerationRequest, GenerationResult, SamplingParams
from accord.corpora.encoding import Encoded
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import token_logprobs
from accord.models.lora import add_lora
from accord.training.batches import collate

pytest.importorskip("vllm")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

PROMPTS = [(5, 6, 7), (8,), tuple(range(10, 30)), (40, 41), (9, 9, 9, 9, 9), (5, 6, 7)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with heads that vLLM's kernels for CPUs know: of 32, not of 16."""
    folder = tmp_path_factory.mktemp("small")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig.from_pretrained(tiny_model_dir, head_dim=32)
        LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(folder)
    return folder


@pytest.fixture(params=["small", "base-7m"])
def model_dir(request: pytest.FixtureRequest, small_dir: Path) -> str:
    if request.param == "small":
        return str(small_dir)
    folder = Path(os.environ.get("ACCORD_DATA", "absent")).parent / "models" / request.param
    if not folder.is_dir():
        pytest.skip("ACCORD_DATA is not set, or there is no model beside it")
    return str(folder)


@pytest.fixture
def policy(model_dir: str) -> Any:
    return load_policy(model_dir, device=CPU)


@pytest.fixture
def engine(policy: Any, model_dir: str) -> Iterator[Engine]:
    built = build(policy, model_dir)
    yield built
    built.close()


def build(policy: Any, model_dir: str, **options: Any) -> Engine:
    from accord.engine.vllm import VllmEngine

    return VllmEngine(policy, load_tokenizer(model_dir), enforce_eager=True, **options)


def sampled(engine: Engine, temperature: float) -> list[GenerationResult]:
    return generate(engine, PROMPTS, SamplingParams(24, temperature), seed=1)


def trainers_gap(policy: Any, results: list[GenerationResult], temperature: float) -> float:
    """Largest distance in nats between an engine's log-probs and the trainer's."""
    rows = [Encoded(result.prompt_ids, result.response_ids) for result in results]
    batch = collate(rows, pad_id=2, device=CPU)
    with torch.no_grad():
        ours = token_logprobs(policy, *batch, temperature=temperature).logprobs
    return max(
        abs(token.logprob - float(ours[row, len(result.prompt_ids) + column]))
        for row, result in enumerate(results)
        for column, token in enumerate(result.tokens)
    )


def test_greedy_is_the_local_sampler(policy: Any, engine: Engine, model_dir: str) -> None:
    local = LocalEngine(policy, load_tokenizer(model_dir))
    for theirs, ours in zip(sampled(engine, 0.0), sampled(local, 0.0), strict=True):
        assert (theirs.response_ids, theirs.finish) == (ours.response_ids, ours.finish)
        for a, b in zip(theirs.tokens, ours.tokens, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_the_trainers(policy: Any, engine: Engine, temperature: float) -> None:
    results = sampled(engine, temperature)
    assert len({result.response_ids for result in results}) == len(results)
    gap = trainers_gap(policy, results, temperature)
    print(f"gap of log-probs at temperature {temperature}: {gap:.1e} nats")
    assert gap < 1e-4
    assert trainers_gap(policy, results, temperature + 0.1) > 1e-3


def test_clients_are_told_the_models_own_log_probs(policy: Any, model_dir: str) -> None:
    engine = build(policy, model_dir, logprobs_mode="raw_logprobs")
    assert trainers_gap(policy, sampled(engine, 0.7), 1.0) < 1e-4
    engine.close()


@pytest.mark.parametrize(("mode", "told"), [("raw_logprobs", 5), ("processed_logprobs", 2)])
def test_likeliest_tokens_are_told_as_numbers(small_dir: Path, mode: str, told: int) -> None:
    engine = build(load_policy(str(small_dir), device=CPU), str(small_dir), logprobs_mode=mode)
    controls = Controls(top_k=2, top_logprobs=5)
    (generation,) = engine.submit([GenerationRequest((5,), SamplingParams(8), 0, controls)])
    tops = [token.top for token in generation.result().tokens]
    assert {len(top) for top in tops} == {told}
    assert all(math.isfinite(value) for top in tops for _, value in top)
    engine.close()


def test_new_weights_are_sampled_from(policy: Any, engine: Engine) -> None:
    before = sampled(engine, 1.0)  # leaves keys and values of these prompts behind
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * parameter.std() * torch.randn_like(parameter))
    assert trainers_gap(policy, before, 1.0) > 1e-2
    engine.load_weights(policy.state_dict(), version=3)
    after = sampled(engine, 1.0)
    assert trainers_gap(policy, after, 1.0) < 1e-4
    assert {token.weight_version for result in after for token in result.tokens} == {3}


def test_adapters_are_sampled_with(small_dir: Path) -> None:
    policy: Any = add_lora(load_policy(str(small_dir), device=CPU), r=2, alpha=8, seed=0)
    engine = build(policy, str(small_dir))
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    stale = trainers_gap(policy, sampled(engine, 1.0), 1.0)
    engine.load_weights(policy.state_dict(), version=1)
    assert trainers_gap(policy, sampled(engine, 1.0), 1.0) < 1e-4 < stale
    engine.close()


def test_what_it_cannot_do_is_refused(small_dir: Path) -> None:
    policy = load_policy(str(small_dir), device=CPU)
    torch.manual_seed(4)
    expected = torch.random.get_rng_state()
    engine = build(policy, str(small_dir))
    assert torch.equal(torch.random.get_rng_state(), expected)  # it seeds the process; we undo it
    with pytest.raises(DataError, match="request 0: temperature 0.001 .* at least 0.01"):
        engine.submit([GenerationRequest((5,), SamplingParams(1, 0.001), 0)])
    with pytest.raises(ModelError, match="1 weights are unknown"):
        engine.load_weights({**policy.state_dict(), "other": torch.zeros(1)}, version=1)
    with pytest.raises(ConfigError, match="one engine in a process"):
        build(policy, str(small_dir))
    engine.close()
    with pytest.raises(ConfigError, match="too little memory.*--cache_mb"):
        build(policy, str(small_dir), cache_bytes=2**14)
    build(policy, str(small_dir)).close()
