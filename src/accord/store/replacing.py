"""What somebody says anew of a task, in place of what he said before, or of what was erased."""

import dataclasses
from typing import Literal

from sqlalchemy import Connection, select

from accord.core.files import hash_json
from accord.core.types import Submission
from accord.store.chain import Event
from accord.store.schema import judgements

Replaces = Literal["nothing", "erased", "all"]
"""What may be said anew: nothing, what was erased or taken back, or whatever was said."""


def said_anew(connection: Connection, event: Event) -> list[Event]:
    """Events by which this one comes to stand: none where the same stands already.

    What it takes the place of is undone first, so that the two are no votes before and after a
    critique.
    """
    his = select(judgements).where(
        judgements.c.task_id == event.task_id, judgements.c.annotator_id == event.annotator_id
    )
    last = connection.execute(his.order_by(judgements.c.sequence.desc())).first()
    if last is None:
        return [event]
    said = event.submission
    is_same = (last.action, last.answer_sha256) == (said.action, hash_json(dict(said.answer)))
    if is_same and last.erased_at is None:
        return []
    anew = dataclasses.replace(event, key=hash_json([event.key, last.id]))
    if last.action == "undo":
        return [anew]
    key = hash_json(["undo", last.id])
    undone = Submission(key, {"undone": last.id}, "undo")
    return [dataclasses.replace(event, key=key, submission=undone, supersedes=last.id), anew]
