"""One thread a model: it owns the engine, takes requests from a bounded queue, and gives tokens.

Everything else of a server is asyncio and never touches a tensor. The engine is cooperative (see
`engine.requests`): between two steps this thread takes new requests, drops those whose client has
left, runs what else needs the model's weights (`call`), and hands over what was sampled.
"""

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from accord.core.errors import AccordError
from accord.core.types import GenerationRequest
from accord.engine.requests import CooperativeEngine, CooperativeGeneration
from accord.serving.tickets import Busy, EngineFailed, Stopped, Ticket, Watch

_T = TypeVar("_T")

MOST_PIECES = 1000
"""A second for all clients: each costs the event loop, which shares the processors with the engine,
a tenth of a millisecond or two. Where there would be more, tokens come several at a time."""


class _Row:
    """A ticket whose request is in the engine."""

    def __init__(self, ticket: Ticket, generation: CooperativeGeneration) -> None:
        self.ticket = ticket
        self.generation = generation
        self.given = 0
        self.last_at = ticket.came_at


class Scheduler:
    """Runs one engine for many asyncio clients.

    Args:
        engine: nobody else may use it from now on.
        most_waiting: requests that may be under way at once, running ones included.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        engine: CooperativeEngine,
        *,
        name: str = "engine",
        most_waiting: int = 256,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most_waiting = most_waiting
        self._engine = engine
        self._now = now
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._rows: list[_Row] = []
        self._given_at = -math.inf
        self._lock = threading.Lock()
        self._under_way: Counter[str | None] = Counter()
        self._places = 0
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"accord-{name}", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> int:
        """Requests that wait or run."""
        return self._under_way.total()

    def under_way_of(self, adapter: str | None) -> int:
        """Those of one of the engine's adapters; None is its policy as it is."""
        return self._under_way[adapter]

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive() and not self._is_stopping

    def submit(
        self,
        requests: Sequence[GenerationRequest],
        *,
        watch: Watch | None = None,
        has_place: bool = False,
    ) -> list[Ticket]:
        """Queue requests of one client, all or none. In the event loop.

        Args:
            requests: of one model, of those that the engine has.
            watch: is told of their times and counts.
            has_place: the client holds `places` for them.

        Raises:
            Busy: there is no room for them.
            Stopped: no more requests are taken.
        """
        self._loop = asyncio.get_running_loop()
        now = self._now()
        with self._lock:
            if not has_place:
                self._take(request.adapter for request in requests)
            tickets = tuple(Ticket(r, now, watch, has_place=has_place) for r in requests)
            self._commands.put(lambda: self._admit(tickets))
        return list(tickets)

    @contextlib.contextmanager
    def places(self, count: int, adapter: str | None = None) -> Iterator[None]:
        """Room for `count` rows of requests that come one after another, as an episode's actions.

        A place counts as a request under way, also between two of them. The scheduler does not stop
        before it is given back.

        Raises:
            Busy: there is no room for them.
            Stopped: no more requests are taken.
        """
        with self._lock:
            self._take([adapter] * count)
            self._places += count
        try:
            yield
        finally:
            with self._lock:
                self._under_way[adapter] -= count
                self._places -= count
            self._commands.put(lambda: None)  # wakes a thread that waits for this to stop

    async def call(self, function: Callable[[], _T]) -> _T:
        """Run a function that needs the model in this thread, between two steps.

        Raises:
            Stopped: no more is taken.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def tell(set_it: Callable[[Any], None], what: Any) -> None:
            if not future.done():
                set_it(what)

        def work() -> None:
            if future.cancelled():
                return
            try:
                found = function()
            except Exception as error:
                self._tell(loop, partial(tell, future.set_exception, error))
            else:
                self._tell(loop, partial(tell, future.set_result, found))

        with self._lock:
            self._refuse_stopped()
            self._commands.put(work)
        return await future

    async def stop(self) -> None:
        """Take no more, finish what is under way, and close the engine."""
        with self._lock:
            if not self._is_stopping:
                self._is_stopping = True
                self._commands.put(None)
        await asyncio.to_thread(self._thread.join)

    def _take(self, adapters: Iterable[str | None]) -> None:
        wanted = Counter(adapters)
        self._refuse_stopped()
        if self.under_way + wanted.total() > self.most_waiting:
            raise Busy(f"{self.under_way} requests are under way already; try again soon")
        self._under_way.update(wanted)

    def _refuse_stopped(self) -> None:
        if self._is_stopping:
            raise Stopped("this model is being unloaded; ask again")

    # Below: the thread's own.

    def _run(self) -> None:
        is_stopping = False
        while not (is_stopping and not self._rows and not self._places):
            for command in self._waiting(block=not self._rows):
                if command is None:
                    is_stopping = True
                else:
                    command()
            self._step()
        self._engine.close()

    def _waiting(self, *, block: bool) -> list[Callable[[], None] | None]:
        found = [self._commands.get()] if block else []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._commands.get_nowait())
        return found

    def _admit(self, tickets: Sequence[Ticket]) -> None:
        kept = [ticket for ticket in tickets if not ticket.is_cancelled]
        left: list[tuple[Ticket, Any]] = [(t, "cancelled") for t in tickets if t.is_cancelled]
        try:
            generations = self._engine.submit([t.request for t in kept]) if kept else []
        except AccordError as error:
            left += [(ticket, error) for ticket in kept]
        except Exception as error:
            logging.getLogger(__name__).exception("the engine refused a request")
            left += [(ticket, EngineFailed(f"{type(error).__name__}: {error}")) for ticket in kept]
        else:
            # An engine may order what it queues; every generation knows its request.
            self._rows += [_Row(t, g) for t, g in zip(kept, generations, strict=True)]
            for ticket in kept:
                if ticket.watch:
                    ticket.watch.started(self._now() - ticket.came_at)
        self._end([(ticket, news, 0) for ticket, news in left])

    def _step(self) -> None:
        """One token for all that run, and what is new to the clients."""
        for row in self._rows:
            if row.ticket.is_cancelled:
                row.generation.cancel()
        self._hand_over()
        if not self._rows:
            return
        try:
            # Which of them run is the engine's choice: it may begin with the shortest prompts.
            running = [row.generation for row in self._rows]
            running[0].advance_any(running)
        except Exception as error:
            logging.getLogger(__name__).exception("the engine failed")
            failure = EngineFailed(f"the engine failed ({type(error).__name__}: {error})")
            for row in self._rows:
                row.generation.cancel()
            failed, self._rows = self._rows, []
            self._end([(row.ticket, failure, len(row.generation.tokens)) for row in failed])
            return
        self._hand_over()

    def _hand_over(self) -> None:
        """New tokens and ends, in one call of the event loop; first tokens and ends never wait."""
        now = self._now()
        is_due = (now - self._given_at) * MOST_PIECES >= len(self._rows)
        if is_due:
            self._given_at = now
        news: list[tuple[Ticket, Any]] = []
        ended: list[tuple[Ticket, Any, int]] = []
        for row in self._rows:
            tokens, has_ended = row.generation.tokens, row.generation.finish is not None
            if len(tokens) > row.given and (is_due or has_ended or not row.given):
                row.ticket.cached_tokens = row.generation.cached_tokens
                self._time(row, now)
                news.append((row.ticket, tokens[row.given :]))
                row.given = len(tokens)
            if has_ended:
                ended.append((row.ticket, row.generation.finish, len(tokens)))
        if ended:
            self._rows = [row for row in self._rows if row.generation.finish is None]
        if news:
            self._deliver(news)
        if ended:
            self._end(ended)

    def _time(self, row: _Row, now: float) -> None:
        watch, count = row.ticket.watch, len(row.generation.tokens) - row.given
        if watch and not row.given:
            watch.first_token(now - row.last_at)
        elif watch:  # as if what is given together had come one after another
            for _ in range(count):
                watch.next_token((now - row.last_at) / count)
        row.last_at = now

    def _end(self, ended: list[tuple[Ticket, Any, int]]) -> None:
        if not ended:
            return
        with self._lock:
            self._under_way.subtract(t.request.adapter for t, _, _ in ended if not t.has_place)
        for ticket, how, count in ended:
            if ticket.watch:
                finish = how if isinstance(how, str) else "failed"
                prompt, cached = len(ticket.request.prompt_ids), ticket.cached_tokens
                ticket.watch.ended(finish, prompt, cached, count)
        self._deliver([(ticket, how) for ticket, how, _ in ended])

    def _deliver(self, news: list[tuple[Ticket, Any]]) -> None:
        def deliver() -> None:
            for ticket, what in news:
                ticket.put(what)

        assert self._loop is not None, "submit comes first"
        self._tell(self._loop, deliver)

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there
            loop.call_soon_threadsafe(what)
