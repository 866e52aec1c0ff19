"""Conversations of users with a served model: their words go with the last thing said of them.

Other tasks belong to whoever put them up; these are a user's, so an erasure takes their text, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from accord.core.types import Task
from accord.store.database import Database
from accord.store.schema import judgements, tasks

SERVED = "served"
"""Column of a task that a user gave."""
_ERASED = "erased"
_GONE = "[erased]"
_PIECE = 500
"""Names in one query: databases limit how many there may be."""


def forget_words(connection: Connection, judgement_ids: Sequence[str]) -> None:
    """Blank the conversations that these erased judgements are of, where nothing said is left."""
    others = judgements.alias()
    is_said = others.c.erased_at.is_(None), others.c.action != "undo"
    is_left = select(others.c.id).where(others.c.task_id == tasks.c.id, *is_said).exists()
    for start in range(0, len(judgement_ids), _PIECE):
        piece = judgement_ids[start : start + _PIECE]
        theirs = select(judgements.c.task_id).where(judgements.c.id.in_(piece))
        for row in connection.execute(select(tasks).where(tasks.c.id.in_(theirs), ~is_left)).all():
            if row.columns.get(SERVED):
                _write(
                    connection,
                    row.id,
                    prompt=[{"role": "user", "content": _GONE}],
                    responses=[_GONE] * len(row.responses),
                    columns={**row.columns, _ERASED: True},
                )


def is_forgotten(columns: Mapping[str, Any]) -> bool:
    """Whether a task with these columns has lost its words."""
    return bool(columns.get(SERVED) and columns.get(_ERASED))


def give_again(connection: Connection, task: Task) -> None:
    """Write a forgotten conversation's words anew: a user has said something of the same one."""
    prompt = [dict(message) for message in task.prompt]
    responses, columns = list(task.responses), dict(task.columns)
    _write(connection, task.id, prompt=prompt, responses=responses, columns=columns)


def said_before(database: Database, project: str, before: float) -> list[str]:
    """Ids of what was said of users' conversations before a time (seconds since 1970)."""
    query = (
        select(judgements.c.id, tasks.c.columns)
        .join(tasks, tasks.c.id == judgements.c.task_id)
        .where(
            tasks.c.project == project,
            judgements.c.created_at < before,
            judgements.c.erased_at.is_(None),
        )
    )
    with database.reading() as connection:
        return [row.id for row in connection.execute(query) if row.columns.get(SERVED)]


def _write(connection: Connection, task_id: str, **values: Any) -> None:
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(**values))
