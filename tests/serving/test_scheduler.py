"""The thread that owns an engine: order, cancellation, failure, draining; nothing by the clock."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.core.types import GenerationRequest, SamplingParams
from accord.engine.requests import CooperativeGeneration
from accord.engine.scripted import ScriptedEngine
from accord.serving.scheduler import Scheduler
from accord.serving.tickets import Busy, EngineFailed, Stopped, Ticket

END = 2


def request_of(first: int, *, most: int = 50, seed: int = 0) -> GenerationRequest:
    return GenerationRequest((first,), SamplingParams(most), seed)


def counting(request: GenerationRequest) -> list[int]:
    """20 ids that tell whose they are."""
    return [100 * request.prompt_ids[0] + i for i in range(20)]


class Gate(ScriptedEngine):
    """Stands before its step number `closes_at` until it is opened; may break at `breaks_at`."""

    def __init__(self, *, closes_at: int = -1, breaks_at: int = -1) -> None:
        super().__init__(counting, end_of_turn_id=END)
        self.steps = 0
        self.closes_at, self.breaks_at = closes_at, breaks_at
        self.is_reached, self.opened = threading.Event(), threading.Event()
        self.rows: list[int] = []

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        while not is_done():
            self.steps += 1
            if self.steps == self.closes_at:
                self.is_reached.set()
                assert self.opened.wait(30)
            if self.steps == self.breaks_at:
                raise FloatingPointError("NaN")
            before = [len(g.tokens) for g, _ in self._running]
            super()._run_until(lambda was=before: [len(g.tokens) for g, _ in self._running] != was)
            self.rows.append(len(self._running))


def running(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    run.__name__ = test.__name__
    return run


async def ids_of(ticket: Ticket) -> list[int]:
    return [token.token_id async for tokens in ticket for token in tokens]


async def pieces_of(ticket: Ticket) -> tuple[list[int], list[int]]:
    """Tokens of each piece, and all of them."""
    pieces = [tokens async for tokens in ticket]
    return [len(p) for p in pieces], [token.token_id for p in pieces for token in p]


@running
async def test_many_clients_get_their_own_and_run_together() -> None:
    engine = Gate(closes_at=2)
    scheduler = Scheduler(engine)
    tickets = [scheduler.submit([request_of(i)])[0] for i in range(1, 65)]
    engine.opened.set()
    found = await asyncio.gather(*map(ids_of, tickets))
    assert found == [[*counting(request_of(i)), END] for i in range(1, 65)]
    assert {ticket.finish for ticket in tickets} == {"stop"}
    assert max(engine.rows[2:]) == 64
    assert scheduler.under_way == 0
    await scheduler.stop()


@running
async def test_who_comes_later_joins_what_runs() -> None:
    engine = Gate(closes_at=5)
    scheduler = Scheduler(engine)
    first = scheduler.submit([request_of(1)])[0]
    await asyncio.to_thread(engine.is_reached.wait, 30)
    second = scheduler.submit([request_of(2, most=3)])[0]
    engine.opened.set()
    assert len(await ids_of(second)) == 3 and second.finish == "length"
    assert len(await ids_of(first)) == 21
    assert engine.rows[:4] == [1] * 4 and 2 in engine.rows
    await scheduler.stop()


@running
async def test_a_full_queue_refuses_all_of_a_client() -> None:
    engine = Gate(closes_at=1)
    scheduler = Scheduler(engine, most_waiting=3)
    tickets = scheduler.submit([request_of(1), request_of(2)])
    with pytest.raises(Busy):
        scheduler.submit([request_of(3), request_of(4)])
    tickets += scheduler.submit([request_of(3)])
    engine.opened.set()
    assert [len(ids) for ids in await asyncio.gather(*map(ids_of, tickets))] == [21] * 3
    assert scheduler.submit([request_of(4), request_of(5)])
    await scheduler.stop()


@running
async def test_what_is_under_way_is_known_of_each_adapter() -> None:
    class Adapted(Gate):
        def submit(self, requests: Sequence[GenerationRequest]) -> list[CooperativeGeneration]:
            return super().submit([replace(request, adapter=None) for request in requests])

    engine = Adapted(closes_at=1)
    scheduler = Scheduler(engine)
    asked = [request_of(1), *(replace(request_of(i), adapter="a") for i in (2, 3))]
    tickets = scheduler.submit(asked)
    assert [scheduler.under_way_of(name) for name in (None, "a", "b")] == [1, 2, 0]
    assert scheduler.under_way == 3
    engine.opened.set()
    await asyncio.gather(*map(ids_of, tickets))
    assert [scheduler.under_way_of(name) for name in (None, "a")] == [0, 0]
    await scheduler.stop()


@running
async def test_cancelling_frees_the_row_and_disturbs_nobody() -> None:
    engine = Gate(closes_at=4)
    scheduler = Scheduler(engine)
    leaving, staying = scheduler.submit([request_of(1), request_of(2)])
    await asyncio.to_thread(engine.is_reached.wait, 30)
    leaving.cancel()
    engine.opened.set()
    assert await ids_of(staying) == [*counting(request_of(2)), END]
    assert len(await ids_of(leaving)) == 4 and leaving.finish == "cancelled"
    assert engine.rows[-1] == 1
    assert scheduler.under_way == 0
    await scheduler.stop()


@running
async def test_cancelled_before_it_began_runs_nothing() -> None:
    engine = Gate(closes_at=1)
    scheduler = Scheduler(engine)
    first = scheduler.submit([request_of(1)])[0]
    await asyncio.to_thread(engine.is_reached.wait, 30)
    second = scheduler.submit([request_of(2)])[0]
    second.cancel()
    engine.opened.set()
    assert await ids_of(second) == [] and second.finish == "cancelled"
    assert len(await ids_of(first)) == 21
    assert set(engine.rows) == {1}
    await scheduler.stop()


@running
async def test_a_refused_request_is_told_so_and_others_go_on() -> None:
    scheduler = Scheduler(ScriptedEngine(counting, end_of_turn_id=END, context=30))
    good = scheduler.submit([request_of(1, most=21)])[0]
    bad = scheduler.submit([request_of(2, most=30)])[0]
    with pytest.raises(DataError, match="context"):
        await ids_of(bad)
    assert len(await ids_of(good)) == 21
    assert scheduler.under_way == 0
    await scheduler.stop()


@running
async def test_a_broken_step_fails_what_ran_and_nothing_after() -> None:
    engine = Gate(breaks_at=3)
    scheduler = Scheduler(engine)
    tickets = scheduler.submit([request_of(1), request_of(2)])
    for ticket in tickets:
        with pytest.raises(EngineFailed, match="NaN"):
            await ids_of(ticket)
    assert scheduler.under_way == 0
    assert len(await ids_of(scheduler.submit([request_of(3)])[0])) == 21
    await scheduler.stop()


class Closing(Gate):
    """As vLLM does, it closes itself where a step breaks."""

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        try:
            super()._run_until(is_done)
        except FloatingPointError:
            self.close()
            raise


@running
async def test_an_engine_that_closed_itself_takes_no_more() -> None:
    scheduler = Scheduler(Closing(breaks_at=3))
    (ticket,) = scheduler.submit([request_of(1)])
    with scheduler.places(1):
        with pytest.raises(EngineFailed, match="NaN"):
            await ids_of(ticket)
        assert not scheduler.is_alive
        with pytest.raises(Stopped, match="has failed"):
            scheduler.submit([request_of(2)])
        with pytest.raises(Stopped, match="has failed"):
            scheduler.submit([request_of(2)], has_place=True)
        with pytest.raises(Stopped, match="has failed"):
            await scheduler.call(lambda: None)
    await scheduler.stop()


@running
async def test_nobody_waits_for_a_thread_that_has_failed() -> None:
    class Failing(Told):
        def first_token(self, after_s: float) -> None:
            raise KeyError("bug")

    engine = Gate(closes_at=1)
    scheduler = Scheduler(engine)
    first = scheduler.submit([request_of(1)], watch=Failing())
    await asyncio.to_thread(engine.is_reached.wait, 30)
    second = scheduler.submit([request_of(2)])
    calling = asyncio.create_task(scheduler.call(lambda: "called"))
    await asyncio.sleep(0)
    engine.opened.set()
    for ticket in first + second:
        with pytest.raises(EngineFailed):
            await ids_of(ticket)
    assert await calling == "called"
    with pytest.raises(Stopped, match="has failed"):
        scheduler.submit([request_of(3)])
    assert not scheduler.is_alive
    await scheduler.stop()


@running
async def test_stopping_drains_what_is_under_way() -> None:
    engine = Gate(closes_at=2)
    scheduler = Scheduler(engine)
    ticket = scheduler.submit([request_of(1)])[0]
    await asyncio.to_thread(engine.is_reached.wait, 30)
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0)
    with pytest.raises(Stopped):
        scheduler.submit([request_of(2)])
    with pytest.raises(Stopped):
        await scheduler.call(lambda: None)
    engine.opened.set()
    assert len(await ids_of(ticket)) == 21
    await stopping
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit([request_of(1)])


@running
async def test_calls_run_in_the_engines_thread_between_steps() -> None:
    scheduler = Scheduler(Gate())
    ticket = scheduler.submit([request_of(1)])[0]
    names = await scheduler.call(lambda: threading.current_thread().name)
    assert names == "accord-engine"

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await scheduler.call(fail)
    assert len(await ids_of(ticket)) == 21
    await scheduler.stop()


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.said.append((name, *values))


@running
async def test_the_watch_is_told_of_every_token() -> None:
    told, clock = Told(), iter(range(1000))
    scheduler = Scheduler(Gate(), now=lambda: float(next(clock)))
    ticket = scheduler.submit([request_of(1, most=3)], watch=told)[0]
    await ids_of(ticket)
    names = [said[0] for said in told.said]
    assert names == ["started", "first_token", "next_token", "next_token", "ended"]
    assert told.said[-1] == ("ended", "length", 1, 0, 3)
    assert all(value > 0 for _, value in told.said[:-1])
    await scheduler.stop()


@running
async def test_tokens_of_many_rows_come_several_at_a_time() -> None:
    """A clock by which no pieces are due after the first: only first tokens and ends are given."""
    scheduler = Scheduler(Gate(), now=lambda: 0.0)
    tickets = scheduler.submit([request_of(i) for i in range(1, 5)])
    found = await asyncio.gather(*map(pieces_of, tickets))
    assert found == [([1, 20], [*counting(request_of(i)), END]) for i in range(1, 5)]
    await scheduler.stop()


@running
async def test_tokens_of_few_rows_come_one_by_one() -> None:
    clock = iter(range(1000))
    scheduler = Scheduler(Gate(), now=lambda: float(next(clock)))
    (ticket,) = scheduler.submit([request_of(1)])
    assert await pieces_of(ticket) == ([1] * 21, [*counting(request_of(1)), END])
    await scheduler.stop()


@running
async def test_the_watch_is_told_of_tokens_that_come_together() -> None:
    told = Told()
    scheduler = Scheduler(Gate(), now=lambda: 0.0)
    (ticket,) = scheduler.submit([request_of(1, most=3)], watch=told)
    await ids_of(ticket)
    names = [said[0] for said in told.said]
    assert names == ["started", "first_token", "next_token", "next_token", "ended"]
    await scheduler.stop()


def test_generations_come_back_in_the_order_of_requests() -> None:
    engine = ScriptedEngine(counting, end_of_turn_id=END)
    found: Sequence[CooperativeGeneration] = engine.submit([request_of(2), request_of(1)])
    assert [g.request.prompt_ids for g in found] == [(2,), (1,)]


@running
async def test_places_are_kept_between_requests_and_until_the_last_one() -> None:
    scheduler = Scheduler(Gate(), most_waiting=3)
    with scheduler.places(2):
        assert scheduler.under_way == 2
        for first in (1, 2):
            (ticket,) = scheduler.submit([request_of(first)], has_place=True)
            assert len(await ids_of(ticket)) == 21
            assert scheduler.under_way == 2, "rows of a place do not count twice"
        with pytest.raises(Busy):
            scheduler.submit([request_of(3), request_of(4)])
        stopping = asyncio.create_task(scheduler.stop())
        await asyncio.sleep(0)
        with pytest.raises(Stopped):
            scheduler.submit([request_of(3)])
        (ticket,) = scheduler.submit([request_of(5)], has_place=True)
        assert len(await ids_of(ticket)) == 21, "who has a place is still served"
        assert not stopping.done()
    await stopping
    assert scheduler.under_way == 0 and not scheduler.is_alive
