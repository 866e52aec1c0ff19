"""Projects and their guidelines; tasks from rows, and looking through them."""

from typing import Any

import pytest

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Submission
from accord.store.database import Database
from accord.store.projects import SqlProjects, default_guidelines
from accord.store.queue import SqlTaskQueue
from accord.store.rows import tasks_of_rows
from accord.store.search import search_tasks
from accord.store.server_keys import server_key


@pytest.fixture
def projects(database: Database) -> SqlProjects:
    return SqlProjects(database, now=lambda: 5.0)


def test_a_project_starts_with_the_guidelines_that_ship(projects: SqlProjects) -> None:
    made = projects.create("chat", settings={"keys": {"a": "1"}})
    assert (made.title, made.attributes) == ("chat", ("helpful", "harmless", "honest"))
    assert made.settings == {"keys": {"a": "1"}}
    first = projects.guidelines("chat")
    assert (first.version, first.text) == (1, default_guidelines())
    for heading in ("# Helpful", "# Harmless", "# Honest", "## Edge cases"):
        assert heading in first.text
    with pytest.raises(ConflictError, match="there is a project 'chat' already"):
        projects.create("chat")


def test_guidelines_are_only_added_to(projects: SqlProjects) -> None:
    projects.create("chat", text="one")
    assert projects.add_guidelines("chat", "two").version == 2
    assert projects.guidelines("chat").text == "two"
    assert projects.guidelines("chat", 1).text == "one"
    with pytest.raises(NotFoundError, match="no guidelines of version 3"):
        projects.guidelines("chat", 3)
    with pytest.raises(NotFoundError, match="no project 'other'"):
        projects.add_guidelines("other", "x")
    for text in (" ", "x" * 100_001, "a\0b"):
        with pytest.raises(DataError, match="guidelines"):
            projects.add_guidelines("chat", text)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a?b", "50%", " a", "a\nb"])
def test_names_of_no_project(projects: SqlProjects, name: str) -> None:
    with pytest.raises(DataError, match="a project's name"):
        projects.create(name)


def test_changing_a_project(projects: SqlProjects) -> None:
    projects.create("chat")
    changed = projects.update("chat", title="Chat", attributes=["kind"], settings={"cost": 2})
    assert (changed.title, changed.attributes, changed.settings) == ("Chat", ("kind",), {"cost": 2})
    assert projects.update("chat") == changed
    assert [project.name for project in projects.all()] == ["chat"]
    for wrong in ({"attributes": []}, {"attributes": ["a", "a"]}, {"settings": {"a": "\0"}}):
        with pytest.raises(DataError):
            projects.update("chat", **wrong)
    with pytest.raises(NotFoundError, match="no project 'other'"):
        projects.update("other", title="x")


def test_a_server_s_key_stays(database: Database) -> None:
    key = server_key(database, "leases")
    assert len(key) == 32 and server_key(database, "leases") == key
    assert server_key(database, "other") != key


def tasks(*rows: dict[str, Any], kind: Any = "pairwise", overlap: int = 2) -> list[Any]:
    return tasks_of_rows(rows, project="p", kind=kind, overlap=overlap, where="f.jsonl")


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_rows_in_the_ecosystem_s_columns() -> None:
    (pair,) = tasks({"prompt": "q", "chosen": "good", "rejected": "bad", "source": "x"})
    assert sorted(pair.responses) == ["bad", "good"]
    assert (pair.columns, pair.overlap, pair.prompt[0]["content"]) == ({"source": "x"}, 2, "q")
    (shared,) = tasks(
        {"chosen": "\n\nHuman: q\n\nAssistant: x", "rejected": "\n\nHuman: q\n\nAssistant: y"}
    )
    assert sorted(shared.responses) == ["x", "y"]
    (ranking,) = tasks(
        {"prompt": "q", "completions": ["x", [message("assistant", "y")]], "ranks": [1, 2]},
        kind="ranking",
    )
    assert (ranking.kind, ranking.responses, ranking.columns) == ("ranking", ("x", "y"), {})
    (one,) = tasks({"prompt": "q", "completion": "x", "kind": "rewrite", "id": 7, "overlap": 5})
    assert (one.id, one.kind, one.overlap) == ("7", "rewrite", 5)
    (chat,) = tasks(
        {"messages": [message("user", "q"), message("assistant", "x")]},
        kind="likert",
    )
    assert (chat.prompt[0]["content"], chat.responses) == ("q", ("x",))
    (other,) = tasks({"prompt": "q", "responses": ["x", "y"], "kind": "helpful"})
    assert (other.kind, other.columns) == ("pairwise", {"kind": "helpful"})


