"""People as a judge: what is put up comes back as numbers, and what waits is NaN."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accord.core.types import Message, Submission
from accord.judges.both_orders import ask_both_orders
from accord.judges.people_judge import PeopleGrader, PeopleJudge
from accord.store.adjudication import SqlAdjudication
from accord.store.database import Database
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue

PROJECT = "evaluation"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(path=tmp_path / "store.db")
    SqlProjects(opened).create(PROJECT)
    yield opened
    opened.close()


def prompts(count: int) -> list[list[Message]]:
    return [[{"role": "user", "content": f"q{n}"}] for n in range(count)]


def work(database: Database, annotator: str, answer: Any) -> int:
    """Do all that is open; `answer` is given the task. Returns how many were done."""
    queue = SqlTaskQueue(database)
    queue.register(annotator)
    done = 0
    while lease := queue.lease(annotator, project=PROJECT):
        queue.submit(lease, Submission(f"{annotator}-{lease.task.id[:8]}", answer(lease.task)))
        done += 1
    return done


def prefers(text: str) -> Any:
    return lambda task: {"verdict": "a" if task.responses[0] == text else "b"}


def test_pairs_wait_and_come_back(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT, overlap=2)
    asked = prompts(3), ["good", "bad", "same"], ["bad", "good", "same"]
    assert judge.publish(*asked) == 2  # identical responses are not asked about
    found = judge.collect(*asked)
    assert math.isnan(found[0]) and math.isnan(found[1]) and found[2] == 0.5
    assert work(database, "ann", prefers("good")) == 2
    assert judge.collect(*asked) == [1.0, 0.0, 0.5]
    work(database, "bob", lambda _: {"verdict": "tie"})
    assert judge.collect(*asked) == [0.75, 0.25, 0.5]


def test_publishing_twice_asks_once(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT)
    asked = prompts(1), ["x"], ["y"]
    assert judge.publish(*asked) == 1
    assert judge.publish(*asked, [{"note": "other columns"}]) == 0
    assert PeopleJudge(database, PROJECT, overlap=3).publish(prompts(1), ["y"], ["x"]) == 0


def test_both_orders_ask_people_once(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT)
    assert math.isnan(ask_both_orders(judge, prompts(1), ["x"], ["y"]).mean()[0])
    assert work(database, "ann", prefers("y")) == 1
    assert ask_both_orders(judge, prompts(1), ["x"], ["y"]).mean().tolist() == [0.0]


def test_an_empty_response_cannot_be_asked_about(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT)
    assert math.isnan(judge.compare(prompts(1), ["x"], [" "])[0])


def test_probabilities_and_decisions_count_as_what_they_are(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT)
    asked = prompts(1), ["x"], ["y"]
    judge.publish(*asked)
    work(database, "ann", lambda _: {"verdict": "a", "p_a": 0.8})  # of x, which sorts first
    assert judge.collect(*asked) == [0.8]
    assert judge.collect(prompts(1), ["y"], ["x"]) == pytest.approx([0.2])
    queue = SqlTaskQueue(database)
    queue.register("chief")
    task = judge._store.task_id(prompts(1)[0], ["x", "y"])
    SqlAdjudication(database).decide("chief", task, "b", key="decision")
    assert judge.collect(*asked) == [0.0]


def test_ratings_and_success(database: Database) -> None:
    rated = PeopleGrader(database, PROJECT, overlap=2)
    asked = prompts(2), ["x", "y"]
    assert all(map(math.isnan, rated.grade(*asked)))
    marks = {"x": 6, "y": 3}
    work(
        database,
        "ann",
        lambda task: {"ratings": {"helpful": [marks[task.responses[0]]], "honest": [1]}},
    )
    work(database, "bob", lambda task: {"ratings": {"helpful": [5], "honest": [None]}})
    assert rated.collect(*asked) == [5.5, 4.0]
    honest = PeopleGrader(database, PROJECT, attribute="honest")
    assert honest.collect(*asked) == [1.0, 1.0]

    done = PeopleGrader(database, PROJECT, kind="success")
    assert all(map(math.isnan, done.grade(*asked)))
    work(database, "ann", lambda task: {"success": task.responses[0] == "x"})
    assert done.collect(*asked) == [1.0, 0.0]
    assert {rated.name, done.name} == {
        "people of evaluation (helpful)", "people of evaluation (task success)",
    }  # fmt: skip


def test_skips_are_no_votes(database: Database) -> None:
    judge = PeopleJudge(database, PROJECT)
    judge.publish(prompts(1), ["x"], ["y"])
    queue = SqlTaskQueue(database)
    queue.register("ann")
    lease = queue.lease("ann", project=PROJECT)
    assert lease
    queue.submit(lease, Submission("s", {"reason": "unclear"}, action="skip"))
    assert math.isnan(judge.collect(prompts(1), ["x"], ["y"])[0])
