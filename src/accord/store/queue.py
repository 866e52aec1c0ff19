"""Tasks and who may do them: slots that are leased, in one transaction with what fills them."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, true, update

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_json
from accord.core.types import Lease, Receipt, Submission
from accord.store.answers import check_answer
from accord.store.attempts import unqualified_in
from accord.store.board import SqlTaskBoard, annotator_id, task_of
from accord.store.categories import CATEGORY
from accord.store.chain import Event, append, known_receipt, refuse_second_undo
from accord.store.database import Database
from accord.store.display import display_seed, lease_of, shown_order
from accord.store.membership import closed_to, refuse_stranger
from accord.store.schema import accounts, judgements, slots, tasks

LEASE_S = 3600.0
"""How long a task is held for an annotator who does not come back."""
FILLING = ("judge", "unsure")
"""Actions that use a slot up: whoever looked and cannot tell has answered. After a skip or a flag
the slot is for somebody else."""


class SqlTaskQueue(SqlTaskBoard):
    """`TaskQueue` (and `TaskBoard`) over the database.

    A task has as many slots as its overlap. A slot is free, leased to one annotator for a while, or
    filled by a judgement; leasing and filling are single transactions, so a task is never done more
    often than its overlap says, however many annotators ask at once.

    Args:
        database: where.
        lease_s: how long a lease lasts.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float = LEASE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database, now=now)
        self.lease_s = lease_s

    def lease(
        self, annotator: str, *, project: str | None = None, beside: str | None = None
    ) -> Lease | None:
        """The task this annotator holds already, or the next one: highest priority, then oldest.

        None also where the project is not open to him, or where he has yet to qualify.

        Args:
            annotator: who asks.
            project: only a task of this project.
            beside: a task that he is at, and has all the time for from now. Another one is meant,
                to be there when he is done; none where he holds two already.

        Raises:
            DataError: nobody is known by that name.
        """
        with self.database.writing() as connection:
            who = annotator_id(connection, annotator)
            self.database.lease_alone(connection, who)
            now = self.now()
            wanted = [_is_welcome(connection, who)]
            barred = {*closed_to(connection, who), *unqualified_in(connection, who)}
            if barred:
                wanted.append(slots.c.project.not_in(barred))
            if project is not None:
                wanted.append(slots.c.project == project)
            is_held = slots.c.annotator_id == who, slots.c.leased_until > now
            is_open = slots.c.judgement_id.is_(None)
            if beside is not None:
                wanted.append(slots.c.task_id != beside)
                at = update(slots).where(slots.c.task_id == beside, is_open, *is_held)
                connection.execute(at.values(leased_until=now + self.lease_s))
            held = self._slot(connection, (slots.c.leased_until, *_TURN), *wanted, *is_held)
            if held is not None:
                return lease_of(held.lease, task_of(held), annotator, held.leased_until)
            every = select(func.count()).where(is_open, *is_held)
            if beside is not None and connection.execute(every).scalar_one() > 1:
                return None
            slot = self._slot(connection, _TURN, *wanted, *_is_free_for(who, now))
            if slot is None:
                return None
            lease, until = uuid.uuid4().hex, now + self.lease_s
            connection.execute(
                update(slots)
                .where(slots.c.id == slot.slot_id)
                .values(annotator_id=who, lease=lease, leased_until=until)
            )
            return lease_of(lease, task_of(slot), annotator, until)

    def _slot(
        self, connection: Connection, order: Sequence[Any], *conditions: ColumnElement[bool]
    ) -> Any:
        """The first open slot for which the conditions hold, with its task."""
        query = (
            select(slots.c.id.label("slot_id"), slots.c.lease, slots.c.leased_until, tasks)
            .join(tasks, tasks.c.id == slots.c.task_id)
            .where(slots.c.judgement_id.is_(None), *conditions)
            .order_by(*order)
            .limit(1)
        )
        if not self.database.is_sqlite:
            query = query.with_for_update(of=slots, skip_locked=True)
        return connection.execute(query).first()

    def submit(self, lease: Lease, submission: Submission) -> Receipt:
        """Keep one event and fill the slot, or free it, in one transaction.

        A lease that ran out is no reason to lose work: where the slot is still the annotator's, or
        another is free, it is filled; else the judgement is kept as surplus.

        Raises:
            DataError: the answer is none to this task.
            NotFoundError: the project is no longer open to this annotator.
            ConflictError: another body came under this key, or this annotator has judged the task.
        """
        check_answer(lease.task, submission)
        if submission.answer.get("final"):
            raise DataError(f"task {lease.task.id!r}: the last word is a reviewer's")
        body = hash_json([lease.task.id, lease.annotator, dataclasses.asdict(submission)])
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            known = known_receipt(connection, submission.key, body)
            if known is not None:
                return known
            who = annotator_id(connection, lease.annotator)
            # His next lease may be of another slot of this task, and two of one task are too many.
            self.database.lease_alone(connection, who)
            refuse_stranger(connection, who, lease.task.project)
            judged = judged_tasks(who).where(judgements.c.task_id == lease.task.id)
            if connection.execute(judged).first() is not None:
                raise ConflictError(
                    f"task {lease.task.id!r}: {lease.annotator!r} has judged it; undo that first"
                )
            slot = self._slot_to_fill(connection, who, lease)
            receipt = append(
                connection,
                Event(
                    key=submission.key,
                    task_id=lease.task.id,
                    annotator_id=who,
                    submission=submission,
                    body_sha256=body,
                    order=lease.order,
                    seed=lease.seed,
                    is_surplus=slot is None and submission.action in FILLING,
                    now=self.now(),
                ),
            )
            if slot is not None:
                fills = submission.action in FILLING
                connection.execute(
                    update(slots)
                    .where(slots.c.id == slot)
                    .values(
                        annotator_id=who if fills else None,
                        judgement_id=submission.key if fills else None,
                        lease=None,
                        leased_until=None,
                    )
                )
            return receipt

    def _slot_to_fill(self, connection: Connection, who: int, lease: Lease) -> int | None:
        """The slot that is leased to him; or, when the lease was lost, one that nobody holds."""
        mine = select(slots.c.id).where(
            slots.c.task_id == lease.task.id,
            slots.c.judgement_id.is_(None),
            slots.c.annotator_id == who,
        )
        free = (
            select(slots.c.id)
            .where(
                slots.c.task_id == lease.task.id,
                slots.c.judgement_id.is_(None),
                or_(slots.c.leased_until.is_(None), slots.c.leased_until <= self.now()),
            )
            .order_by(slots.c.number)
            .limit(1)
        )
        if not self.database.is_sqlite:
            mine, free = mine.with_for_update(), free.with_for_update(skip_locked=True)
        found = connection.execute(mine).scalar()
        return found if found is not None else connection.execute(free).scalar()

    def release(self, lease: Lease) -> None:
        """Give a task back undone; a lease that is no longer held changes nothing."""
        with self.database.writing() as connection:
            connection.execute(
                update(slots)
                .where(slots.c.lease == lease.id, slots.c.judgement_id.is_(None))
                .values(annotator_id=None, lease=None, leased_until=None)
            )

    def undo(self, annotator: str, judgement_id: str, *, key: str) -> Lease:
        """Take a judgement back: an event that supersedes it; its task is the annotator's again.

        Args:
            annotator: whose judgement it is.
            judgement_id: what is taken back; it stays in the log.
            key: of the undoing, as for `submit`.

        Raises:
            DataError: there is no such judgement of his.
            NotFoundError: the project is no longer open to him.
            ConflictError: it was taken back before, under another key.
        """
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            who = annotator_id(connection, annotator)
            is_his = judgements.c.id == judgement_id, judgements.c.annotator_id == who
            row = connection.execute(select(judgements).where(*is_his)).first()
            if row is None or row.action == "undo":
                raise DataError(f"{annotator!r} has no judgement {judgement_id!r}")
            task = task_of(connection.execute(select(tasks).where(tasks.c.id == row.task_id)).one())
            refuse_stranger(connection, who, task.project)
            seed = display_seed(task.id, annotator)
            submission = Submission(key, {"undone": judgement_id}, action="undo")
            body = hash_json([task.id, annotator, dataclasses.asdict(submission)])
            if known_receipt(connection, key, body) is None:
                refuse_second_undo(connection, judgement_id)
                event = Event(
                    key=key,
                    task_id=task.id,
                    annotator_id=who,
                    submission=submission,
                    body_sha256=body,
                    order=shown_order(task, seed),
                    seed=seed,
                    is_surplus=row.is_surplus,
                    now=self.now(),
                    supersedes=judgement_id,
                )
                append(connection, event)
                again = {"lease": uuid.uuid4().hex, "leased_until": self.now() + self.lease_s}
                connection.execute(
                    update(slots)
                    .where(slots.c.judgement_id == judgement_id)
                    .values(judgement_id=None, **again)
                )
            held = connection.execute(
                select(slots.c.lease, slots.c.leased_until).where(
                    slots.c.task_id == task.id,
                    slots.c.annotator_id == who,
                    slots.c.judgement_id.is_(None),
                )
            ).first()
            # A skip or a surplus had no slot to give back; what is handed in then looks for one.
            lease, until = held or (uuid.uuid4().hex, self.now())
            return lease_of(lease, task, annotator, until)


