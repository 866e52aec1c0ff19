"""What training reads of the store: soft labels by hand, sides undone, and only what counts."""

import dataclasses
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.core.types import Message, Submission, Task
from accord.corpora.pairs import load_comparisons
from accord.store.database import Database
from accord.store.exporting import comparisons, demonstrations, rankings
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue

PROMPT = (Message(role="user", content="q"),)


@pytest.fixture
def queue(tmp_path: Path) -> Any:
    database = Database.open(path=tmp_path / "store.db")
    yield SqlTaskQueue(database)
    database.close()


def judge(queue: SqlTaskQueue, annotator: str, answers: dict[str, Any]) -> None:
    """Answer every task that is offered and has an answer here."""
    queue.register(annotator)
    while lease := queue.lease(annotator):
        answer = answers.get(lease.task.id)
        action: Any = "judge" if isinstance(answer, dict) else answer or "skip"
        said = answer if isinstance(answer, dict) else {}
        queue.submit(lease, Submission(uuid.uuid4().hex, said, action=action))


def pair(name: str, **values: Any) -> Task:
    base = Task(name, "p", "pairwise", PROMPT, ("good", "bad"), overlap=3)
    return dataclasses.replace(base, **values)


def put_up_pairs(queue: SqlTaskQueue, rng: Any) -> Any:
    """150 tasks for seven; True where the first response is the good one."""
    truth = rng.random(150) < 0.5
    sides = [("good", "bad") if first else ("bad", "good") for first in truth]
    queue.add([pair(str(i), overlap=7, responses=two) for i, two in enumerate(sides)])
    return truth


def test_soft_labels_by_hand(queue: SqlTaskQueue, tmp_path: Path) -> None:
    """Two for b of three: (2 + 1/2) / 4 for b. A tie and both bad: one half."""
    queue.add([pair("t", columns={"kind": "honest"}), pair("u")])
    judge(queue, "ann", {"t": {"verdict": "b", "strength": 2}, "u": {"verdict": "tie"}})
    judge(queue, "bob", {"t": {"verdict": "b"}, "u": {"verdict": "both_bad"}})
    judge(queue, "eve", {"t": {"verdict": "a"}, "u": "unsure"})
    log = SqlJudgements(queue.database)
    found = comparisons(log.current("p"), aggregation="majority")
    assert len(found.judgement_ids) == 5
    first, second = found.rows
    assert first["p_chosen"] == pytest.approx(2.5 / 4)
    assert first["chosen"] == [{"role": "assistant", "content": "bad"}]
    assert (first["votes"], first["kind"], first["task_id"]) == (3, "honest", "t")
    assert (second["p_chosen"], second["votes"]) == (0.5, 2)
    write_jsonl(tmp_path / "comparisons.jsonl", found.rows)
    read = load_comparisons([str(tmp_path / "comparisons.jsonl")])
    assert [(c.chosen, c.p_chosen) for c in read] == [("bad", 0.625), ("good", 0.5)]
    assert log.record_export(found.rows, found.judgement_ids, {"project": "p"})


@pytest.mark.parametrize("aggregation", ["dawid_skene", "one_coin", "mace"])
def test_bad_annotators_weigh_less(queue: SqlTaskQueue, aggregation: Any) -> None:
    """Three of seven throw coins: the label is nearer to the truth than the votes' share."""
    rng = np.random.default_rng(0)
    truth = put_up_pairs(queue, rng)
    for number in range(7):
        skill = 0.5 if number < 3 else 0.9
        verdicts = np.where((rng.random(150) < skill) == truth, "a", "b")
        judge(queue, f"{number}", {str(i): {"verdict": str(v)} for i, v in enumerate(verdicts)})
    standing = SqlJudgements(queue.database).current()

    def loss(way: Any) -> float:
        rows = comparisons(standing, aggregation=way).rows
        goods = [row["chosen"][0]["content"] == "good" for row in rows]
        labels = [row["p_chosen"] for row in rows]
        right = [p if is_good else 1 - p for p, is_good in zip(labels, goods, strict=True)]
        return float(-np.log(np.maximum(right, 1e-3)).mean())

    assert loss(aggregation) < 0.5 * loss("majority")


def test_the_left_is_no_argument(queue: SqlTaskQueue) -> None:
    """Four of seven press left, whatever is there."""
    rng = np.random.default_rng(1)
    truth = put_up_pairs(queue, rng)
    for number in range(7):
        queue.register(f"{number}")
        while lease := queue.lease(f"{number}"):
            honest = int((rng.random() < 0.9) != truth[int(lease.task.id)])
            said = lease.order[0] if number < 4 and rng.random() < 0.95 else honest
            answer = {"verdict": "ab"[said]}
            queue.submit(lease, Submission(uuid.uuid4().hex, answer))
    standing = SqlJudgements(queue.database).current()
    accuracy = {}
    for way in ("majority", "dawid_skene_by_side"):
        rows = comparisons(standing, aggregation=way).rows  # type: ignore[arg-type]
        accuracy[way] = np.mean([row["chosen"][0]["content"] == "good" for row in rows])
    assert accuracy["dawid_skene_by_side"] > max(0.95, accuracy["majority"] + 0.04)


def test_rankings_and_rewritten_responses(queue: SqlTaskQueue, tmp_path: Path) -> None:
    queue.add(
        [
            Task("r", "p", "ranking", PROMPT, ("x", "y", "z")),
            Task("w", "p", "rewrite", PROMPT, ("x",), columns={"kind": "helpful"}),
        ]
    )
    judge(queue, "ann", {"r": {"ranks": [2, None, 1]}, "w": {"text": "better"}})
    standing = SqlJudgements(queue.database).current()
    (ranking,) = rankings(standing).rows
    assert ranking["ranks"] == [2, None, 1]
    write_jsonl(tmp_path / "rankings.jsonl", [ranking])
    (read,) = load_comparisons([str(tmp_path / "rankings.jsonl")])
    assert (read.chosen, read.rejected) == ("z", "x")
    (rewritten,) = demonstrations(standing).rows
    assert rewritten["completion"] == [{"role": "assistant", "content": "better"}]
    assert rewritten["kind"] == "helpful"
    with pytest.raises(DataError, match="no pair was judged"):
        comparisons(standing, aggregation="majority")


def test_what_was_erased_is_in_no_export(queue: SqlTaskQueue) -> None:
    queue.add([pair("t")])
    for name in ("ann", "bob", "eve"):
        judge(queue, name, {"t": {"verdict": "a"}})
    log = SqlJudgements(queue.database)
    log.erase(annotator="bob")
    found = comparisons(log.current(), aggregation="majority")
    assert (found.rows[0]["votes"], len(found.judgement_ids)) == (2, 2)