def test_the_order_of_a_pair_tells_nothing() -> None:
    """Over many pairs the chosen stands first in about half; policies go with their responses."""
    rows = [
        {"prompt": "q", "chosen": f"c{i}", "rejected": f"r{i}", "policies": ["C", "R"]}
        for i in range(200)
    ]
    found = tasks(*rows)
    firsts = sum(task.responses[0].startswith("c") for task in found)
    assert 70 < firsts < 130
    assert all(
        p == r[0].upper() for t in found for p, r in zip(t.policies, t.responses, strict=True)
    )
    assert tasks(*rows) == found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q"}, "f.jsonl, row 2: no response; expected responses"),
        ({"prompt": "q", "responses": ["x"]}, "f.jsonl, row 2: .* needs 2 to 2 responses, got 1"),
        ({"prompt": "q", "responses": ["x", "x"]}, "row 2: .* identical"),
        ({"prompt": "q", "responses": "xy"}, "row 2: expected a list in 'responses'"),
        ({"prompt": "q", "responses": ["x", "y"], "overlap": 0}, "row 2: overlap is a whole"),
        ({"prompt": "q", "responses": ["x", "y"], "overlap": True}, "row 2: expected a number"),
        ({"prompt": "q", "responses": ["x", "y"], "priority": "high"}, "row 2: expected a number"),
        ({"prompt": "q", "responses": ["x", "y"], "policies": ["m"]}, "row 2: expected 2 policies"),
        ({"prompt": "q", "responses": ["x", "y\0"]}, "row 2: a text holds NUL"),
        ({"prompt": "q", "responses": ["x", "y"], "id": "a" * 65}, "row 2: an id has at most 64"),
        ({"prompt": "q", "responses": ["x", "y"], "v": float("nan")}, "row 2: expected finite"),
        ({"prompt": "q", "responses": ["x", "z"], "id": "1"}, "row 2: the id '1' is row 1's"),
    ],
)  # fmt: skip
def test_rows_that_are_no_tasks(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tasks({"prompt": "q", "responses": ["x", "y"], "id": "1"}, row)


def test_looking_for_tasks(database: Database) -> None:
    queue = SqlTaskQueue(database)
    texts = ["Größe", "50% off_now", 'say "hi"', "plain", "plain too"]
    rows = [{"prompt": t, "responses": ["x", "y"], "id": f"t{i}"} for i, t in enumerate(texts)]
    queue.add(tasks(*rows, overlap=1))
    queue.add(tasks({"prompt": "other", "completion": "plain", "id": "w", "kind": "rewrite"}))

    def found(**how: Any) -> list[str]:
        return [one.task.id for one in search_tasks(database, "p", **how).tasks]

    assert found(text="PLAIN") == ["t3", "t4", "w"]
    assert (found(text="öß"), found(text="50%"), found(text="_now")) == (["t0"], ["t1"], ["t1"])
    assert (found(text='"hi"'), found(text="%"), found(text="T3")) == (["t2"], ["t1"], ["t3"])
    assert found(kind="rewrite") == ["w"]
    page = search_tasks(database, "p", limit=2, offset=1)
    assert (page.total, [one.task.id for one in page.tasks]) == (6, ["t1", "t2"])
    queue.register("ann")
    lease = queue.lease("ann")
    assert lease is not None
    queue.submit(lease, Submission("k1", {"verdict": "a"}))
    lease = queue.lease("ann")
    assert lease is not None
    queue.submit(lease, Submission("k2", {}, action="flag"))
    assert found(state="done") == ["t0"]
    assert found(state="flagged") == ["t1"]
    assert len(found(state="open")) == 5
    queue.undo("ann", "k2", key="k3")
    assert found(state="flagged") == []
    for wrong in ({"limit": 0}, {"limit": 201}, {"offset": -1}, {"state": "lost"}):
        with pytest.raises(DataError):
            found(**wrong)
