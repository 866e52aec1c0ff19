"""What users gave: changed, erased with its words on request or by age, and given again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from accord.core.types import Answered, Message, Submission, Task
from accord.serving.feedback import Feedback
from accord.serving.retention import DAY_S, forget_daily
from accord.store.conversations import SERVED
from accord.store.database import Database
from accord.store.importing import SqlImporter
from accord.store.imports.entries import Options
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.store.revising import SqlRevisions
from accord.store.schema import tasks
from accord.store.source import StoredPreferences
from accord.store.taking import answer_entry
from serving.test_feedback import Here, here

__all__ = ["here"]  # a fixture
WORDS = ("who?", "I am a", "I am b", "I am Ann's")


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    database = Database.open(path=path)
    try:
        yield database
    finally:
        database.close()


def words_in(path: Path) -> set[str]:
    """Which of the words stand in tasks or answers."""
    with opened(path) as database, database.reading() as connection:
        kept = [str(row) for row in connection.execute(select(tasks))]
        kept += [str(s.answer) for s in SqlJudgements(database).current()]
        assert SqlJudgements(database).is_whole()
    return {word for word in WORDS if any(word in text for text in kept)}


def test_who_changes_his_mind_is_heard_once(here: Here) -> None:
    name = here.answer()
    for up in (True, False, False, True):
        assert here.say(name, kind="thumb", up=up, replaces=True).status_code == 200
        (standing,) = here.stored()
        assert standing.answer == {"success": up}
    with opened(here.path) as database:
        assert len(SqlJudgements(database).ids_of(annotator="local:ann")) == 5  # two were undone
        assert SqlJudgements(database).is_whole()
        assert SqlRevisions(database).first_votes("feedback") == []
        with database.reading() as connection:
            assert connection.execute(select(tasks.c.overlap)).scalars().all() == [1]


@pytest.mark.parametrize("verdict", ["this", "other"])
def test_a_vote_knows_which_model_wrote_which(here: Here, verdict: str) -> None:
    a, b = here.answer("a"), here.answer("b")
    assert here.say(a, kind="vote", other_id=b, verdict=verdict).status_code == 200
    (vote,) = here.stored()
    wrote = dict(zip(vote.task.policies, vote.task.responses, strict=True))
    assert wrote == {"a@a-1": "I am a", "b@b-1": "I am b"}
    best = vote.task.policies["ab".index(vote.answer["verdict"])]  # type: ignore[index]
    assert best == {"this": "a@a-1", "other": "b@b-1"}[verdict]


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("up", [False, True])
def test_erasing_takes_the_conversation_too(here: Here, up: bool, replaces: bool) -> None:
    a, b = here.answer("a"), here.answer("b")
    here.say(a, kind="edit", text="I am Ann's")
    here.say(a, kind="vote", other_id=b, verdict="other")
    answer = here.say(a, kind="thumb", up=True)
    assert answer.json()["annotator"] == "local:ann"
    assert words_in(here.path) == set(WORDS)
    erased = here.client.post("/v1/feedback/erase", json={"user": "ann"})
    assert erased.status_code == 200 and erased.json()["exports"] == []
    assert words_in(here.path) == set()
    assert not [word for word in WORDS if word.encode() in here.path.read_bytes()]
    assert here.client.post("/v1/feedback/erase", json={"user": "bob"}).status_code == 404
    # She comes back, and says something of the same.
    assert here.say(a, kind="thumb", up=up, replaces=replaces).status_code == 200
    assert words_in(here.path) == {"who?", "I am a"}
    (standing,) = [s for s in here.stored() if s.answer]
    assert standing.answer == {"success": up} and standing.task.responses == ("I am a",)


def test_words_stay_while_another_user_has_said_something_of_them(here: Here) -> None:
    name = here.answer()
    here.say(name, kind="thumb", up=True)
    here.say(name, kind="thumb", up=False, user="bob")
    here.client.post("/v1/feedback/erase", json={"user": "ann"})
    assert words_in(here.path) == {"who?", "I am a"}
    here.client.post("/v1/feedback/erase", json={"user": "bob"})
    assert words_in(here.path) == set()


def test_what_annotators_were_given_keeps_its_words(here: Here) -> None:
    """They are the lead's, whoever is erased."""
    with opened(here.path) as database:
        queue = SqlTaskQueue(database)
        queue.register("cem")
        prompt = (Message(role="user", content="who?"),)
        queue.add([Task("t", "feedback", "success", prompt, ("I am a lead's",))])
        lease = queue.lease("cem", project="feedback")
        assert lease is not None
        queue.submit(lease, Submission("k", {"success": True}))
        SqlJudgements(database).erase(annotator="cem")
        (standing,) = SqlJudgements(database).current()
        assert standing.answer is None and standing.task.responses == ("I am a lead's",)


def said_at(path: Path, day: float, response: str, *, served: bool) -> None:
    """A thumb of that day, on a user's conversation or on a task of the lead's."""
    prompt = (Message(role="user", content="who?"),)
    columns = {SERVED: True} if served else {}
    said = Answered("u", "person", "success", prompt, (response,), {"success": True}, columns)
    with opened(path) as database:
        importer = SqlImporter(database, "feedback", Options(), now=lambda: day * DAY_S)
        importer.add([answer_entry(said)])


def test_retention_erases_what_users_said_longer_ago(here: Here) -> None:
    said_at(here.path, 1, "I am a", served=True)
    said_at(here.path, 2, "I am Ann's", served=False)
    said_at(here.path, 20, "I am b", served=True)
    days: list[float] = []
    left: list[set[str]] = []

    async def sleep(seconds: float) -> None:
        assert seconds == DAY_S
        days.append(seconds)
        left.append(words_in(here.path))
        if len(days) == 3:
            raise asyncio.CancelledError

    store = StoredPreferences("feedback", str(here.path))
    now = lambda: (30.5 + len(days)) * DAY_S  # noqa: E731
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(forget_daily(Feedback(store, retention_days=30.0, now=now), sleep=sleep))
    assert left == [set(WORDS), set(WORDS) - {"I am a"}, set(WORDS) - {"I am a"}]
    answers = {s.task.responses[0]: s.answer for s in here.stored()}
    assert answers["I am Ann's"] and answers["I am b"] and answers["[erased]"] is None


def test_nothing_is_forgotten_without_a_retention(here: Here) -> None:
    async def sleep(_: Any) -> None:
        raise AssertionError

    store = StoredPreferences("feedback", str(here.path))
    asyncio.run(forget_daily(Feedback(store), sleep=sleep))
    asyncio.run(forget_daily(Feedback(None, retention_days=1.0), sleep=sleep))


def test_a_store_that_is_away_is_asked_again(here: Here) -> None:
    asked: list[float] = []

    class Away:
        def forget(self, *, before: float) -> Any:
            asked.append(before)
            raise OSError("no such disk")

    async def sleep(_: float) -> None:
        if len(asked) == 2:
            raise asyncio.CancelledError

    away: Any = Away()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(forget_daily(Feedback(away, retention_days=1.0, now=lambda: 1e6), sleep=sleep))
    assert asked == [1e6 - DAY_S] * 2
