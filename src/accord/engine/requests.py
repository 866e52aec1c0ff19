"""A request's life in a cooperative engine, and what is refused at submission.

Cooperative: an engine has no thread of its own. Whoever waits for a generation (its result, or its
next token) runs the engine until that is there, and everything that shares the engine moves along.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, Protocol

from accord.core.controls import Controls
from accord.core.errors import DataError, describe_choice
from accord.core.types import GeneratedToken, GenerationRequest, GenerationResult

Finish = Literal["stop", "length", "cancelled"]
RunUntil = Callable[[Callable[[], bool]], None]
"""An engine's scheduler: runs until the claim it is given holds."""
COLDEST = 1e-6
"""The least temperature but 0: logits divided by less leave float32, and one row's NaN ends all."""


class CooperativeGeneration:
    """One request and what it has received so far. Not for several threads.

    `cached_tokens` are those of its prompt that were not run, because they had been before.
    """

    def __init__(self, request: GenerationRequest, run_until: RunUntil) -> None:
        self.request = request
        self.tokens: list[GeneratedToken] = []
        self.finish: Finish | None = None
        self.cached_tokens = 0
        self._run_until = run_until

    def result(self) -> GenerationResult:
        """Run the engine until this response is finished."""
        self._run_until(lambda: self.finish is not None)
        assert self.finish is not None
        return GenerationResult(self.request.prompt_ids, tuple(self.tokens), self.finish)

    def stream(self) -> Iterator[GeneratedToken]:
        """Tokens from the first on, as they come; the engine runs while they are asked for."""
        given = 0
        while True:
            while given < len(self.tokens):
                yield self.tokens[given]
                given += 1
            if self.finish is not None:
                return
            self._wait_for_more_than(given)

    def _wait_for_more_than(self, count: int) -> None:
        self._run_until(lambda: self.finish is not None or len(self.tokens) > count)

    def advance_any(self, others: "Sequence[CooperativeGeneration]") -> None:
        """Run the engine until one of these, all its own, has another token or is finished."""
        before = [(one, len(one.tokens)) for one in others]
        self._run_until(
            lambda: any(one.finish is not None or len(one.tokens) > n for one, n in before)
        )

    def cancel(self) -> None:
        """Stop; what was sampled so far is kept. A finished response stays as it is."""
        if self.finish is None:
            self.finish = "cancelled"

    def take(self, token: GeneratedToken, *, end_of_turn_id: int) -> None:
        """Append the engine's next token, and finish when it is the last one."""
        self.tokens.append(token)
        if token.token_id == end_of_turn_id:
            self.finish = "stop"
        elif len(self.tokens) == self.request.params.max_new_tokens:
            self.finish = "length"


class CooperativeEngine(Protocol):
    """An `Engine` whose generations can be looked at between two tokens."""

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests: it was closed, or a step broke it for good."""

    def submit(self, requests: Sequence[GenerationRequest]) -> Sequence[CooperativeGeneration]:
        """See `Engine`."""

    def close(self) -> None:
        """See `Engine`."""


def refuse_unfit(
    requests: Sequence[GenerationRequest],
    *,
    context: int | None,
    vocabulary: int | None,
    adapters: Collection[str] = (),
) -> None:
    """Refuse requests that no engine could answer, before any of them is queued.

    Args:
        requests: of one submission; errors count them from 0.
        context: most tokens of a prompt with its response; None for no limit.
        vocabulary: number of token ids; None when any id will do.
        adapters: names of those that a request may ask for.

    Raises:
        DataError: a prompt is empty, does not fit the context with its response or has an id that
            is no token; a length or temperature is out of range; or there is no such adapter.
    """
    for index, request in enumerate(requests):
        ids, params = request.prompt_ids, request.params
        if not ids or params.max_new_tokens < 1:
            raise DataError(
                f"request {index}: needs a prompt and max_new_tokens of at least 1, got a prompt "
                f"of {len(ids)} tokens and max_new_tokens {params.max_new_tokens}"
            )
        if params.temperature != 0 and not COLDEST <= params.temperature < math.inf:
            raise DataError(
                f"request {index}: temperature must be 0 (likeliest token) or at least {COLDEST}, "
                f"got {params.temperature}"
            )
        if context is not None and len(ids) + params.max_new_tokens > context:
            raise DataError(
                f"request {index}: a prompt of {len(ids)} tokens and a response of up to "
                f"{params.max_new_tokens} do not fit the model's context of {context}; cut the "
                "prompt's start or ask for a shorter response"
            )
        if vocabulary is not None and not 0 <= min(ids) <= max(ids) < vocabulary:
            raise DataError(
                f"request {index}: prompt ids lie in {min(ids)}..{max(ids)}; expected ids of the "
                f"model's {vocabulary} tokens: encode with the model's own tokenizer"
            )
        if request.adapter is not None and request.adapter not in adapters:
            raise DataError(
                f"request {index}: no adapter {describe_choice(request.adapter, [*adapters])}"
            )
        if request.controls is not None:
            _refuse_controls(index, request.controls, vocabulary)


def _refuse_controls(index: int, controls: Controls, vocabulary: int | None) -> None:
    numbers = (controls.presence_penalty, controls.frequency_penalty, *controls.logit_bias.values())
    claims = {
        "top_p must lie in (0, 1]": 0 < controls.top_p <= 1,
        "top_k must be 0 (all) or more": controls.top_k >= 0,
        "min_p must lie in [0, 1]": 0 <= controls.min_p <= 1,
        "repetition_penalty must be positive": 0 < controls.repetition_penalty < math.inf,
        "penalties and biases must be finite": all(map(math.isfinite, numbers)),
        "top_logprobs must be 0 or more": controls.top_logprobs >= 0,
        "logit_bias must name ids of the model": vocabulary is None
        or all(0 <= token < vocabulary for token in controls.logit_bias),
    }
    for claim, holds in claims.items():
        if not holds:
            raise DataError(f"request {index}: {claim}; got {controls}")


def refuse_controls(requests: Sequence[GenerationRequest], *, engine: str) -> None:
    """Refuse what an engine that samples elsewhere does not know.

    Raises:
        DataError: a request has controls.
    """
    if any(request.controls is not None for request in requests):
        raise DataError(f"engine {engine} samples the full distribution and knows no controls")
