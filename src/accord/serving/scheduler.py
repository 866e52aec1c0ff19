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
from typing import Any, TypeVar

from accord.core.errors import AccordError
from accord.core.types import GenerationRequest
from accord.engine.requests import CooperativeEngine
from accord.serving.tickets import Busy, Call, EngineFailed, Row, Stopped, Ticket, Watch, tell

_T = TypeVar("_T")

MOST_PIECES = 1000
"""A second for all clients: each costs the event loop, which shares the processors with the engine,
a tenth of a millisecond or two. Where there would be more, tokens come several at a time."""


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
        self._rows: list[Row] = []
        self._given_at = -math.inf
        self._lock = threading.Lock()
        self._under_way: Counter[str | None] = Counter()
        self._places = 0
        self._is_stopping = False
        self._is_broken = False
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
        return not (self._is_stopping or self._is_broken)

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
            if has_place:
                self._refuse_broken()
            else:
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
        call = Call(function)
        with self._lock:
            self._refuse_stopped()
            self._commands.put(call)
        return await call.result

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

    def _refuse_broken(self) -> None:
        if self._is_broken:
            raise Stopped("this model's engine has failed, and has to be loaded again")

    def _refuse_stopped(self) -> None:
        self._refuse_broken()
        if self._is_stopping:
            raise Stopped("this model is being unloaded; ask again")

    # Below: the thread's own.

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            logging.getLogger(__name__).exception("the scheduler failed")
            self._give_up(error)
        self._engine.close()

    def _give_up(self, error: Exception) -> None:
        """Fail who runs and who was let in meanwhile: they would wait for ever."""
        with self._lock:
            self._is_broken = True
        failure = EngineFailed(f"the scheduler failed ({type(error).__name__}: {error})")
        self._deliver([(row.ticket, failure) for row in self._rows])
        with contextlib.suppress(Exception):
            self._engine.close()  # so it refuses them
        for command in self._waiting(block=False):
            if command is not None:
                with contextlib.suppress(Exception):  # who waits has been told before it raises
                    command()

    def _serve(self) -> None:
        is_stopping = False
        while not (is_stopping and not self._rows and not self._places):
            for command in self._waiting(block=not self._rows):
                if command is None:
                    is_stopping = True
                else:
                    command()
            self._step()

    def _waiting(self, *, block: bool) -> Iterator[Callable[[], None] | None]:
        """Each leaves the queue when it is asked for; a failure at one leaves the rest there."""
        if block:
            yield self._commands.get()
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._commands.get_nowait()

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
            self._rows += [Row(t, g) for t, g in zip(kept, generations, strict=True)]
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
            with self._lock:  # before anybody is told, and asks again
                self._is_broken = self._engine.is_closed
            self._end([(row.ticket, failure, len(row.generation.tokens)) for row in failed])
            return
        self._hand_over()

    def _hand_over(self) -> None:
        """New tokens and ends, in one call of the event loop; first tokens and ends never wait."""
        now = self._now()
        pieces = sum(len(row.generation.tokens) > row.given for row in self._rows)
        is_due = (now - self._given_at) * MOST_PIECES >= pieces > 0
        if is_due:
            self._given_at = now
        news: list[tuple[Ticket, Any]] = []
        ended: list[tuple[Ticket, Any, int]] = []
        for row in self._rows:
            finish = row.generation.finish
            if is_due or finish or not row.given:
                tokens = row.take(now)
                if tokens:
                    news.append((row.ticket, tokens))
            if finish:
                ended.append((row.ticket, finish, row.given))
        if ended:
            self._rows = [row for row in self._rows if row.generation.finish is None]
        if news:
            self._deliver(news)
        if ended:
            self._end(ended)

    def _end(self, ended: list[tuple[Ticket, Any, int]]) -> None:
        if not ended:
            return
        with self._lock:
            self._under_way.subtract(t.request.adapter for t, _, _ in ended if not t.has_place)
        try:
            for ticket, how, count in ended:
                if ticket.watch:
                    finish = how if isinstance(how, str) else "failed"
                    prompt, cached = len(ticket.request.prompt_ids), ticket.cached_tokens
                    ticket.watch.ended(finish, prompt, cached, count)
        finally:
            self._deliver([(ticket, how) for ticket, how, _ in ended])

    def _deliver(self, news: list[tuple[Ticket, Any]]) -> None:
        def deliver() -> None:
            for ticket, what in news:
                ticket.put(what)

        assert self._loop is not None, "submit comes first"
        tell(self._loop, deliver)
