"""A project that is not open is, to whoever is no member, one that is not there."""

from typing import Any

import pytest

from accord.core.errors import NotFoundError
from accord.core.types import Lease, Message, Submission, Task
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.membership import SqlMembership
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue

PEOPLE: tuple[Any, ...] = ("lead", "reviewer", "annotator", "machine")


def a_task(name: str, project: str) -> Task:
    prompt = (Message(role="user", content="q"),)
    return Task(name, project, "pairwise", prompt, ("x", "y"), overlap=9)


@pytest.fixture
def queue(database: Database) -> SqlTaskQueue:
    """Somebody of each role; a closed project, which comes first, and an open one."""
    for role in PEOPLE:
        SqlAccounts(database).create(role, role)
    SqlProjects(database).create("closed", is_open=False)
    SqlProjects(database).create("open")
    queue = SqlTaskQueue(database)
    queue.add([a_task("c", "closed"), a_task("d", "closed"), a_task("o", "open")])
    return queue


def leased(queue: SqlTaskQueue, name: str, project: str | None = None) -> Lease:
    found = queue.lease(name, project=project)
    assert found is not None
    return found


def test_who_is_given_tasks(queue: SqlTaskQueue) -> None:
    membership = SqlMembership(queue.database)
    for name in ("annotator", "machine"):
        assert queue.lease(name, project="closed") is None
        assert leased(queue, name).task.project == "open"
        assert membership.hidden_from(name) == {"closed"}
    for name in ("lead", "reviewer"):
        assert leased(queue, name).task.id == "c"
        assert membership.hidden_from(name) == set()
    membership.add("closed", "annotator")
    assert leased(queue, "annotator", "closed").task.id == "c"
    assert queue.lease("machine", project="closed") is None
    queue.register("no account")
    assert queue.lease("no account", project="closed") is None


def test_what_is_hidden_is_as_what_is_not_there(queue: SqlTaskQueue) -> None:
    membership = SqlMembership(queue.database)
    said = []
    for project in ("closed", "missing"):
        with pytest.raises(NotFoundError) as refused:
            membership.check("annotator", project)
        said.append(str(refused.value).replace(project, "X"))
    assert said[0] == said[1]
    membership.check("annotator", "open")
    membership.check("reviewer", "closed")


def test_whoever_is_taken_off_the_list_works_no_longer(queue: SqlTaskQueue) -> None:
    membership = SqlMembership(queue.database)
    for _ in range(2):  # again is no error
        membership.add("closed", "annotator")
    assert membership.members("closed") == ["annotator"]
    first = leased(queue, "annotator", "closed")
    receipt = queue.submit(first, Submission("k1", {"verdict": "a"}))
    second = leased(queue, "annotator", "closed")
    membership.remove("closed", "annotator")
    with pytest.raises(NotFoundError, match="no project 'closed'"):
        queue.submit(second, Submission("k2", {"verdict": "a"}))
    with pytest.raises(NotFoundError, match="no project 'closed'"):
        queue.undo("annotator", "k1", key="u1")
    # What was acknowledged stays so.
    assert queue.submit(first, Submission("k1", {"verdict": "a"})) == receipt
    assert queue.progress("closed")["done"] == 1
    assert membership.members("closed") == []


def test_who_and_what_is_not_there(queue: SqlTaskQueue) -> None:
    membership = SqlMembership(queue.database)
    for project, name in (("missing", "annotator"), ("closed", "nobody")):
        with pytest.raises(NotFoundError, match="there is no"):
            membership.add(project, name)
    with pytest.raises(NotFoundError, match="has no member 'machine'"):
        membership.remove("closed", "machine")
    with pytest.raises(NotFoundError, match="no project 'missing'"):
        membership.members("missing")


def test_a_project_is_closed_and_opened(queue: SqlTaskQueue) -> None:
    projects = SqlProjects(queue.database)
    assert projects.get("open").is_open and not projects.get("closed").is_open
    assert projects.update("closed", title="x").is_open is False
    projects.update("closed", is_open=True)
    assert leased(queue, "annotator").task.id == "c"
