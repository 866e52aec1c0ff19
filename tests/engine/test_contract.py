"""What every engine promises; each implementation passes all of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from accord.core.errors import DataError
from accord.core.interfaces import Engine
from accord.core.types import GenerationRequest, GenerationResult, SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.engine.remote import RemoteEngine
from accord.engine.scripted import ScriptedEngine
from accord.engine.server import EngineServer
from accord.models.loading import load_policy, load_tokenizer

END = 2
CONTEXT = 512
PROMPTS = [(5, 6, 7), (8,), tuple(range(10, 30)), (40, 41), (9, 9, 9, 9, 9)]


class Subject(NamedTuple):
    engine: Engine
    weights: Any


def make_local(model_dir: Path) -> Subject:
    policy = load_policy(str(model_dir), device=torch.device("cpu"))
    engine = LocalEngine(policy, load_tokenizer(str(model_dir)), max_batch_size=3)
    return Subject(engine, policy.state_dict())


def make_scripted(model_dir: Path) -> Subject:
    def script(request: GenerationRequest) -> list[int]:
        return [10 + (request.seed + i) % 50 for i in range(7 * len(request.prompt_ids))]

    return Subject(ScriptedEngine(script, end_of_turn_id=END, context=CONTEXT), None)


def make_vllm(model_dir: Path) -> Subject:
    pytest.importorskip("vllm")
    from accord.engine.vllm import VllmEngine

    # Its kernels for CPUs know no heads of 16.
    policy = LlamaForCausalLM(LlamaConfig.from_pretrained(model_dir, head_dim=32))
    tokenizer = load_tokenizer(str(model_dir))
    engine = VllmEngine(policy, tokenizer, max_batch_size=3, enforce_eager=True)
    return Subject(engine, policy.state_dict())


def make_remote(model_dir: Path) -> Subject:
    """A local engine behind a server on loopback, as a trainer's client sees it."""
    cpu = torch.device("cpu")
    encoder = ChatEncoder(load_tokenizer(str(model_dir)))
    served = LocalEngine(load_policy(str(model_dir), device=cpu), encoder, max_batch_size=3)
    server = EngineServer(served, {"end_of_turn_id": END, "vocabulary": 300})
    threading.Thread(target=server.serve, daemon=True).start()
    policy = load_policy(str(model_dir), device=cpu)
    engine = RemoteEngine(policy, encoder, url=server.address)
    return Subject(engine, policy.state_dict())


ITS_OWN_WARNINGS = pytest.mark.filterwarnings("ignore")


@pytest.fixture(
    params=[
        make_local,
        make_scripted,
        make_remote,
        pytest.param(make_vllm, marks=[pytest.mark.oracle, ITS_OWN_WARNINGS]),
    ]
)
def subject(request: pytest.FixtureRequest, tiny_model_dir: Path) -> Iterator[Subject]:
    make: Callable[[Path], Subject] = request.param
    subject = make(tiny_model_dir)
    yield subject
    subject.engine.close()


@pytest.fixture
def engine(subject: Subject) -> Engine:
    return subject.engine


def requests_of(max_new_tokens: int, *, seed: int = 0) -> list[GenerationRequest]:
    params = SamplingParams(max_new_tokens)
    return [GenerationRequest(prompt, params, seed + i) for i, prompt in enumerate(PROMPTS)]


def ids_of(result: GenerationResult) -> tuple[tuple[int, ...], str]:
    """What may not depend on the batch; log-probs may, in their last bits."""
    return result.response_ids, result.finish


def test_results_are_whole_whatever_the_order_of_asking(engine: Engine) -> None:
    generations = engine.submit(requests_of(30))
    results = [generation.result() for generation in reversed(generations)][::-1]
    assert [result.prompt_ids for result in results] == PROMPTS
    for result in results:
        ids = result.response_ids
        assert END not in ids[:-1]
        assert (result.finish == "stop") == (ids[-1] == END)
        assert len(ids) == 30 if result.finish == "length" else len(ids) <= 30
        assert all(token.logprob <= 0 for token in result.tokens)


def test_one_token_is_one_token(engine: Engine) -> None:
    assert [len(g.result().tokens) for g in engine.submit(requests_of(1))] == [1] * len(PROMPTS)


def test_a_result_can_be_asked_for_twice(engine: Engine) -> None:
    (generation, *_) = engine.submit(requests_of(4))
    assert generation.result() == generation.result()