# Of one project's slots: as in the index `ix_slots_next`.
_TURN = (slots.c.rank, slots.c.created_at, slots.c.task_id, slots.c.number)


def _is_welcome(connection: Connection, who: int) -> ColumnElement[bool]:
    """Whether a task's category is none that the annotator has opted out of."""
    query = select(accounts.c.opted_out).where(accounts.c.annotator_id == who)
    opted_out = connection.execute(query).scalar()
    if not opted_out:
        return true()
    return func.coalesce(tasks.c.columns[CATEGORY].as_string(), "").not_in(opted_out)


def _is_free_for(who: int, now: float) -> tuple[ColumnElement[bool], ...]:
    """Whether an open slot may be leased: nobody holds it, and its task is new to the annotator."""
    other, said = slots.alias(), judged_tasks(who).where(judgements.c.task_id == slots.c.task_id)
    has_other = select(other.c.id).where(
        other.c.task_id == slots.c.task_id, other.c.annotator_id == who
    )
    return (
        or_(slots.c.leased_until.is_(None), slots.c.leased_until <= now),
        # His own expired lease he may take up again.
        or_(slots.c.annotator_id == who, ~has_other.exists()),
        ~said.exists(),
    )


def judged_tasks(who: int) -> Select[tuple[str]]:
    """Tasks of which something that an annotator said still stands, a skip included."""
    later = judgements.alias()
    return select(judgements.c.task_id).where(
        judgements.c.annotator_id == who,
        judgements.c.action != "undo",
        ~select(later.c.id).where(later.c.supersedes == judgements.c.id).exists(),
    )
