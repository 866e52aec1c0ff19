"""What tasks are marked with, by project, and which marks want a warning."""

import pytest

from accord.core.errors import DataError
from accord.core.types import Message, Task
from accord.store.categories import categories, check_unwarned, warning_of
from accord.store.database import Database
from accord.store.queue import SqlTaskQueue


def task(name: str, project: str, **columns: object) -> Task:
    prompt = (Message(role="user", content="q"),)
    return Task(name, project, "pairwise", prompt, ("x", "y"), columns=columns)


def test_they_are_counted_by_project(database: Database) -> None:
    marks = ["violence", 'a"b', "violence", None]
    tasks = [task(f"p{n}", "p", category=mark) for n, mark in enumerate(marks)]
    tasks += [task("q0", "q", category="self-harm"), task("q1", "q"), task("r0", "r")]
    SqlTaskQueue(database).add(tasks)
    found = categories(database)
    assert found == {"p": {'a"b': 1, "violence": 2}, "q": {"self-harm": 1}}
    assert categories(database, hidden={"p"}) == {"q": {"self-harm": 1}}


def test_a_warning_is_of_what_a_project_does_not_except() -> None:
    marked = task("t", "p", category="writing")
    assert warning_of(marked, {}) == "writing"
    assert warning_of(marked, {"unwarned": ["writing"]}) is None
    assert warning_of(task("t", "p"), {}) is warning_of(task("t", "p", category=7), {}) is None
    for wrong in ("writing", [1], {"writing": True}):
        with pytest.raises(DataError, match="list of categories"):
            check_unwarned({"unwarned": wrong})
