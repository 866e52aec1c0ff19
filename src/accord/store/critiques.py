"""Critiques that come after the tasks: a model reads what is put up, and says what it thinks."""

from sqlalchemy import select, update

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Message, Task
from accord.store.answers import check_task
from accord.store.board import task_of
from accord.store.database import Database
from accord.store.hints import CRITIQUE, Critique
from accord.store.schema import tasks

MOST = 200
"""Tasks that are asked for at once."""


class SqlCritiques:
    """A task has one critique, given once: so it is known which one a voter has seen."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def give(self, project: str, task_id: str, critique: Critique) -> bool:
        """Put a critique to a task; False where it has the same already.

        Raises:
            NotFoundError: the project has no such task.
            DataError: the critique is none, or argues for an answer that is none to the task.
            ConflictError: the task has another.
        """
        given = critique.as_column()
        with self.database.writing() as connection:
            query = select(tasks).where(tasks.c.id == task_id, tasks.c.project == project)
            if not self.database.is_sqlite:
                query = query.with_for_update()
            row = connection.execute(query).first()
            if row is None:
                raise NotFoundError(f"project {project!r} has no task {task_id!r:.80}")
            if CRITIQUE in row.columns:
                if row.columns[CRITIQUE] == given:
                    return False
                raise ConflictError(f"task {task_id!r} has a critique already; it stays")
            columns = {**row.columns, CRITIQUE: given}
            check_task(_with_columns(task_of(row), columns))
            connection.execute(update(tasks).where(tasks.c.id == task_id).values(columns=columns))
        return True

    def wanted(self, project: str, *, limit: int = 50) -> list[Task]:
        """Tasks without a critique in the order in which they are handed out, and nothing in them
        but what is asked: no policies, and no answer keys.

        Raises:
            DataError: the limit is outside 1 to 200.
        """
        if not 1 <= limit <= MOST:
            raise DataError(f"limit is 1 to {MOST}, got {limit}")
        query = (
            select(tasks)
            .where(tasks.c.project == project, tasks.c.columns[CRITIQUE].as_string().is_(None))
            .order_by(tasks.c.priority.desc(), tasks.c.created_at, tasks.c.id)
            .limit(limit)
        )
        with self.database.reading() as connection:
            return [_bare(task_of(row)) for row in connection.execute(query)]


def _with_columns(task: Task, columns: dict[str, object]) -> Task:
    return Task(task.id, task.project, task.kind, task.prompt, task.responses, columns=columns)


def _bare(task: Task) -> Task:
    prompt = tuple(Message(role=m["role"], content=m["content"]) for m in task.prompt)
    return Task(task.id, task.project, task.kind, prompt, task.responses)
