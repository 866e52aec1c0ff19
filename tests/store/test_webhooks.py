"""Webhooks: events are written with what they tell of, and told in order until they are taken."""

import threading
import uuid
from typing import Any

import pytest
from sqlalchemy import func, select

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Lease, Message, Submission, Task
from accord.store.adjudication import SqlAdjudication
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue
from accord.store.schema import events
from accord.store.webhooks import EVENTS, GIVE_UP_S, PAUSES_S, Happened, SqlWebhooks, Webhook

URL = "https://example.org/in?x=1"


class Clock:
    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hooks(database: Database, clock: Clock) -> SqlWebhooks:
    projects = SqlProjects(database, now=clock)
    projects.create("chat")
    projects.create("other")
    return SqlWebhooks(database, now=clock)


@pytest.fixture
def queue(database: Database, clock: Clock) -> SqlTaskQueue:
    found = SqlTaskQueue(database, now=clock)
    for name in ("ann", "bob"):
        found.register(name)
    return found


def task(name: str, project: str = "chat", overlap: int = 1) -> Task:
    prompt = (Message(role="user", content="q"),)
    return Task(name, project, "pairwise", prompt, ("x", "y"), overlap=overlap)


def leased(queue: SqlTaskQueue, who: str = "ann") -> Lease:
    found = queue.lease(who, project="chat")
    assert found is not None
    return found


def says(key: str | None = None, action: Any = "judge") -> Submission:
    answer = {"verdict": "a"} if action == "judge" else {}
    return Submission(key or uuid.uuid4().hex, answer, action=action)


def told(hooks: SqlWebhooks, hook: Webhook) -> list[Happened]:
    """Everything that waits for a webhook, taken one by one."""
    found = []
    while (pair := hooks.next(hook.id)) is not None:
        found.append(pair[1])
        hooks.took(*pair)
    return found


def kept(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count(events.c.id))).scalar_one())


def test_webhooks_are_added_changed_and_removed(hooks: SqlWebhooks) -> None:
    hook = hooks.add("chat", URL, ["tasks.added"])
    assert hook.secret not in repr(hook) and len(hook.secret) > 40
    changed = hooks.change("chat", hook.id, events=["export.created"])
    assert (changed.url, changed.events) == (hook.url, ("export.created",))
    assert changed.secret == hook.secret
    with pytest.raises(NotFoundError, match=f"'other' has no webhook {hook.id}"):
        hooks.remove("other", hook.id)
    with pytest.raises(NotFoundError, match="there is no project 'none'"):
        hooks.add("none", URL, ["tasks.added"])
    with pytest.raises(DataError, match="events: expected some of"):
        hooks.add("chat", URL, ["tasks.removed"])
    hooks.remove("chat", hook.id)
    assert hooks.of("chat") == []


@pytest.mark.parametrize(
    "wrong",
    ["ftp://h/x", "https:///x", "http://u:p@h/", "http://h:x/", "javascript:1", "http://h/ x"],
)
def test_addresses_that_are_none(hooks: SqlWebhooks, wrong: str) -> None:
    with pytest.raises(DataError, match="a webhook's address"):
        hooks.add("chat", wrong, ["tasks.added"])


def test_each_event_is_told_of_in_its_order(
    database: Database, hooks: SqlWebhooks, queue: SqlTaskQueue, clock: Clock
) -> None:
    queue.add([task("before")])
    queue.release(leased(queue))
    hook = hooks.add("chat", URL, EVENTS)
    queue.add([task("t", overlap=2), task("o", "other")])
    first = queue.submit(leased(queue), says("key-1"))
    queue.undo("ann", "key-1", key="key-2")
    lease = leased(queue, "bob")
    queue.submit(lease, says("key-3", action="unsure"))
    with pytest.raises(ConflictError):  # what does not happen is not told of
        queue.submit(lease, says("key-4"))
    queue.submit(lease, says("key-3", action="unsure"))  # nor is it told of twice
    SqlAdjudication(database, now=clock).decide("ann", lease.task.id, "b", key="key-5")
    log = SqlJudgements(database, now=clock)
    sha256 = log.record_export([{"a": 1}], [first.judgement_id], {"project": "chat"})
    about = {"judgement_id": "key-1", "task_id": "before", "annotator": "ann"}
    unsure = {"judgement_id": "key-3", "task_id": "t", "annotator": "bob", "action": "unsure"}
    final = {"judgement_id": "key-5", "task_id": "t", "annotator": "ann", "action": "judge"}
    assert hooks.due() == [hook.id] and hooks.of("chat")[0].waiting == 6
    found = told(hooks, hook)
    assert [(event.event, event.data) for event in found] == [
        ("tasks.added", {"added": 1}),
        ("judgement.created", {**about, "action": "judge"}),
        ("judgement.undone", about),
        ("judgement.created", unsure),
        ("judgement.created", final),
        ("export.created", {"sha256": sha256, "rows": 1}),
    ]
    assert len({event.key for event in found}) == 6
    assert {event.created_at for event in found} == {clock.at}
    assert hooks.due() == [] and hooks.of("chat")[0].waiting == 0


