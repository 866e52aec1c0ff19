"""What the app gives the pages, on `app.state`; whatever is not there has a default.

    database    Database: the store (no default)
    queue       SqlTaskQueue over it: another clock, another length of leases
    projects    (Identity) -> Sequence[str]: the projects somebody may work in; default: all
    guidelines  (project) -> (version, Markdown); default: two sentences, as version 0
    attributes  (project) -> tuple[str, ...]: what a likert task rates

And on `request.state`: `identity` (see `accord.web.identity`) and `csrf`, the session's token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import select

from accord.core.errors import DataError
from accord.core.types import Lease
from accord.store.board import task_of
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue, display_seed, shown_order
from accord.store.schema import tasks
from accord.web.forms import ATTRIBUTES
from accord.web.identity import Identity

_GUIDELINES = (
    0,
    "Choose the response that serves whoever asked the best: true, useful, harmless, no longer than"
    " needed. The order of the responses means nothing.",
)


@dataclass(frozen=True)
class Setting:
    """The store and the projects' settings, as one request sees them."""

    database: Database
    queue: SqlTaskQueue
    judgements: SqlJudgements
    projects: Callable[[Identity], Sequence[str]]
    guidelines: Callable[[str], tuple[int, str]]
    attributes: Callable[[str], tuple[str, ...]]

    def check_member(self, who: Identity, project: str) -> None:
        """Refuse work in a project that is not there or not his.

        Raises:
            DataError: with the project's name.
        """
        if project not in self.projects(who):
            raise DataError(f"no project {project!r} is open to you")

    def lease_of(self, who: Identity, task_id: str, lease_id: str) -> Lease:
        """The lease behind a form, also after it ran out: the order depends on task and annotator.

        Raises:
            DataError: there is no such task in a project of his.
        """
        with self.database.reading() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one_or_none()
        if row is None or row.project not in self.projects(who):
            raise DataError(f"there is no task {task_id!r:.80}")
        task, seed = task_of(row), display_seed(task_id, who.name)
        return Lease(lease_id, task, who.name, shown_order(task, seed), seed, until=0.0)


def _setting(request: Request) -> Setting:
    state = request.app.state
    database: Database = state.database

    def given(name: str, default: Any) -> Any:
        return getattr(state, name, default)

    return Setting(
        database=database,
        queue=given("queue", None) or SqlTaskQueue(database),
        judgements=SqlJudgements(database),
        projects=given("projects", lambda _: _all_projects(database)),
        guidelines=given("guidelines", lambda _: _GUIDELINES),
        attributes=given("attributes", lambda _: ATTRIBUTES),
    )


def _all_projects(database: Database) -> list[str]:
    with database.reading() as connection:
        query = select(tasks.c.project).distinct().order_by(tasks.c.project)
        return list(connection.execute(query).scalars())


Settings = Annotated[Setting, Depends(_setting)]
