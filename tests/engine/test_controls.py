"""What a served request asks of the sampler, by numbers worked out by hand."""

from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.controls import Controls
from accord.core.errors import DataError
from accord.core.types import GenerationRequest, SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.engine.controls import changed_logits
from accord.engine.decoder import Decoder
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy, load_tokenizer

END, INF = 3, float("inf")
PROBABILITIES = [0.1, 0.4, 0.3, 0.2]


def changed(
    logits: list[float],
    response: tuple[int, ...] = (),
    *,
    prompt: tuple[int, ...] = (0,),
    temperature: float = 1.0,
    **controls: Any,
) -> list[float]:
    request = GenerationRequest(prompt, SamplingParams(9, temperature), 0, Controls(**controls))
    return changed_logits(torch.tensor(logits), request, response, END).tolist()


def kept(temperature: float = 1.0, **controls: Any) -> list[int]:
    """Ids of PROBABILITIES that are left."""
    logits = [temperature * log(p) for p in PROBABILITIES]
    found = changed(logits, temperature=temperature, **controls)
    return [token for token, logit in enumerate(found) if logit > -INF]


def test_nothing_asked_changes_nothing() -> None:
    assert changed([1.0, -2.0, 0.5, 3.0], (1, 1)) == [1.0, -2.0, 0.5, 3.0]


def test_presence_counts_once_and_frequency_each_time() -> None:
    assert changed([1.0, 1.0, 1.0], (1, 1, 2), presence_penalty=0.5) == [1.0, 0.5, 0.5]
    assert changed([1.0, 1.0, 1.0], (1, 1, 2), frequency_penalty=0.5) == [1.0, 0.0, 0.5]


def test_repetition_penalty_reads_prompt_and_response() -> None:
    found = changed([2.0, -2.0, 3.0, 4.0], (1, 1), prompt=(0,), repetition_penalty=2.0)
    assert found == [1.0, -4.0, 3.0, 4.0]


def test_a_bias_is_added() -> None:
    assert changed([0.0, 0.0], logit_bias={1: -2.5}) == [0.0, -2.5]


@pytest.mark.parametrize(
    ("k", "ids"), [(0, [0, 1, 2, 3]), (1, [1]), (3, [1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_top_k(k: int, ids: list[int]) -> None:
    assert kept(top_k=k) == ids


@pytest.mark.parametrize(
    ("p", "ids"),
    [
        (0.39, [1]),  # the likeliest always stays
        (0.41, [1, 2]),
        (0.69, [1, 2]),
        (0.71, [1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_it(p: float, ids: list[int]) -> None:
    assert kept(top_p=p) == ids
    assert kept(temperature=0.5, top_p=p) == ids  # of the distribution at the temperature


def test_min_p_is_a_share_of_the_likeliest() -> None:
    assert kept(min_p=0.6) == [1, 2]  # at least 0.24
    assert kept(min_p=0.45) == [1, 2, 3]  # at least 0.18


def test_a_filter_leaves_what_it_allows_and_none_is_the_end() -> None:
    assert changed([1.0, 2.0, 3.0, 4.0], token_filter=lambda _: [0, 2]) == [1.0, -INF, 3.0, -INF]
    assert changed([1.0, 2.0, 3.0, 4.0], token_filter=lambda _: []) == [-INF, -INF, -INF, 4.0]


@pytest.fixture(params=["decoder", "model"])
def engine(request: Any, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    if request.param == "model":
        monkeypatch.setattr(Decoder, "of", lambda _: None)
    policy = load_policy(str(tiny_model_dir), device=torch.device("cpu"))
    return LocalEngine(policy, ChatEncoder(load_tokenizer(str(tiny_model_dir))))


def ask(engine: LocalEngine, controls: Controls | None, *, temperature: float = 1.0) -> Any:
    params = SamplingParams(12, temperature)
    return GenerationRequest((5, 6, 7), params, 4, controls)


def test_who_asks_for_nothing_draws_as_without_neighbours(engine: LocalEngine) -> None:
    plain, strange = ask(engine, None), ask(engine, Controls(top_k=3, top_logprobs=2))
    alone = engine.submit([plain])[0].result()
    beside, _ = [g.result() for g in engine.submit([plain, strange])]
    again = engine.submit([ask(engine, Controls())])[0].result()
    assert beside.response_ids == alone.response_ids == again.response_ids
    assert [t.logprob for t in beside.tokens] == pytest.approx([t.logprob for t in alone.tokens])


def test_logprobs_are_the_models_own(engine: LocalEngine) -> None:
    request = ask(engine, Controls(top_logprobs=5, logit_bias={40: 50.0}), temperature=0.5)
    result = engine.submit([request])[0].result()
    assert result.response_ids == (40,) * 12
    with torch.no_grad():
        logits: Any = engine.policy(torch.tensor([[5, 6, 7]])).logits
    own = logits[0, -1].float().log_softmax(-1)
    first = result.tokens[0]
    assert first.logprob == pytest.approx(float(own[40]), abs=1e-4)
    values, ids = own.topk(5)
    assert [i for i, _ in first.top] == ids.tolist()
    assert [p for _, p in first.top] == pytest.approx(values.tolist(), abs=1e-4)
    assert sum(exp(p) for _, p in first.top) < 1


def test_a_filter_sees_the_response_so_far(engine: LocalEngine) -> None:
    seen: list[list[int]] = []

    def count_up(response: Any) -> list[int]:
        seen.append(list(response))
        return [10 + len(response)] if len(response) < 3 else []

    result = engine.submit([ask(engine, Controls(token_filter=count_up))])[0].result()
    assert (result.response_ids, result.finish) == ((10, 11, 12, 2), "stop")
    assert seen == [[], [10], [10, 11], [10, 11, 12]]


@pytest.mark.parametrize(
    "controls",
    [
        Controls(top_p=0.0),
        Controls(top_p=1.1),
        Controls(top_k=-1),
        Controls(min_p=2.0),
        Controls(repetition_penalty=0.0),
        Controls(presence_penalty=float("nan")),
        Controls(logit_bias={300: 1.0}),
        Controls(top_logprobs=-1),
    ],
)
def test_bad_controls_are_refused_before_anything_is_queued(
    engine: LocalEngine, controls: Controls
) -> None:
    with pytest.raises(DataError, match="request 0: .* must"):
        engine.submit([ask(engine, controls)])
