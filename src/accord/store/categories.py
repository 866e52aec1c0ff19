"""What a task is marked with (its column `category`), so that nobody meets it unwarned."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import func, select

from accord.core.errors import DataError
from accord.core.types import Task
from accord.store.database import Database
from accord.store.schema import tasks

CATEGORY = "category"
"""Column of a task. Annotators are warned before it, and may opt out of it."""
UNWARNED = "unwarned"
"""A project's setting: categories that need no warning, such as "writing"."""

_category = tasks.c.columns[CATEGORY].as_string()


def category_of(task: Task) -> str | None:
    """What a task is marked with; None where it is not."""
    found = task.columns.get(CATEGORY)
    return found if isinstance(found, str) and found else None


def warning_of(task: Task, settings: Mapping[str, Any]) -> str | None:
    """The category to warn of before a task of a project with these settings."""
    found = category_of(task)
    return None if found in settings.get(UNWARNED, ()) else found


def check_unwarned(settings: Mapping[str, Any]) -> None:
    """Refuse what is no list of categories.

    Raises:
        DataError: it is none.
    """
    given = settings.get(UNWARNED, [])
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise DataError(f"settings: {UNWARNED} is a list of categories, got {given!r:.40}")


def categories(database: Database, *, hidden: Collection[str] = ()) -> dict[str, dict[str, int]]:
    """Categories by project, each with how many tasks are marked with it.

    Args:
        database: where.
        hidden: projects to leave out.
    """
    query = (
        select(tasks.c.project, _category.label("name"), func.count().label("count"))
        .where(_category.is_not(None), tasks.c.project.not_in(list(hidden)))
        .group_by(tasks.c.project, "name")  # PostgreSQL takes two equal expressions for two
        .order_by(tasks.c.project, "name")
    )
    found: dict[str, dict[str, int]] = {}
    with database.reading() as connection:
        for row in connection.execute(query):
            found.setdefault(row.project, {})[row.name] = int(row._mapping["count"])
    return found
