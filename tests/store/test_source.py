"""The store as stages see it: models and people on the same pairs."""

from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.core.types import Answered, Judgement, Message, Submission, Task
from accord.store.database import Database
from accord.store.imports.entries import task_id
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.store.source import StoredPreferences


def prompt(number: int) -> tuple[Message, ...]:
    return (Message(role="user", content=f"question {number}"),)


def judged(number: int, p_a: float, **values: Any) -> Judgement:
    verdict: Any = "tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"
    fields = {"annotator": "model", "annotator_kind": "model", "p_a": p_a, **values}
    return Judgement(
        prompt=prompt(number), response_a="yes", response_b="no", verdict=verdict, **fields
    )


def name_of(number: int) -> str:
    # "yes" has the lower hash, and is the first response of the task
    return task_id("p", "pairwise", prompt(number), ("yes", "no"))


@pytest.fixture
def store(tmp_path: Path) -> StoredPreferences:
    return StoredPreferences("p", str(tmp_path / "s.db"), may_be_new=True)


def rows(store: StoredPreferences, **values: Any) -> dict[str, float]:
    found = store.export(aggregation="majority", rule=None, seed=0, run="r", **values)
    return {
        row["prompt"][0]["content"][-1]: (
            row["p_chosen"] if row["chosen"][0]["content"] == "yes" else 1 - row["p_chosen"]
        )
        for row in found.rows
    }


def answer(store: StoredPreferences, annotator: str, verdict: str) -> int:
    """All that this person is offered; how much it was."""
    database = Database.open(path=Path(str(store.reference)))
    queue, count = SqlTaskQueue(database), 0
    queue.register(annotator)
    while (lease := queue.lease(annotator, project="p")) is not None:
        queue.submit(lease, Submission(f"{annotator}-{lease.task.id}", {"verdict": verdict}))
        count += 1
    database.close()
    return count


def test_the_reason_is_kept(store: StoredPreferences) -> None:
    store.take([judged(1, 0.5, reason="inconsistent")])
    database = Database.open(path=Path(str(store.reference)))
    (standing,) = SqlJudgements(database).current("p")
    database.close()
    assert standing.answer == {"verdict": "tie", "p_a": 0.5, "reason": "inconsistent"}


def test_people_are_heard_before_models_and_models_are_calibrated(
    store: StoredPreferences,
) -> None:
    store.take([judged(1, 0.9), judged(2, 0.9)])
    store.take([judged(2, 0.0, annotator="Ann", annotator_kind="person")])
    assert store.by_people() == {name_of(2): 0.0}
    plain = rows(store)
    assert plain["1"] == pytest.approx(0.9) and plain["2"] == pytest.approx(0.45)
    found = rows(store, calibrated={name_of(1): 0.3, name_of(2): 0.01})
    assert found["1"] == pytest.approx(0.3)
    assert found["2"] == 0.0


def test_people_are_asked_although_a_model_took_the_place(store: StoredPreferences) -> None:
    store.take([judged(1, 0.9)])
    assert answer(store, "Ann", "a") == 0
    task = Task(name_of(1), "p", "pairwise", prompt(1), ("yes", "no"), overlap=2)
    store.ask_people([task])
    store.ask_people([task])
    assert store.unfilled([task.id]) == 2
    assert [answer(store, who, "a") for who in ("Ann", "Ben", "Cem")] == [1, 1, 0]
    store.ask_people([task])
    assert store.unfilled([task.id]) == 0
    assert store.by_people() == {task.id: 1.0}


def test_answers_of_any_kind_follow_the_tasks_order(store: StoredPreferences) -> None:
    texts = ("b", "c", "a", "yes", "no")
    store.take_answers(
        [Answered("model", "model", "ranking", prompt(1), texts, {"ranks": [1, 2, 3, 4, None]})]
    )
    ratings = {"clear": [1, 2, 3, 4, None]}
    store.take_answers(
        [Answered("model", "model", "likert", prompt(1), texts, {"ratings": ratings})]
    )
    database = Database.open(path=Path(str(store.reference)))
    ranked, rated = SqlJudgements(database).current("p")
    database.close()
    wanted = dict(zip(texts, [1, 2, 3, 4, None], strict=True))
    assert ranked.task.responses != texts
    assert ranked.answer == {"ranks": [wanted[text] for text in ranked.task.responses]}
    assert rated.answer == {"ratings": {"clear": [wanted[t] for t in rated.task.responses]}}
    with pytest.raises(DataError, match="ranks"):
        store.take_answers(
            [Answered("model", "model", "ranking", prompt(2), texts, {"ranks": [1]})]
        )


def test_tasks_are_all_there(store: StoredPreferences) -> None:
    store.take([judged(n, 0.9) for n in range(3)])
    assert {task.id for task in store.tasks()} == {name_of(n) for n in range(3)}
