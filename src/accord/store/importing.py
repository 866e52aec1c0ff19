"""Entries into the store: tasks by the hash of what they ask, judgements under derived keys."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_json
from accord.core.types import Submission, Task
from accord.store.board import SqlTaskBoard, rows_of, task_of
from accord.store.chain import Event, append_all
from accord.store.conversations import give_again, is_forgotten
from accord.store.database import Database
from accord.store.imports.entries import Entry, Options, Said
from accord.store.queue import FILLING
from accord.store.replacing import said_anew
from accord.store.schema import annotators, judgements, slots, tasks

CHUNK = 200
"""Rows that are written together: others who write wait no longer."""


@dataclass(frozen=True)
class Imported:
    """What an import added, and what was there already."""

    tasks: int = 0
    judgements: int = 0
    known: int = 0

    def __add__(self, other: "Imported") -> "Imported":
        return Imported(
            self.tasks + other.tasks, self.judgements + other.judgements, self.known + other.known
        )


class SqlImporter:
    """Puts entries into a project. The same import again changes nothing.

    Args:
        database: where.
        project: whose tasks they become.
        options: how many annotators a task is for.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        project: str,
        options: Options,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.project = project
        self.options = options
        self.now = now
        self._people: dict[str, int] = {}

    def add(self, entries: Sequence[Entry]) -> Imported:
        """Put tasks up and log what was said of them, oldest row first.

        What contradicts the store or itself is found before anything is written.

        Raises:
            DataError: somebody said two different things of one task; it names the row.
            ConflictError: a name belongs to an annotator of another kind.
        """
        self._refuse_contradictions(entries)
        board = SqlTaskBoard(self.database, now=self.now)
        for name, kind in {s.annotator: s.annotator_kind for e in entries for s in e.said}.items():
            board.register(name, kind=kind)
        with self.database.reading() as connection:
            people = connection.execute(select(annotators.c.name, annotators.c.id))
            self._people = {name: int(number) for name, number in people}
        total = Imported()
        for start in range(0, len(entries), CHUNK):
            with self.database.writing() as connection:
                self.database.chain_alone(connection)
                batch = _Batch()
                for entry in entries[start : start + CHUNK]:
                    total += self._add(connection, entry, batch)
                batch.write(connection)
        return total

    def _refuse_contradictions(self, entries: Sequence[Entry]) -> None:
        heard: dict[tuple[str, str], tuple[Said, str]] = {}
        with self.database.reading() as connection:
            people = connection.execute(select(annotators.c.name, annotators.c.kind))
            kinds = {name: str(kind) for name, kind in people}
            for entry in entries:
                task, _ = self._find(connection, entry)
                for said in entry.said:
                    name, kind = said.annotator, said.annotator_kind
                    if kinds.setdefault(name, kind) != kind:
                        raise ConflictError(
                            f"{entry.where}: annotator {name!r} is a {kinds[name]}, not a {kind}"
                        )
                    before, where = heard.setdefault((task.id, name), (said, entry.where))
                    if _content(before) != _content(said):
                        raise DataError(
                            f"{entry.where}: annotator {name!r} said another thing of the same "
                            f"task in {where}"
                        )
                    if self.options.replaces != "all":
                        self._refuse_other(connection, task, said, entry.where)

    def _refuse_other(self, connection: Connection, task: Task, said: Said, where: str) -> None:
        with_erased = self.options.replaces == "nothing"
        stored = _standing_answer(connection, task.id, said.annotator, with_erased=with_erased)
        if stored is not None and stored != _content(said):
            raise DataError(
                f"{where}: annotator {said.annotator!r} has said another thing of this task in the "
                "store; undo that there, or leave the row out"
            )

    def _find(self, connection: Connection, entry: Entry) -> tuple[Task, bool]:
        """The entry's task, and whether the store has it: by its content, or under its old id."""
        task = entry.task(self.project, self.options.overlap)
        for name in (task.id, entry.known_as):
            row = connection.execute(select(tasks).where(tasks.c.id == name)).first()
            if row is None:
                continue
            known = task_of(row)
            same = (known.project, known.kind, known.prompt, known.responses)
            if same == (task.project, task.kind, task.prompt, task.responses):
                return known, True
            if known.id == task.id and is_forgotten(known.columns):
                return task, True
        return task, False

    def _add(self, connection: Connection, entry: Entry, batch: "_Batch") -> Imported:
        if entry.task(self.project, 1).id in batch.ids:
            batch.write(connection)  # the same task twice: the second has to find the first
        task, is_known = self._find(connection, entry)
        if not is_known:
            events = {e.key: e for e in (self._event(task, said) for said in entry.said)}
            batch.add(task, list(events.values()), self.now())
            return Imported(1, len(events), len(entry.said) - len(events))
        batch.write(connection)
        added = known = 0
        for said in entry.said:
            missing = self._missing(connection, self._event(task, said), said.annotator)
            if not missing:
                known += 1
                continue
            append_all(connection, missing)
            event = missing[-1]
            self._restore(connection, task)
            if _fills(event):
                _fill(connection, event, self.now())
            added += 1
        return Imported(0, added, known)

    def _missing(self, connection: Connection, event: Event, annotator: str) -> list[Event]:
        """What the log lacks for this event to stand."""
        if self.options.replaces != "nothing":
            return said_anew(connection, event)
        is_there = select(judgements.c.id).where(judgements.c.id == event.key)
        stands = _standing_answer(connection, event.task_id, annotator) is not None
        is_known = stands or connection.execute(is_there).first() is not None
        return [] if is_known else [event]

    @staticmethod
    def _restore(connection: Connection, task: Task) -> None:
        row = connection.execute(select(tasks.c.columns).where(tasks.c.id == task.id)).one()
        if is_forgotten(row.columns):
            give_again(connection, task)

    def _event(self, task: Task, said: Said) -> Event:
        key = hash_json(["import", task.id, said.annotator])
        submission = Submission(
            key, said.answer, said.action, said.time_on_task_s, said.guideline_version
        )
        return Event(
            key=key,
            task_id=task.id,
            annotator_id=self._people[said.annotator],
            submission=submission,
            body_sha256=hash_json([task.id, said.annotator, dataclasses.asdict(submission)]),
            order=said.order or range(len(task.responses)),
            seed=said.seed,
            is_surplus=said.is_surplus,
            now=self.now() if said.created_at is None else float(said.created_at),
        )


