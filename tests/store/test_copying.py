"""A store in another database is the same store, or is none at all."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from accord.core.errors import ConfigError, ConflictError, DataError
from accord.core.types import Message, Submission, Task
from accord.store import copying
from accord.store.accounts import SqlAccounts
from accord.store.copying import backup, migrate
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.membership import SqlMembership
from accord.store.projects import SqlProjects
from accord.store.qualification import SqlQualification
from accord.store.queue import SqlTaskQueue
from accord.store.schema import judgements, metadata
from accord.store.webhooks import SqlWebhooks


def task(number: int) -> Task:
    prompt = (Message(role="user", content=f"Ask é {number} \x00 \U0001f600"),)
    responses = ("yes", "no")
    return Task(f"t{number}", "p", "pairwise", prompt, responses, columns={"x": [1.1, None]})


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Database]:
    """Of everything something: judged, undone, judged again, skipped, erased, exported."""
    database = Database.open(path=tmp_path / "source.db")
    queue, log = SqlTaskQueue(database), SqlJudgements(database)
    for name in ("Ann", "Ben"):
        queue.register(name)
    queue.add([task(n) for n in range(600)])
    SqlProjects(database).create("p")
    SqlWebhooks(database).add("p", "https://example.org/", ["judgement.created"])
    for number in range(60):
        submit(queue, "Ann", f"a{number}")
    queue.submit(queue.undo("Ann", "a3", key="u"), Submission("again", {"verdict": "tie"}))
    lease = queue.lease("Ben")
    assert lease
    queue.submit(lease, Submission("s", {"reason": "no"}, action="skip"))
    log.record_export([{"a": 1}], ["a1", "a2"], {"project": "p"})
    log.erase(ids=["a2"])
    SqlProjects(database).create("q", is_open=False)
    SqlAccounts(database).create("Ann", "annotator")
    SqlMembership(database).add("q", "Ann")
    qualification = SqlQualification(database)
    qualification.change("q", is_required=True)
    question = qualification.questions("q")[0].task.id
    qualification.answer("Ann", "q", question, Submission("", {"verdict": "a"}))
    yield database
    database.close()


def submit(queue: SqlTaskQueue, annotator: str, key: str) -> None:
    lease = queue.lease(annotator)
    assert lease
    answer = {"verdict": "a", "strength": 2}
    queue.submit(lease, Submission(key, answer, time_on_task_s=0.1 + 0.2))


def contents(database: Database) -> dict[str, Any]:
    with database.reading() as connection:
        return {
            table.name: connection.execute(
                select(table).order_by(*table.primary_key.columns)
            ).fetchall()
            for table in metadata.sorted_tables
        }


def test_the_copy_is_the_same_store(source: Database, database: Database) -> None:
    copied = migrate(source, database)
    assert copied.rows["judgements"] == 63 and copied.rows["tasks"] == 600
    assert copied.rows["webhooks"] == 1 and copied.rows["events"] == 62
    people = ("members", "qualifications", "questions", "attempts", "attempt_answers")
    assert [copied.rows[name] for name in people] == [1, 1, 18, 1, 1]
    assert contents(database) == contents(source)
    assert SqlJudgements(database).is_whole()
    # And it goes on from there: new rows get new numbers, and the chain its next event.
    queue = SqlTaskQueue(database)
    queue.register("Cem")
    submit(queue, "Cem", "new")
    assert SqlJudgements(database).record_export([{}], ["new"], {})
    assert SqlWebhooks(database).of("p")[0].waiting == 63
    assert SqlJudgements(database).is_whole()


def test_a_full_target_is_refused(source: Database, database: Database) -> None:
    SqlTaskQueue(database).register("Somebody")
    before = contents(database)
    with pytest.raises(ConflictError, match="'annotators' is not empty"):
        migrate(source, database)
    assert contents(database) == before
    with pytest.raises(ConfigError, match="onto itself"):
        migrate(source, source)


def test_nothing_is_half_done(
    source: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(table: Any, old: Any, new: Any) -> int:
        pieces = list(copying._pieces(table, old))
        for number, piece in enumerate(pieces):
            if table.name == "slots" and number == 1:
                piece[0]["leased_until"] = 7.5
            new.execute(table.insert(), piece)
        return 0

    monkeypatch.setattr(copying, "_copy", lossy)
    with pytest.raises(DataError, match="'slots' has 600 rows"):
        migrate(source, database)
    assert not any(contents(database).values())


def test_a_log_that_was_changed_is_not_copied(source: Database, database: Database) -> None:
    with source.writing() as connection:
        connection.execute(text("update judgements set time_on_task_s = 9 where sequence = 44"))
    with pytest.raises(DataError, match="event 44 of the log"):
        migrate(source, database)
    assert not any(contents(database).values())


def test_backup_during_writes(source: Database, tmp_path: Path) -> None:
    stop = threading.Event()
    acknowledged: list[str] = []

    def write() -> None:
        queue = SqlTaskQueue(source)
        while not stop.is_set():
            key = f"w{len(acknowledged)}"
            submit(queue, "Ben", key)
            acknowledged.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(acknowledged) < 5:
            pass
        before = len(acknowledged)
        count = backup(source, tmp_path / "copies" / "backup.db")
        after = len(acknowledged)
    finally:
        stop.set()
        writer.join()
    assert [p.name for p in (tmp_path / "copies").iterdir()] == ["backup.db"]
    copy = Database.open(path=tmp_path / "copies" / "backup.db")
    log = SqlJudgements(copy)
    assert log.is_whole()
    with copy.reading() as connection:
        kept = connection.execute(select(judgements.c.id)).scalars().all()
    assert len(kept) == count and 63 + before <= count <= 63 + after + 1
    assert set(acknowledged[:before]) <= set(kept)
    copy.close()


def test_backups_that_are_refused(source: Database, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("precious")
    with pytest.raises(ConflictError, match="is there already"):
        backup(source, tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "precious"
    database = sqlite3.connect(tmp_path / "source.db")
    database.execute("update judgements set annotator_id = 2 where sequence = 5")
    database.commit()
    database.close()
    with pytest.raises(DataError, match="event 5 of the log"):
        backup(source, tmp_path / "new.db")
    assert not list(tmp_path.glob("*new.db*"))