def test_only_what_somebody_waits_for_is_kept(
    database: Database, hooks: SqlWebhooks, queue: SqlTaskQueue
) -> None:
    queue.add([task("t0")])
    assert kept(database) == 0
    hook = hooks.add("chat", URL, ["tasks.added"])
    slow = hooks.add("chat", URL, ["tasks.added", "export.created"])
    queue.submit(leased(queue), says())  # neither wants it
    queue.add([task("t1")])
    queue.add([task("t2")])
    assert kept(database) == 2
    (first, second) = told(hooks, hook)
    hooks.forget()
    assert kept(database) == 2  # the other was told of none
    pair = hooks.next(slow.id)
    assert pair is not None and pair[1] == first
    hooks.took(*pair)
    hooks.forget()
    assert kept(database) == 1
    hooks.remove("chat", slow.id)
    hooks.forget()
    assert kept(database) == 0
    queue.add([task("t3")])  # and its number is a new one: else it would seem to have been told
    (third,) = told(hooks, hook)
    assert third.id > second.id


def test_one_that_fails_is_tried_again_then_switched_off_and_loses_nothing(
    hooks: SqlWebhooks, queue: SqlTaskQueue, clock: Clock
) -> None:
    hook = hooks.add("chat", URL, ["tasks.added"])
    well = hooks.add("chat", URL, ["tasks.added"])
    queue.add([task("t0")])
    queue.add([task("t1")])
    began, pauses, keys = clock.at, [], set()
    while (pair := hooks.next(hook.id)) is not None:
        keys.add(pair[1].key)
        is_on = hooks.failed(pair[0], "answered 503 " + "x" * 10_000)
        now = hooks.of("chat")[0]
        assert hooks.next(hook.id) is None and is_on == now.is_on
        pauses.append(now.next_try_at - clock.at)
        clock.at = now.next_try_at
    assert len(keys) == 1  # the second waits for the first
    assert pauses[:7] == [*PAUSES_S, PAUSES_S[-1]]
    assert GIVE_UP_S <= clock.at - began <= GIVE_UP_S + 2 * PAUSES_S[-1]
    off = hooks.of("chat")[0]
    assert (off.is_on, off.failures, off.failing_since) == (False, len(pauses), began)
    assert off.last_error is not None and off.last_error.startswith("answered 503")
    assert len(off.last_error) <= 500 and off.waiting == 2
    assert len(told(hooks, well)) == 2  # the other goes on
    hooks.forget()
    clock.at += 1e6
    assert hooks.due() == []
    on = hooks.change("chat", hook.id, is_on=True)
    assert (on.is_on, on.failures, on.waiting) == (True, 0, 2)
    assert {event.key for event in told(hooks, hook)} > keys
    assert hooks.of("chat")[0].last_error is None
    assert not hooks.change("chat", hook.id, is_on=False).is_on


def test_a_late_answer_does_not_take_the_number_back(
    hooks: SqlWebhooks, queue: SqlTaskQueue
) -> None:
    """As where two servers tell of the same."""
    hook = hooks.add("chat", URL, ["tasks.added"])
    queue.add([task("t0")])
    queue.add([task("t1")])
    slow = hooks.next(hook.id)
    assert slow is not None
    assert len(told(hooks, hook)) == 2
    hooks.took(*slow)
    assert told(hooks, hook) == []


def test_who_reads_while_many_write_misses_none(
    database: Database, hooks: SqlWebhooks, queue: SqlTaskQueue
) -> None:
    """Numbers are given in the order in which transactions end."""
    hook = hooks.add("chat", URL, ["judgement.created", "tasks.added"])
    queue.add([task(f"t{n}", overlap=8) for n in range(6)])
    names = [f"annotator {n}" for n in range(8)]
    for name in names:
        queue.register(name)
    failures: list[Exception] = []

    def work(name: str) -> None:
        try:
            while lease := queue.lease(name):
                queue.submit(lease, says())
            queue.add([task(f"from {name}", overlap=1)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    found: list[Happened] = []
    while any(thread.is_alive() for thread in threads):
        found += told(hooks, hook)
    found += told(hooks, hook)
    assert not failures
    numbers = [event.id for event in found]
    assert numbers == sorted(set(numbers))
    said = {event.data["judgement_id"] for event in found if event.event == "judgement.created"}
    assert said == {standing.id for standing in SqlJudgements(database).current()}
    assert sum(event.event == "tasks.added" for event in found) == 1 + len(names)