class _Batch:
    """New tasks with what was said of them, which are written together."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._tasks: list[dict[str, Any]] = []
        self._slots: list[dict[str, Any]] = []
        self._events: list[Event] = []

    def add(self, task: Task, events: Sequence[Event], now: float) -> None:
        """A task that the store does not have."""
        filling = [event for event in events if _fills(event)]
        task = dataclasses.replace(task, overlap=max(task.overlap, len(filling)))
        task_row, slot_rows = rows_of(task, now)
        for slot, event in zip(slot_rows, filling, strict=False):
            slot |= {"annotator_id": event.annotator_id, "judgement_id": event.key}
        self.ids.add(task.id)
        self._tasks.append(task_row)
        self._slots += slot_rows
        self._events += events

    def write(self, connection: Connection) -> None:
        """All of it, and begin anew."""
        if not self.ids:
            return
        connection.execute(tasks.insert(), self._tasks)
        append_all(connection, self._events)
        connection.execute(slots.insert(), self._slots)
        for written in (self.ids, self._tasks, self._slots, self._events):
            written.clear()


def _fills(event: Event) -> bool:
    return event.submission.action in FILLING and not event.is_surplus


def _fill(connection: Connection, event: Event, now: float) -> None:
    """Fill the annotator's slot, a free one, or one more than the task had."""
    task_id, who, key = event.task_id, event.annotator_id, event.key
    mine = select(slots.c.id).where(slots.c.task_id == task_id, slots.c.annotator_id == who)
    free = (
        select(slots.c.id)
        .where(
            slots.c.task_id == task_id,
            slots.c.judgement_id.is_(None),
            slots.c.leased_until.is_(None) | (slots.c.leased_until <= now),
        )
        .order_by(slots.c.number)
        .limit(1)
    )
    if connection.dialect.name != "sqlite":  # there a writer is alone anyway
        free = free.with_for_update(skip_locked=True)
    place = connection.execute(mine).scalar() or connection.execute(free).scalar()
    filled = {"annotator_id": who, "judgement_id": key, "lease": None, "leased_until": None}
    if place is not None:
        connection.execute(update(slots).where(slots.c.id == place).values(**filled))
        return
    turn = (slots.c.task_id, slots.c.project, slots.c.rank, slots.c.created_at, slots.c.number)
    latest = select(*turn).where(slots.c.task_id == task_id).order_by(slots.c.number.desc())
    last = connection.execute(latest.limit(1)).one()._mapping
    number = last["number"] + 1
    connection.execute(slots.insert().values({**last, **filled, "number": number}))
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(overlap=number + 1))


def _standing_query() -> Select[tuple[str, str, float]]:
    later = judgements.alias()
    return (
        select(judgements.c.action, judgements.c.answer_sha256, judgements.c.erased_at)
        .join(annotators, annotators.c.id == judgements.c.annotator_id)
        .outerjoin(later, later.c.supersedes == judgements.c.id)
        .where(
            judgements.c.task_id == bindparam("task"),
            annotators.c.name == bindparam("annotator"),
            judgements.c.action != "undo",
            later.c.id.is_(None),
        )
    )


# Making it costs more than asking it, and it is asked for every judgement.
_STANDING = _standing_query()


def _standing_answer(
    connection: Connection, task_id: str, annotator: str, *, with_erased: bool = True
) -> str | None:
    """A hash of what somebody's standing judgement of a task says."""
    row = connection.execute(_STANDING, {"task": task_id, "annotator": annotator}).first()
    if row is None or (row.erased_at is not None and not with_erased):
        return None
    return hash_json([row.action, row.answer_sha256])


def _content(said: Said) -> str:
    return hash_json([said.action, hash_json(dict(said.answer))])
