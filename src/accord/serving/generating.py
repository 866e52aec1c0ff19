"""From requests to pieces of text: the part that chat and plain completions share."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accord.core.controls import Controls, TokenFilter
from accord.core.types import GeneratedToken, GenerationRequest, SamplingParams
from accord.serving.protocol import Sampling
from accord.serving.refusals import ApiError
from accord.serving.served import Served
from accord.serving.text import TextStream
from accord.serving.tickets import Stopped, Ticket


@dataclass(frozen=True)
class Outcome:
    """How an app's episode ended.

    `shown` is what clients are told beside the words, `refusal` why there is no answer.
    """

    shown: Mapping[str, Any]
    refusal: str | None = None


@dataclass(frozen=True)
class Piece:
    """What is new of one choice; `finish` is set on its last piece.

    `aside` are words that lead to an app's answer: its actions, and what they gave.
    """

    index: int
    text: str
    tokens: tuple[GeneratedToken, ...]
    finish: str | None = None
    aside: str = ""
    outcome: Outcome | None = None


@dataclass
class Usage:
    """Tokens of a request so far; `cached` are those of its prompts that had been read before."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0

    def shown(self) -> dict[str, Any]:
        """As the protocol has it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


async def pieces(
    served: Served, requests: Sequence[GenerationRequest], stop: Sequence[str], usage: Usage
) -> AsyncGenerator[Piece, None]:
    """Text of all requests as it comes; every request ends with a piece that says how.

    Rows of a client that stops asking are cancelled; close the iterator (`contextlib.aclosing`).

    Raises:
        AccordError: the queue is full, a request was refused, or the engine failed.
    """
    tickets = served.submit(requests)
    try:
        sources = [spoken(served, index, ticket, stop) for index, ticket in enumerate(tickets)]
        async with contextlib.aclosing(together(sources)) as found:
            async for piece in found:
                usage.generated += len(piece.tokens)
                usage.cached = _cached(tickets)
                yield piece
    finally:
        for ticket in tickets:
            ticket.cancel()


async def together(
    sources: Sequence[AsyncGenerator[Piece, None]],
) -> AsyncGenerator[Piece, None]:
    """Pieces of several sources as they come, until each has given its last; closing it closes
    them.

    Raises:
        Exception: what one of them raises.
    """
    news: asyncio.Queue[Piece | Exception] = asyncio.Queue()

    async def pump(source: AsyncGenerator[Piece, None]) -> None:
        try:
            async with contextlib.aclosing(source) as found:
                async for piece in found:
                    news.put_nowait(piece)
        except Exception as error:
            news.put_nowait(error)
        except asyncio.CancelledError:  # by ourselves, or by a tool from within
            news.put_nowait(Stopped("the answer was broken off; ask again"))
            raise

    pumps = [asyncio.create_task(pump(source)) for source in sources]
    try:
        running = len(sources)
        while running:
            piece = await news.get()
            if isinstance(piece, Exception):
                raise piece
            running -= piece.finish is not None
            yield piece
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _cached(tickets: Sequence[Ticket]) -> int:
    """Of each prompt, whatever the number of its choices, as of the one that found the least."""
    least: dict[tuple[int, ...], int] = {}
    for ticket in tickets:
        prompt = ticket.request.prompt_ids
        least[prompt] = min(least.get(prompt, len(prompt)), ticket.cached_tokens)
    return sum(least.values())


async def spoken(
    served: Served, index: int, ticket: Ticket, stop: Sequence[str]
) -> AsyncGenerator[Piece, None]:
    """Text of one request as it comes; the last piece says how it ended."""
    text = TextStream(served.reader(), stop)
    waiting: list[GeneratedToken] = []  # their text is still held back
    async for tokens in ticket:
        shown = ""
        for token in tokens:
            waiting.append(token)
            shown += text.add(token.token_id)
            if text.is_stopped:
                ticket.cancel()
                yield Piece(index, shown, tuple(waiting), "stop")
                return
        if shown:
            yield Piece(index, shown, tuple(waiting))
            waiting = []
    rest = text.finish()
    finish = "stop" if text.is_stopped else (ticket.finish or "stop")
    yield Piece(index, rest, tuple(waiting), finish)


async def gathered(stream: AsyncGenerator[Piece, None], count: int) -> list[Piece]:
    """The whole responses of `count` requests, a piece each."""
    texts, asides = [""] * count, [""] * count
    tokens: list[list[GeneratedToken]] = [[] for _ in range(count)]
    ends: list[Piece | None] = [None] * count
    async with contextlib.aclosing(stream) as found:
        async for piece in found:
            texts[piece.index] += piece.text
            asides[piece.index] += piece.aside
            tokens[piece.index] += piece.tokens
            if piece.finish is not None:
                ends[piece.index] = piece
    return [
        replace(end, text=texts[i], tokens=tuple(tokens[i]), aside=asides[i])
        for i, end in enumerate(ends)
        if end is not None
    ]


def to_requests(
    asked: Sampling,
    prompts: Sequence[tuple[int, ...]],
    *,
    most: int,
    top_logprobs: int | None = None,
    token_filters: Sequence[TokenFilter | None] = (),
) -> list[GenerationRequest]:
    """`asked.n` requests a prompt, each with a seed of its own.

    Args:
        asked: what the client wants.
        prompts: in token ids.
        most: tokens of a response.
        top_logprobs: None where no log-probs are asked for at all.
        token_filters: one a request, if there are any.
    """
    count = len(prompts) * (asked.n or 1)
    seeds = seeds_of(asked, count)
    params = SamplingParams(most, temperature_of(asked))
    filters = token_filters or [None] * count
    return [
        GenerationRequest(
            prompts[i // (asked.n or 1)],
            params,
            seeds[i],
            controls_of(asked, top_logprobs, filters[i]),
        )
        for i in range(count)
    ]


def seeds_of(asked: Sampling, count: int) -> list[int]:
    """One a response; always the same where the client names a seed."""
    seed = secrets.randbits(63) if asked.seed is None else asked.seed % 2**64
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count, dtype=np.uint64)]


def temperature_of(asked: Sampling) -> float:
    """The protocol's own where the client names none."""
    return 1.0 if asked.temperature is None else asked.temperature


