"""A request as its asyncio side sees it, and what can become of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from accord.core.errors import AccordError
from accord.core.types import GeneratedToken, GenerationRequest
from accord.engine.requests import Finish


class Busy(AccordError):
    """The queue is full; nothing was queued, and the same request may work in a moment."""


class Stopped(AccordError):
    """The scheduler takes no more requests."""


class EngineFailed(AccordError):
    """The engine broke while it worked on this."""


class Watch(Protocol):
    """Told of what happens to requests, in the scheduler's thread."""

    def started(self, waited_s: float) -> None:
        """A request left the queue."""

    def first_token(self, after_s: float) -> None:
        """So long after the request came."""

    def next_token(self, after_s: float) -> None:
        """So long after the token before it."""

    def ended(self, finish: str, prompt_tokens: int, cached_tokens: int, tokens: int) -> None:
        """How a request ended: "stop", "length", "cancelled" or "failed"."""


class Ticket:
    """One request under way, as its asyncio side sees it. Made by `Scheduler.submit`.

    `cached_tokens` of its prompt were not run, which is known with its first token; `watch` is told
    of what happens to it.
    """

    def __init__(
        self,
        request: GenerationRequest,
        came_at: float,
        watch: Watch | None = None,
        *,
        has_place: bool = False,
    ) -> None:
        self.request = request
        self.watch = watch
        self.has_place = has_place
        self.cached_tokens = 0
        self.finish: Finish | None = None
        self.came_at = came_at
        self.is_cancelled = False
        self._news: asyncio.Queue[list[GeneratedToken] | Finish | Exception] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[list[GeneratedToken]]:
        """Tokens as they come, some at a time; `finish` is set at the end.

        Raises:
            AccordError: the request was refused, or the engine failed.
        """
        while self.finish is None:
            news = await self._news.get()
            if isinstance(news, Exception):
                raise news
            if isinstance(news, list):
                yield news
            else:
                self.finish = news

    def cancel(self) -> None:
        """Nobody waits any more: the row leaves before the next step. May be called twice."""
        self.is_cancelled = True

    def put(self, news: "list[GeneratedToken] | Finish | Exception") -> None:
        """Hand something over; in the event loop's thread."""
        self._news.put_nowait(news)
