"""A request as its asyncio side and the engine's thread see it, and what can become of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from accord.core.errors import AccordError
from accord.core.types import GeneratedToken, GenerationRequest
from accord.engine.requests import CooperativeGeneration, Finish

_T = TypeVar("_T")


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


class Row:
    """A ticket whose request is in the engine, in the thread of the engine."""

    def __init__(self, ticket: Ticket, generation: CooperativeGeneration) -> None:
        self.ticket = ticket
        self.generation = generation
        self.given = 0
        self._last_at = ticket.came_at

    def take(self, now: float) -> list[GeneratedToken]:
        """Tokens that the client was not given before; the watch is told of their times."""
        new = self.generation.tokens[self.given :]
        if not new:
            return new
        self.ticket.cached_tokens = self.generation.cached_tokens
        watch = self.ticket.watch
        if watch and not self.given:
            watch.first_token(now - self._last_at)
        elif watch:  # as if what is given together had come one after another
            for _ in new:
                watch.next_token((now - self._last_at) / len(new))
        self._last_at = now
        self.given += len(new)
        return new


class Call(Generic[_T]):
    """A function that one waits for in the event loop, while the engine's thread runs it."""

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[_T] = self._loop.create_future()

    def __call__(self) -> None:
        if self.result.cancelled():
            return
        try:
            found = self._function()
        except Exception as error:
            tell(self._loop, partial(self._settle, self.result.set_exception, error))
        else:
            tell(self._loop, partial(self._settle, self.result.set_result, found))

    def _settle(self, set_it: Callable[[Any], None], what: Any) -> None:
        if not self.result.done():
            set_it(what)


def tell(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    """Have the event loop do something, from another thread."""
    with contextlib.suppress(RuntimeError):  # it is closed: nobody is there
        loop.call_soon_threadsafe(what)
