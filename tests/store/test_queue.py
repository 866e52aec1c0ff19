"""Tasks, leases and judgements: the contract, under clocks that jump and many hands at once."""

import dataclasses
import math
import random
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from accord.core.errors import ConflictError, DataError
from accord.core.types import Lease, Message, Submission, Task
from accord.store.answers import finite_seconds
from accord.store.database import Database
from accord.store.exporting import comparisons
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.store.schema import annotators, judgements, slots


class Clock:
    """A clock that goes where it is told."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(database: Database, clock: Clock) -> SqlTaskQueue:
    found = SqlTaskQueue(database, lease_s=60, now=clock)
    for name in ("ann", "bob", "eve"):
        found.register(name)
    return found


@pytest.fixture
def log(database: Database, clock: Clock) -> SqlJudgements:
    return SqlJudgements(database, now=clock)


def task(name: str = "t", **values: Any) -> Task:
    prompt = (Message(role="user", content=f"question {name}"),)
    base = Task(name, "p", "pairwise", prompt, ("one", "two"), policies=("sft", None))
    return dataclasses.replace(base, **values)


def says(verdict: str = "a", key: str | None = None, **values: Any) -> Submission:
    answer = values.pop("answer", {"verdict": verdict})
    return Submission(key or uuid.uuid4().hex, answer, **values)


def leased(queue: SqlTaskQueue, annotator: str) -> Lease:
    found = queue.lease(annotator)
    assert found is not None
    return found


# One hand ----------------------------------------------------------------------------------------


def test_a_task_is_given_judged_and_kept(queue: SqlTaskQueue, log: SqlJudgements) -> None:
    assert queue.lease("ann") is None
    assert queue.add([task(columns={"kind": "harmful"})]) == 1
    lease = leased(queue, "ann")
    assert lease.task == task(columns={"kind": "harmful"})
    assert queue.progress("p") == {"tasks": 1, "slots": 1, "done": 0, "leased": 1, "free": 0}
    receipt = queue.submit(
        lease,
        says("b", answer={"verdict": "b", "strength": 3}, time_on_task_s=4.5, guideline_version=2),
    )
    (kept,) = log.current("p")
    assert (kept.id, kept.annotator, kept.annotator_kind) == (receipt.judgement_id, "ann", "person")
    assert kept.answer == {"verdict": "b", "strength": 3}
    assert (kept.time_on_task_s, kept.guideline_version) == (4.5, 2)
    assert (kept.order, kept.seed) == (lease.order, lease.seed)
    assert kept.task.policies == ("sft", None)
    assert not kept.is_surplus and receipt.sequence == 1
    assert queue.progress("p") == {"tasks": 1, "slots": 1, "done": 1, "leased": 0, "free": 0}
    assert queue.lease("bob") is None and log.current("other") == []


def test_a_lease_is_held_until_it_is_given_back_or_runs_out(
    queue: SqlTaskQueue, clock: Clock
) -> None:
    queue.add([task("t"), task("u", priority=1.0)])
    first = leased(queue, "ann")
    assert first.task.id == "u"  # the more urgent one
    assert leased(queue, "ann") == first  # whoever asks again holds the same
    assert leased(queue, "bob").task.id == "t"
    assert queue.lease("eve") is None
    queue.release(first)
    assert leased(queue, "eve").task.id == "u"
    clock.at += 61
    assert leased(queue, "ann").task.id == "u"  # eve's ran out
    queue.release(first)  # a lease that is gone gives nothing back
    assert queue.progress("p")["leased"] == 1


def test_orders_are_drawn_by_task_and_annotator(queue: SqlTaskQueue) -> None:
    queue.add([task(str(i), overlap=2) for i in range(30)])
    orders: dict[str, list[tuple[int, ...]]] = {"ann": [], "bob": []}
    for name, found in orders.items():
        while lease := queue.lease(name):
            found.append(lease.order)
            queue.submit(lease, says())
    assert all(len(found) == 30 and 5 < found.count((0, 1)) < 25 for found in orders.values())
    assert orders["ann"] != orders["bob"]


@pytest.mark.parametrize("action", ["skip", "flag", "unsure"])
def test_skip_flag_and_unsure_are_different(
    queue: SqlTaskQueue, log: SqlJudgements, action: Any
) -> None:
    """Only the unsure have answered; what was skipped or flagged goes to somebody else."""
    queue.add([task()])
    queue.submit(leased(queue, "ann"), says(action=action, answer={"reason": "no"}))
    assert [s.action for s in log.current("p")] == [action]
    assert queue.progress("p")["done"] == (action == "unsure")
    assert queue.lease("ann") is None  # not again
    assert (queue.lease("bob") is None) == (action == "unsure")


def test_overlap_is_of_different_people(queue: SqlTaskQueue) -> None:
    queue.add([task(overlap=2)])
    queue.submit(leased(queue, "ann"), says())
    assert queue.lease("ann") is None
    queue.submit(leased(queue, "bob"), says())
    assert queue.lease("eve") is None


# The task after this one --------------------------------------------------------------------------


def ahead(queue: SqlTaskQueue, annotator: str, lease: Lease) -> Lease:
    found = queue.lease(annotator, beside=lease.task.id)
    assert found is not None
    return found


def test_the_next_task_is_held_beside_this_one(queue: SqlTaskQueue, clock: Clock) -> None:
    queue.add([task(str(i)) for i in range(4)])
    first = leased(queue, "ann")
    second = ahead(queue, "ann", first)
    assert (first.task.id, second.task.id) == ("0", "1")  # in their order
    assert ahead(queue, "ann", first) == second  # no third one, however often he asks
    assert queue.lease("ann") == first and queue.progress("p")["leased"] == 2
    assert leased(queue, "bob").task.id == "2"
    queue.submit(first, says())
    assert queue.lease("ann") == second
    queue.release(second)  # he leaves
    assert leased(queue, "eve").task.id == "1"
    assert leased(queue, "ann").task.id == "3"
    assert queue.lease("ann", beside="3") is None  # the others hold the rest


def test_time_for_a_task_counts_from_when_he_comes_to_it(queue: SqlTaskQueue, clock: Clock) -> None:
    queue.add([task(str(i)) for i in range(3)])
    first = leased(queue, "ann")
    second = ahead(queue, "ann", first)
    clock.at += 50
    queue.submit(first, says())
    third = ahead(queue, "ann", second)
    clock.at += 50  # within 60 s of the second, and of the third
    assert queue.lease("bob") is None
    assert not queue.submit(second, says()).is_surplus
    clock.at += 11
    assert leased(queue, "bob").task.id == third.task.id  # a lease ahead runs out like any other
    assert queue.submit(third, says()).is_surplus


def test_what_was_taken_back_comes_before_a_third_task(queue: SqlTaskQueue) -> None:
    """He is at 1 with 2 ahead and takes 0 back: 2 is given back, and 1 is what comes after 0."""
    queue.add([task(str(i)) for i in range(4)])
    receipt = queue.submit(leased(queue, "ann"), says())
    first = leased(queue, "ann")
    queue.release(ahead(queue, "ann", first))
    again = queue.undo("ann", receipt.judgement_id, key="u")
    assert ahead(queue, "ann", again) == first
    queue.submit(again, says("b"))
    assert queue.lease("ann") == first


def test_a_task_held_in_another_project_counts(queue: SqlTaskQueue) -> None:
    queue.add([task("a"), task("b"), task("c", project="q")])
    assert queue.lease("ann", project="q") is not None
    first = queue.lease("ann", project="p")
    assert first is not None
    assert queue.lease("ann", project="p", beside=first.task.id) is None
    assert queue.progress("p")["leased"] == 1


# The same again, and late ------------------------------------------------------------------------


def test_a_repeated_submit_is_one_judgement(queue: SqlTaskQueue, log: SqlJudgements) -> None:
    queue.add([task(overlap=2)])
    lease = leased(queue, "ann")
    first = queue.submit(lease, says("a", key="k"))
    assert queue.submit(lease, says("a", key="k")) == first
    with pytest.raises(ConflictError, match="another judgement came under the key 'k'"):
        queue.submit(lease, says("b", key="k"))
    with pytest.raises(ConflictError, match="'ann' has judged it; undo that first"):
        queue.submit(lease, says("b", key="l"))
    assert [s.answer for s in log.current()] == [{"verdict": "a"}]
    other = leased(queue, "bob")
    with pytest.raises(ConflictError, match="under the key 'k'"):
        queue.submit(other, says("a", key="k"))


def test_late_work_is_kept(queue: SqlTaskQueue, log: SqlJudgements, clock: Clock) -> None:
    queue.add([task()])
    late = leased(queue, "ann")
    clock.at += 61
    assert not queue.submit(late, says()).is_surplus  # nobody took the slot meanwhile
    queue.add([task("u")])
    late = leased(queue, "ann")
    clock.at += 61
    other = leased(queue, "bob")
    assert queue.submit(late, says("b")).is_surplus  # bob holds it
    assert not queue.submit(other, says("a")).is_surplus
    assert [s.is_surplus for s in log.current()] == [False, True, False]
    assert queue.progress("p") == {"tasks": 2, "slots": 2, "done": 2, "leased": 0, "free": 0}


def test_a_clock_that_jumps_back_loses_nothing(
    queue: SqlTaskQueue, log: SqlJudgements, clock: Clock
) -> None:
    queue.add([task(overlap=2)])
    lease = leased(queue, "ann")
    clock.at -= 100_000
    assert leased(queue, "ann") == lease
    assert not queue.submit(lease, says()).is_surplus
    assert leased(queue, "bob").task.id == "t"
    clock.at += 10_000_000
    assert len(log.current()) == 1 and log.is_whole()


# Undo --------------------------------------------------------------------------------------------


def test_undo_supersedes_and_gives_the_task_back(queue: SqlTaskQueue, log: SqlJudgements) -> None:
    queue.add([task()])
    receipt = queue.submit(leased(queue, "ann"), says("a"))
    again = queue.undo("ann", receipt.judgement_id, key="u1")
    assert log.current() == [] and queue.progress("p")["leased"] == 1
    assert queue.undo("ann", receipt.judgement_id, key="u1") == again  # the same, and its lease
    assert queue.lease("ann") == again
    with pytest.raises(ConflictError, match="was taken back before"):
        queue.undo("ann", receipt.judgement_id, key="u2")
    assert queue.lease("bob") is None
    queue.submit(again, says("b"))
    assert [s.answer for s in log.current()] == [{"verdict": "b"}]
    with queue.database.reading() as connection:
        actions = connection.execute(select(judgements.c.action)).scalars().all()
    assert actions == ["judge", "undo", "judge"]  # nothing is gone
    assert log.is_whole()


def test_ten_can_be_undone_one_by_one(queue: SqlTaskQueue, log: SqlJudgements) -> None:
    queue.add([task(str(i)) for i in range(12)])
    while lease := queue.lease("ann"):
        queue.submit(lease, says())
    last = log.of("ann", last=10)
    assert len(last) == 10 and last[0].created_at >= last[-1].created_at
    for standing in last:
        queue.release(queue.undo("ann", standing.id, key=uuid.uuid4().hex))
    assert len(log.current()) == 2 and queue.progress("p")["free"] == 10


def test_only_ones_own_can_be_undone(queue: SqlTaskQueue) -> None:
    queue.add([task()])
    receipt = queue.submit(leased(queue, "ann"), says())
    with pytest.raises(DataError, match="'bob' has no judgement"):
        queue.undo("bob", receipt.judgement_id, key="u")
    with pytest.raises(DataError, match="'ann' has no judgement 'none'"):
        queue.undo("ann", "none", key="u")


# Bad input ---------------------------------------------------------------------------------------


def test_the_unknown_is_refused(queue: SqlTaskQueue) -> None:
    queue.add([task()])
    with pytest.raises(DataError, match="nobody is known as annotator 'zoe'"):
        queue.lease("zoe")
    with pytest.raises(ConflictError, match="'ann' is a person, not a model"):
        queue.register("ann", kind="model")
    assert queue.add([task()]) == 0
    with pytest.raises(ConflictError, match="another task has this id"):
        queue.add([task("new"), task(overlap=3)])
    assert queue.progress("p")["tasks"] == 1  # all or none


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"responses": ("one",)}, "needs 2 to 2 responses, got 1"),
        ({"responses": ("one", "one")}, "two responses are identical"),
        ({"responses": ("one", " ")}, "a response is empty"),
        ({"overlap": 0}, "overlap must be at least 1"),
        ({"policies": ("x",)}, "1 policies for 2 responses"),
        ({"kind": "ranking", "responses": ("one",)}, "a ranking task needs 2"),
    ],
)
def test_tasks_that_nobody_could_answer(
    queue: SqlTaskQueue, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        queue.add([task(**values)])


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("pairwise", {"verdict": "both_bad"}, {"verdict": "c"}),
        ("pairwise", {"verdict": "a", "strength": 4}, {"verdict": "tie", "strength": 1}),
        ("ranking", {"ranks": [2, 1, None]}, {"ranks": [1, None, None]}),
        ("ranking", {"ranks": [1, 1, 2]}, {"ranks": [1, 2]}),
        ("likert", {"ratings": {"honest": [1, 7, None]}}, {"ratings": {"honest": [0, 7, 3]}}),
        ("rewrite", {"text": "better", "response": 2}, {"text": "better", "response": 3}),
        ("critique", {"text": "too long"}, {"text": " "}),
        ("success", {"success": False}, {"success": "yes"}),
        ("success", {"success": True}, {"success": True, "unheard": 1}),
    ],
)
def test_answers_by_kind(
    queue: SqlTaskQueue, log: SqlJudgements, kind: Any, good: Any, bad: Any
) -> None:
    count = 2 if kind == "pairwise" else 3
    queue.add([task(kind=kind, responses=("x", "y", "z")[:count], policies=())])
    lease = leased(queue, "ann")
    with pytest.raises(DataError, match=f"task 't', a {kind} task"):
        queue.submit(lease, says(answer=bad))
    queue.submit(lease, says(answer=good))
    assert [s.answer for s in log.current()] == [good]


# Many hands --------------------------------------------------------------------------------------


def held_by(database: Database, now: float) -> Counter[int]:
    """How many tasks each annotator holds."""
    query = select(slots.c.annotator_id).where(
        slots.c.judgement_id.is_(None), slots.c.leased_until > now
    )
    with database.reading() as connection:
        return Counter(connection.execute(query).scalars())


@pytest.mark.parametrize("is_ahead", [False, True])
def test_64_at_once_never_exceed_the_overlap(database: Database, is_ahead: bool) -> None:
    """Every slot is filled once; also where each holds the next task beside the one that he is at,
    and now and then leaves and gives it back."""
    queue = SqlTaskQueue(database)
    names = [f"annotator {i}" for i in range(64)]
    for name in names:
        queue.register(name)
    queue.add([task(str(i), overlap=4) for i in range(30)])
    failures: list[Exception] = []
    most: list[int] = []

    def work(name: str) -> None:
        draw = random.Random(name)
        try:
            while lease := queue.lease(name):
                ahead = queue.lease(name, beside=lease.task.id) if is_ahead else None
                assert ahead is None or ahead.task.id != lease.task.id
                queue.submit(lease, says())
                if ahead is not None and draw.random() < 0.3:
                    queue.release(ahead)
                elif ahead is not None:
                    queue.submit(ahead, says())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most += held_by(database, queue.now()).values()
    for name in names:  # what was given back after the others had left
        work(name)
    assert not failures
    assert max(most) <= 1 + is_ahead
    standing = SqlJudgements(database).current()
    assert not any(s.is_surplus for s in standing)
    assert Counter(s.task.id for s in standing) == {str(i): 4 for i in range(30)}
    assert len({(s.task.id, s.annotator) for s in standing}) == 120
    assert SqlJudgements(database).is_whole()


def test_one_annotator_at_many_desks_holds_one_task_and_the_next(database: Database) -> None:
    queue = SqlTaskQueue(database)
    queue.register("ann")
    queue.add([task(str(i)) for i in range(20)])
    (first,) = asked_at_once(queue, None)
    assert held_by(database, queue.now()).total() == 1
    (second,) = asked_at_once(queue, first)
    assert first != second and held_by(database, queue.now()).total() == 2


def asked_at_once(queue: SqlTaskQueue, beside: str | None) -> set[str]:
    """The tasks that ann gets who asks eight times at the same moment."""
    start = threading.Barrier(8)
    found: list[str] = []

    def ask() -> None:
        start.wait()
        lease = queue.lease("ann", beside=beside)
        assert lease is not None
        found.append(lease.task.id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    return set(found)


@pytest.mark.parametrize("reason", ["a\0", "x" * 200_001])
def test_what_no_database_should_keep_is_refused(queue: SqlTaskQueue, reason: str) -> None:
    queue.add([task()])
    lease = queue.lease("ann")
    assert lease is not None
    with pytest.raises(DataError):
        queue.submit(lease, Submission("k", {"verdict": "a", "reason": reason}))
    assert queue.progress(lease.task.project)["done"] == 0


@pytest.mark.parametrize(
    ("told", "kept"),
    [(12, 12.0), (-1, None), (math.nan, None), (math.inf, None), (1e300, None), (86_401, None)],
)
def test_a_clock_that_is_wrong_tells_nothing(told: float, kept: float | None) -> None:
    assert finite_seconds(told) == kept


def test_an_export_of_what_was_erased_meanwhile_is_refused(
    queue: SqlTaskQueue, log: SqlJudgements
) -> None:
    queue.add([task()])
    queue.submit(leased(queue, "ann"), says())
    made = comparisons(log.current("p"), aggregation="majority")
    assert log.erase(annotator="ann") == []
    with pytest.raises(ConflictError, match="erased meanwhile"):
        log.record_export(made.rows, made.judgement_ids, {"project": "p"})


def test_a_reader_sees_one_moment(queue: SqlTaskQueue, database: Database) -> None:
    count = select(func.count()).select_from(annotators)
    with database.reading() as connection:
        before = connection.execute(count).scalar_one()
        queue.register("late")
        assert connection.execute(count).scalar_one() == before
