"""The log: what was changed is found, what is erased leaves its trace, exports lead back."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from benchmarks.annotation import kills
from sqlalchemy import delete, text, update

from accord.core.errors import ConfigError, DataError, StorageError
from accord.core.types import Message, Submission, Task
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue
from accord.store.schema import judgements, metadata
from accord.store.webhooks import SqlWebhooks


@pytest.fixture
def log(database: Database) -> SqlJudgements:
    """Four tasks, each judged by ann and bob."""
    queue = SqlTaskQueue(database)
    prompt = (Message(role="user", content="q"),)
    queue.add([Task(str(i), "p", "pairwise", prompt, ("x", "y"), overlap=2) for i in range(4)])
    for name in ("ann", "bob"):
        queue.register(name)
        while lease := queue.lease(name):
            queue.submit(lease, Submission(f"{name}-{lease.task.id}", {"verdict": "a"}))
    return SqlJudgements(database)


@pytest.mark.parametrize(
    "change",
    [
        update(judgements).where(judgements.c.sequence == 3).values(answer={"verdict": "b"}),
        update(judgements).where(judgements.c.sequence == 3).values(time_on_task_s=1.0),
        update(judgements).where(judgements.c.sequence == 3).values(annotator_id=2),
        delete(judgements).where(judgements.c.sequence == 3),
    ],
)
def test_what_was_changed_is_found(log: SqlJudgements, change: Any) -> None:
    assert log.is_whole()
    with log.database.writing() as connection:
        connection.execute(change)
    assert not log.is_whole()


def test_erasure_leaves_the_events_and_names_the_exports(log: SqlJudgements) -> None:
    rows = [{"prompt": "q", "chosen": "x", "rejected": "y"}]
    both = log.record_export(rows, ["ann-0", "bob-0"], {"project": "p"})
    bobs = log.record_export([*rows, *rows], ["bob-1", "bob-1"], {"project": "p"})
    assert log.judgements_of(both) == ["ann-0", "bob-0"]
    assert log.judgements_of(bobs) == ["bob-1"]
    assert log.erase(annotator="ann") == [both]
    assert log.is_whole()
    standing = log.current("p")
    assert len(standing) == 8
    assert {s.annotator for s in standing if s.answer is None} == {"ann"}
    assert log.erase(ids=["bob-0", "bob-1"]) == sorted([both, bobs])
    with pytest.raises(DataError, match="no export has the hash"):
        log.judgements_of("0" * 64)


def test_migrations_lead_to_the_schema(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_what_an_older_version_wrote_is_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that is filled, one that is free; both find their task's place in the order."""
    write_old(url, monkeypatch, "0001", OLD)
    database = Database.open(url)
    queue = SqlTaskQueue(database)
    with database.reading() as connection:
        kept = connection.execute(
            text("select project, rank, created_at, judgement_id from slots order by number")
        ).all()
    assert [tuple(row) for row in kept] == [("p", -2.0, 5.0, "j"), ("p", -2.0, 5.0, None)]
    found = queue.lease("ann", project="p")
    assert found is not None and found.task.id == "t"
    (project,) = SqlProjects(database).all()
    assert (project.name, project.attributes[0], project.settings) == ("p", "helpful", {})
    assert SqlProjects(database).guidelines("p").version == 1
    database.close()


def test_a_webhook_that_was_there_is_told_from_now_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old(url, monkeypatch, "0002", OLD_WEBHOOK)
    database = Database.open(url)
    hooks = SqlWebhooks(database)
    (hook,) = hooks.of("p")
    assert (hook.is_on, hook.told, hook.failures, hooks.due()) == (True, 0, 0, [])
    prompt = (Message(role="user", content="q"),)
    SqlTaskQueue(database).add([Task("t", "p", "pairwise", prompt, ("x", "y"))])
    assert hooks.due() == [hook.id]
    database.close()


def write_old(
    url: str, monkeypatch: pytest.MonkeyPatch, revision: str, statements: list[str]
) -> None:
    """A database as an older version left it."""
    with monkeypatch.context() as patch:
        patch.setattr(
            command, "upgrade", lambda config, _, run=command.upgrade: run(config, revision)
        )
        old = Database.open(url)
    with old.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))
    old.close()


OLD_WEBHOOK = [
    """insert into projects (name, title, attributes, settings, created_at)
    values ('p', 'p', '[]', '{}', 1)""",
    """insert into webhooks (project, url, secret, events, created_at)
    values ('p', 'https://example.org/', 's', '["tasks.added"]', 1)""",
]
OLD = [
    "insert into annotators (name, kind, created_at) values ('ann', 'person', 1)",
    """insert into tasks (id, project, kind, prompt, responses, policies, columns, overlap,
    priority, created_at) values ('t', 'p', 'pairwise', '[{"role": "user", "content": "q"}]',
    '["x", "y"]', '[null, null]', '{}', 2, 2, 5)""",
    "insert into slots (task_id, number, judgement_id) values ('t', 0, 'j'), ('t', 1, null)",
]


def test_opening_again_changes_nothing(log: SqlJudgements, url: str) -> None:
    again = Database.open(url)
    assert len(SqlJudgements(again).current()) == 8
    again.close()


def test_a_newer_database_is_refused(database: Database, url: str) -> None:
    with database.writing() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"written by a newer version of Accord \(schema 9999\)"):
        Database.open(url)


def test_what_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCORD_DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="give a file, or set ACCORD_DATABASE_URL"):
        Database.open()
    with pytest.raises(ConfigError, match="expected sqlite or postgresql, got mysql"):
        Database.open("mysql://u@h/d")
    with pytest.raises(ConfigError, match="not a database URL"):
        Database.open("nonsense")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="the database cannot be used"):
        Database.open(f"sqlite:///{tmp_path / 'folder'}")
    made = Database.open(path=tmp_path / "new/store.db")
    with made.reading() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]
    made.close()


@pytest.mark.slow
def test_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Fifty here; a thousand in the benchmark."""
    acknowledged, lost, is_whole = kills(tmp_path, 50)
    assert acknowledged > 100 and lost == 0 and is_whole