def controls_of(
    asked: Sampling, top_logprobs: int | None = None, token_filter: TokenFilter | None = None
) -> Controls | None:
    """None where the full distribution is asked for, which costs nothing."""
    found = Controls(
        top_p=1.0 if asked.top_p is None else asked.top_p,
        top_k=max(asked.top_k, 0),
        min_p=asked.min_p,
        presence_penalty=asked.presence_penalty or 0.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        repetition_penalty=asked.repetition_penalty,
        logit_bias=_biases(asked.logit_bias or {}),
        top_logprobs=top_logprobs or 0,
        token_filter=token_filter,
    )
    return None if found == Controls() and top_logprobs is None else found


def _biases(asked: dict[str, float]) -> dict[int, float]:
    if len(asked) > 1024 or not all(token.isdecimal() and len(token) < 10 for token in asked):
        raise ApiError(400, "logit_bias: expected at most 1024 token ids", param="logit_bias")
    return {int(token): bias for token, bias in asked.items()}


def refuse_vast(served: Served, characters: int) -> None:
    """Refuse a text that cannot fit before it is tokenised, which takes time.

    Raises:
        ApiError: it has more bytes than the context's tokens can write.
    """
    if served.context is not None and characters > served.context * served.longest_token:
        raise ApiError(
            400,
            f"this model's maximum context length is {served.context} tokens; a prompt of "
            f"{characters} characters cannot fit",
            code="context_length_exceeded",
        )


def room_for(served: Served, prompt: Sequence[int], most: int | None) -> int:
    """Tokens that a response may have: `most`, or else what is usual here and the context leaves.

    Raises:
        ApiError: prompt and response do not fit the context.
    """
    if served.context is None:
        return served.default_max_tokens if most is None else most
    room = served.context - len(prompt)
    if room < (1 if most is None else most):
        raise ApiError(
            400,
            f"this model's maximum context length is {served.context} tokens; the prompt has "
            f"{len(prompt)}, and a response of {most or 'at least 1'} was asked for",
            code="context_length_exceeded",
            param="messages",
        )
    return min(room, served.default_max_tokens) if most is None else most
