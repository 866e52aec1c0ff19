"""`/v1/completions`: text goes on, whole or streamed, with its own log-probs if asked for."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from accord.core.types import GeneratedToken
from accord.serving.chat import token_text
from accord.serving.generating import (
    Piece,
    Usage,
    gathered,
    pieces,
    refuse_vast,
    room_for,
    to_requests,
)
from accord.serving.guards import Guards
from accord.serving.protocol import CompletionRequest
from accord.serving.refusals import ApiError
from accord.serving.served import Served, TokenReading

_DEFAULT_TOKENS = 16
"""The protocol's, where a client does not say how many."""


class Completion:
    """One request for text completions; `asked.n` choices a prompt.

    Attributes:
        guards: read the response before the client does.
        usage: tokens so far.

    Args:
        asked: what the client sent.
        served: who answers.
        name: of the response.
        created: seconds since 1970.

    Raises:
        AccordError: it cannot be answered.
    """

    def __init__(
        self, asked: CompletionRequest, served: Served, *, name: str, created: int
    ) -> None:
        self.asked, self.served = asked, served
        self.name, self.created = name, created
        self.guards = Guards([])
        self.count = asked.n or 1
        if asked.suffix:
            raise ApiError(400, "suffix: this model cannot fill in", param="suffix")
        if asked.best_of not in (None, self.count):
            raise ApiError(400, "best_of other than n is not known here", param="best_of")
        self.most = _DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens
        if self.most == 0 and (not asked.echo or asked.stream):
            raise ApiError(400, "max_tokens 0 is for echo, not streamed", param="max_tokens")
        self.prompts = prompt_ids(served, asked.prompt)
        for prompt in self.prompts:
            room_for(served, prompt, self.most)
        self.requests = to_requests(
            asked, self.prompts, most=max(self.most, 1), top_logprobs=asked.logprobs
        )
        self.usage = Usage(prompt=sum(map(len, self.prompts)))

    def inputs(self) -> list[str]:
        """What the client says."""
        tokenizer = self.served.encoder.tokenizer
        return [str(tokenizer.decode(list(prompt))) for prompt in self.prompts]

    def _pieces(self) -> AsyncGenerator[Piece, None]:
        found = pieces(self.served, self.requests, self.asked.stops, self.usage)
        return self.guards.watched(found, len(self.requests))

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
        if self.most == 0:
            found = [Piece(i, "", (), "length") for i in range(len(self.requests))]
        else:
            found = await gathered(self._pieces(), len(self.requests))
        echoed = await self._echoed()
        return {
            **self._frame(),
            "choices": [self._choice(piece, echoed[piece.index // self.count]) for piece in found],
            "usage": self.usage.shown(),
        }

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        """The same as a stream."""
        echoed = await self._echoed()
        offsets = [0 for _ in self.requests]
        is_new = [True for _ in self.requests]
        async with contextlib.aclosing(self._pieces()) as found:
            async for piece in found:
                index = piece.index
                echo = echoed[index // self.count] if is_new[index] else None
                is_new[index] = False
                choice = self._choice(piece, echo, offset=offsets[index])
                offsets[index] += len(choice["text"])
                usage = {"usage": None} if self.asked.stream_options else {}
                yield {**self._frame(), "choices": [choice], **usage}
        if self.asked.stream_options and self.asked.stream_options.include_usage:
            yield {**self._frame(), "choices": [], "usage": self.usage.shown()}

    async def _echoed(self) -> "list[_Echo | None]":
        """Of each prompt, where they were asked for."""
        if not self.asked.echo:
            return [None] * len(self.prompts)
        top = self.asked.logprobs
        return [
            _Echo(prompt, [] if top is None else await self.served.read_prompt(prompt, top))
            for prompt in self.prompts
        ]

    def _choice(self, piece: Piece, echo: "_Echo | None", *, offset: int = 0) -> dict[str, Any]:
        before = "" if echo is None else self.served.encoder.tokenizer.decode(list(echo.ids))
        return {
            "index": piece.index,
            "text": before + piece.text,
            "logprobs": self._logprobs(piece.tokens, echo, offset),
            "finish_reason": piece.finish,
        }

    def _logprobs(
        self, tokens: Sequence[GeneratedToken], echo: "_Echo | None", offset: int
    ) -> dict[str, Any] | None:
        if self.asked.logprobs is None:
            return None
        told: list[tuple[int, float | None, Any]] = []
        if echo is not None:
            told.append((echo.ids[0], None, None))
            told += [(i, *reading) for i, reading in zip(echo.ids[1:], echo.readings, strict=True)]
        told += [(t.token_id, t.logprob, t.top) for t in tokens]
        texts = [token_text(self.served, token_id) for token_id, _, _ in told]
        offsets = []
        for text in texts:
            offsets.append(offset)
            offset += len(text)
        return {
            "tokens": texts,
            "token_logprobs": [logprob for _, logprob, _ in told],
            "top_logprobs": [self._top(top) for _, _, top in told],
            "text_offset": offsets,
        }

    def _top(self, top: Any) -> dict[str, float] | None:
        if top is None:
            return None
        found: dict[str, float] = {}
        for token_id, logprob in top:  # two ids may be shown alike: the likelier stays
            found.setdefault(token_text(self.served, token_id), logprob)
        return found

    def _frame(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "object": "text_completion",
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": self.served.version,
        }


class _Echo:
    """A prompt that is told again, with what was read of it."""

    def __init__(self, ids: Sequence[int], readings: Sequence[TokenReading]) -> None:
        self.ids, self.readings = ids, readings


def prompt_ids(served: Served, asked: Any) -> list[tuple[int, ...]]:
    """Token ids of what a client calls a prompt or an input: texts, or ids already.

    Raises:
        ApiError: one is empty, too long, or has ids that are no tokens.
    """
    if isinstance(asked, str) or isinstance(asked[0], int):
        asked = [asked]
    found = [_ids_of(served, prompt) for prompt in asked]
    for ids in found:
        if not ids or not 0 <= min(ids) <= max(ids) < served.vocabulary:
            raise ApiError(400, "a prompt is empty, or has ids that are no tokens", param="prompt")
    return found


def _ids_of(served: Served, prompt: str | list[int]) -> tuple[int, ...]:
    if not isinstance(prompt, str):
        return tuple(prompt)
    refuse_vast(served, len(prompt))
    ids = [*served.encoder.encode_start(), *served.encoder.encode_text(prompt)]
    return tuple(ids or [served.encoder.end_of_turn_id])
