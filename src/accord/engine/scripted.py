"""A double of an engine, for tests: known responses under the same contract."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from accord.core.errors import DataError
from accord.core.types import GeneratedToken, GenerationRequest
from accord.engine.requests import CooperativeGeneration, refuse_unfit

Script = Mapping[tuple[int, ...], Sequence[int]] | Callable[[GenerationRequest], Sequence[int]]


class ScriptedEngine:
    """An `Engine` that says what it is told, one token of every running request at a time.

    Args:
        responses: response ids by prompt ids, or a function of the request. The end of turn need
            not be written: it follows the script's last id, where max_new_tokens leaves room.
        end_of_turn_id: ends a response wherever it stands.
        logprob: of every token, in nats.
        context: most tokens of a prompt with its response; None for no limit.
    """

    def __init__(
        self,
        responses: Script,
        *,
        end_of_turn_id: int,
        logprob: float = -1.0,
        context: int | None = None,
    ) -> None:
        self._responses = responses
        self._end_of_turn_id = end_of_turn_id
        self._logprob = logprob
        self._context = context
        self._version = 0
        self._running: list[tuple[CooperativeGeneration, Iterator[int]]] = []
        self._is_closed = False

    def submit(self, requests: Sequence[GenerationRequest]) -> list[CooperativeGeneration]:
        """Queue requests.

        Raises:
            DataError: a request is refused as `LocalEngine` would, or the script lacks its prompt.
            RuntimeError: the engine is closed.
        """
        if self._is_closed:
            raise RuntimeError("this engine is closed; build a new one")
        refuse_unfit(requests, context=self._context, vocabulary=None)
        scripts = [self._script(request) for request in requests]
        generations = [CooperativeGeneration(r, self._run_until) for r in requests]
        self._running += zip(generations, scripts, strict=True)
        return generations

    def load_weights(self, weights: Any, *, version: int) -> None:  # noqa: ARG002
        """Only the version counts: tokens from now on carry it."""
        self._version = version

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._is_closed

    def close(self) -> None:
        """Cancel what is running and take no more requests."""
        self._is_closed = True
        for generation, _ in self._running:
            generation.cancel()
        self._running = []

    def _script(self, request: GenerationRequest) -> Iterator[int]:
        if callable(self._responses):
            ids = self._responses(request)
        elif request.prompt_ids in self._responses:
            ids = self._responses[request.prompt_ids]
        else:
            raise DataError(
                f"the script has no response to the prompt {request.prompt_ids}; add it, or pass a "
                "function"
            )
        return iter([*ids, self._end_of_turn_id])

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            self._running = [pair for pair in self._running if pair[0].finish is None]
            for generation, ids in self._running:
                token = self._token(next(ids), generation.request)
                generation.take(token, end_of_turn_id=self._end_of_turn_id)

    def _token(self, token_id: int, request: GenerationRequest) -> GeneratedToken:
        """Of controls only `top_logprobs` counts: the scripted token is the likeliest."""
        is_told = request.controls is not None and request.controls.top_logprobs > 0
        top = ((token_id, self._logprob),) if is_told else ()
        return GeneratedToken(token_id, self._logprob, self._version, top)
