"""The log of judgements: append-only, each event chained to the one before it by hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from accord.core.errors import ConflictError
from accord.core.files import hash_json
from accord.core.types import Receipt, Submission
from accord.store.answers import finite_seconds
from accord.store.schema import annotators, judgements, tasks
from accord.store.webhooks import has_any_webhook, has_webhook, tell

START = "0" * 64
"""What the first event is chained to."""


@dataclass(frozen=True)
class Event:
    """What is to be added to the log; `submission` speaks of the task's responses in its order."""

    key: str
    task_id: str
    annotator_id: int
    submission: Submission
    body_sha256: str
    order: Sequence[int]
    seed: int
    is_surplus: bool
    now: float
    supersedes: str | None = None


def append(connection: Connection, event: Event) -> Receipt:
    """Add one event; the transaction has to be alone with the log."""
    return append_all(connection, [event])[0]


def append_all(connection: Connection, events: Sequence[Event]) -> list[Receipt]:
    """Add events, in their order; the transaction has to be alone with the log.

    An event's hash is over its answer's hash, not the answer: an answer can be erased, and the
    chain still tells that nothing else was changed.
    """
    last = connection.execute(
        select(judgements.c.sequence, judgements.c.sha256)
        .order_by(judgements.c.sequence.desc())
        .limit(1)
    ).first()
    count, previous = (0, START) if last is None else (last.sequence, last.sha256)
    rows, receipts = [], []
    for sequence, event in enumerate(events, start=count + 1):
        answer = dict(event.submission.answer)
        values = {
            "sequence": sequence,
            "id": event.key,
            "task_id": event.task_id,
            "annotator_id": event.annotator_id,
            "action": event.submission.action,
            "supersedes": event.supersedes,
            "answer_sha256": hash_json(answer),
            "body_sha256": event.body_sha256,
            "guideline_version": event.submission.guideline_version,
            "display_order": list(event.order),
            "display_seed": event.seed,
            "time_on_task_s": finite_seconds(event.submission.time_on_task_s),
            "is_surplus": event.is_surplus,
            "created_at": event.now,
            "previous_sha256": previous,
        }
        previous = hash_json(values)
        rows.append({**values, "answer": answer, "sha256": previous})
        receipts.append(Receipt(event.key, sequence, previous, event.is_surplus))
    if rows:
        connection.execute(judgements.insert(), rows)
        if has_any_webhook(connection):
            for values in rows:
                _tell(connection, values)
    return receipts


def _tell(connection: Connection, values: Mapping[str, Any]) -> None:
    """Webhooks hear of every event of the log, whoever wrote it."""
    row = connection.execute(
        select(tasks.c.project, annotators.c.name)
        .join_from(tasks, annotators, annotators.c.id == values["annotator_id"])
        .where(tasks.c.id == values["task_id"], has_webhook(tasks.c.project))
    ).first()
    if row is None:
        return
    data = {"judgement_id": values["id"], "task_id": values["task_id"], "annotator": row.name}
    if values["action"] == "undo":
        data["judgement_id"] = values["supersedes"]
        tell(connection, row.project, "judgement.undone", data, now=values["created_at"])
    else:
        data["action"] = values["action"]
        tell(connection, row.project, "judgement.created", data, now=values["created_at"])


def known_receipt(connection: Connection, key: str, body: str) -> Receipt | None:
    """What was answered to this key before.

    Raises:
        ConflictError: to another body.
    """
    row = connection.execute(select(judgements).where(judgements.c.id == key)).first()
    if row is None:
        return None
    if row.body_sha256 != body:
        raise ConflictError(f"another judgement came under the key {key!r}; make a new key")
    return Receipt(row.id, row.sequence, row.sha256, row.is_surplus)


def refuse_second_undo(connection: Connection, judgement_id: str) -> None:
    """Go on where nobody has taken a judgement back.

    Raises:
        ConflictError: somebody has.
    """
    done = select(judgements.c.id).where(judgements.c.supersedes == judgement_id)
    if connection.execute(done).first() is not None:
        raise ConflictError(f"judgement {judgement_id!r} was taken back before")


_CHAINED = tuple(
    column.name for column in judgements.c if column.name not in ("answer", "sha256", "erased_at")
)


def broken_at(connection: Connection) -> int | None:
    """The sequence number of the first event that is not what it was; None when all are.

    Found are: a field or an answer that was changed (one that was erased is none), an event that
    is missing or was put in.
    """
    previous, expected = START, 1
    for row in connection.execute(select(judgements).order_by(judgements.c.sequence)).mappings():
        values = {name: row[name] for name in _CHAINED}
        is_own = row["erased_at"] is not None or hash_json(row["answer"]) == row["answer_sha256"]
        if (
            row["sequence"] != expected
            or row["previous_sha256"] != previous
            or hash_json(values) != row["sha256"]
            or not is_own
        ):
            return int(row["sequence"])
        previous, expected = row["sha256"], expected + 1
    return None
