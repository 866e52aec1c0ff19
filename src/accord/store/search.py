"""Tasks as a lead looks through them: by text, kind and state, a page at a time."""

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, String, and_, cast, func, or_, select

from accord.core.errors import DataError
from accord.core.types import Task
from accord.store.board import task_of
from accord.store.database import Database
from accord.store.schema import judgements, slots, tasks

State = Literal["open", "done", "flagged"]
MOST = 200
"""Tasks on one page."""


@dataclass(frozen=True)
class Found:
    """A task, how many of its slots are filled, and how many standing flags it has."""

    task: Task
    done: int
    flags: int


@dataclass(frozen=True)
class Page:
    """Some of the tasks that were found; `total` counts all."""

    total: int
    tasks: list[Found]


def search_tasks(
    database: Database,
    project: str,
    *,
    text: str = "",
    kind: str | None = None,
    state: State | None = None,
    limit: int = 50,
    offset: int = 0,
) -> Page:
    """Tasks of a project in the order in which they are handed out.

    Args:
        database: where.
        project: whose.
        text: what the id, the prompt or a response contains; letters of ASCII in any case.
        kind: of task.
        state: "open" has a slot that is not filled, "done" has none, "flagged" was flagged.
        limit: tasks on the page.
        offset: tasks before it.

    Raises:
        DataError: there is no such state, or no such page.
    """
    if state is not None and state not in get_args(State):
        raise DataError(f"state must be one of {', '.join(get_args(State))}; got {state!r}")
    if not 1 <= limit <= MOST or not 0 <= offset <= 10**9:
        raise DataError(f"a page has 1 to {MOST} tasks and starts at 0 or later")
    conditions: list[ColumnElement[bool]] = [tasks.c.project == project]
    if text:
        conditions.append(_contains(text))
    if kind is not None:
        conditions.append(tasks.c.kind == kind)
    if state == "flagged":
        conditions.append(_flags() > 0)
    elif state is not None:
        is_open = slots.c.task_id == tasks.c.id, slots.c.judgement_id.is_(None)
        has_open = select(slots.c.id).where(*is_open).exists()
        conditions.append(has_open if state == "open" else ~has_open)
    where = and_(*conditions)
    query = (
        select(tasks, _done().label("done"), _flags().label("flags"))
        .where(where)
        .order_by(tasks.c.priority.desc(), tasks.c.created_at, tasks.c.id)
    )
    with database.reading() as connection:
        total = connection.execute(select(func.count()).select_from(tasks).where(where)).scalar()
        rows = connection.execute(query.limit(limit).offset(offset)).all()
    return Page(int(total or 0), [Found(task_of(r), int(r.done), int(r.flags)) for r in rows])


def _contains(text: str) -> ColumnElement[bool]:
    # The JSON columns hold ASCII: other letters stand there as \u escapes, and quotes escaped.
    escaped = json.dumps(text)[1:-1]
    parts = [cast(column, String).icontains(escaped, autoescape=True) for column in _TEXTS]
    return or_(tasks.c.id.icontains(text, autoescape=True), *parts)


_TEXTS = (tasks.c.prompt, tasks.c.responses)


def _done() -> Any:
    is_filled = slots.c.task_id == tasks.c.id, slots.c.judgement_id.is_not(None)
    return select(func.count()).select_from(slots).where(*is_filled).scalar_subquery()


def _flags() -> Any:
    later = judgements.alias()
    stands = ~select(later.c.id).where(later.c.supersedes == judgements.c.id).exists()
    is_flag = judgements.c.task_id == tasks.c.id, judgements.c.action == "flag"
    return select(func.count()).select_from(judgements).where(*is_flag, stands).scalar_subquery()