def test_stream_gives_the_tokens_of_the_result(engine: Engine) -> None:
    generations = engine.submit(requests_of(12))
    streams = [generation.stream() for generation in generations]
    firsts = [next(stream) for stream in streams]
    rests = [list(stream) for stream in streams]
    for generation, first, rest in zip(generations, firsts, rests, strict=True):
        assert (first, *rest) == generation.result().tokens
        assert list(generation.stream()) == [first, *rest]


def test_equal_seeds_give_equal_responses(engine: Engine) -> None:
    first = [g.result().response_ids for g in engine.submit(requests_of(12, seed=5))]
    again = [g.result().response_ids for g in engine.submit(requests_of(12, seed=5))]
    other = [g.result().response_ids for g in engine.submit(requests_of(12, seed=6))]
    assert first == again != other


def test_cancelled_before_it_began(engine: Engine) -> None:
    generations = engine.submit(requests_of(6))
    generations[1].cancel()
    result = generations[1].result()
    assert (result.finish, result.tokens) == ("cancelled", ())
    others = [g.result().finish for i, g in enumerate(generations) if i != 1]
    assert "cancelled" not in others


def test_cancelled_midway_keeps_what_there_was(engine: Engine) -> None:
    generations = engine.submit(requests_of(30))
    stream = generations[2].stream()
    given = [next(stream), next(stream)]
    generations[2].cancel()
    result = generations[2].result()
    assert result.finish == "cancelled"
    assert result.tokens == (*given, *stream)
    assert len(result.tokens) < 30
    uncancelled = engine.submit(requests_of(30))
    for index in (0, 1, 3, 4):
        assert ids_of(generations[index].result()) == ids_of(uncancelled[index].result())


def test_cancelling_a_finished_response_changes_nothing(engine: Engine) -> None:
    (generation, *_) = engine.submit(requests_of(3))
    result = generation.result()
    generation.cancel()
    assert generation.result() == result


def test_tokens_carry_the_version_of_their_weights(subject: Subject) -> None:
    engine, weights = subject
    engine.load_weights(weights, version=4)
    generation = engine.submit(requests_of(12))[2]
    stream = generation.stream()
    next(stream)
    engine.load_weights(weights, version=5)
    versions = [token.weight_version for token in generation.result().tokens]
    assert versions == [4] + [5] * (len(versions) - 1)
    assert len(versions) > 1


def test_close_cancels_and_ends(engine: Engine) -> None:
    generations = engine.submit(requests_of(30))
    given = next(generations[2].stream())
    engine.close()
    engine.close()
    results = [generation.result() for generation in generations]
    assert results[2].tokens == (given,)
    assert results[2].finish == "cancelled"
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(requests_of(1))


@pytest.mark.parametrize(
    ("prompt", "params", "message"),
    [
        ((), SamplingParams(1), "needs a prompt"),
        ((5,), SamplingParams(0), "max_new_tokens 0"),
        ((5,), SamplingParams(1, -0.5), "temperature must be 0"),
        ((5,), SamplingParams(1, float("nan")), "temperature must be 0"),
        ((5,) * (CONTEXT - 3), SamplingParams(4), f"509 tokens .* up to 4 .* context of {CONTEXT}"),
    ],
)
def test_unfit_requests_are_refused_before_anything_is_queued(
    engine: Engine, prompt: tuple[int, ...], params: SamplingParams, message: str
) -> None:
    calm = GenerationRequest((5,), SamplingParams(1), 0)
    with pytest.raises(DataError, match=f"request 1: .*{message}"):
        engine.submit([calm, GenerationRequest(prompt, params, 0)])
    assert engine.submit([calm])[0].result().finish in {"length", "stop"}


def test_a_prompt_that_just_fits_is_answered(engine: Engine) -> None:
    request = GenerationRequest((5,) * (CONTEXT - 4), SamplingParams(4), 0)
    assert 1 <= len(engine.submit([request])[0].result().tokens) <= 4


def test_generate_answers_in_order_with_a_seed_a_place(engine: Engine) -> None:
    results = generate(engine, [*PROMPTS, PROMPTS[0]], SamplingParams(20), seed=1)
    assert [result.prompt_ids for result in results] == [*PROMPTS, PROMPTS[0]]
    assert results[0].response_ids != results[-1].response_ids
    longer = generate(engine, [*PROMPTS, PROMPTS[0], (3,)], SamplingParams(20), seed=1)
    # An index's seed does not depend on how many there are.
    assert list(map(ids_of, longer[:-1])) == list(map(ids_of, results))
    assert generate(engine, [], SamplingParams(20), seed=1) == []
