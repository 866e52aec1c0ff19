"""A reviewer's decision stands in place of the votes, and can be taken back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.core.errors import ConflictError, DataError
from accord.core.types import Message, Submission, Task
from accord.store.adjudication import SqlAdjudication
from accord.store.database import Database
from accord.store.exporting import comparisons, judgement_rows
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One pair, on which ann says a, and ben and cy say b; dee reviews."""
    opened = Database.open(path=tmp_path / "store.db")
    queue = SqlTaskQueue(opened)
    prompt = (Message(role="user", content="q"),)
    queue.add([Task("t", "p", "pairwise", prompt, ("x", "y"), overlap=3)])
    for name, verdict in (("ann", "a"), ("ben", "b"), ("cy", "b")):
        queue.register(name)
        lease = queue.lease(name)
        assert lease is not None
        queue.submit(lease, Submission(name, {"verdict": verdict}))
    queue.register("dee")
    yield opened
    opened.close()


def chosen(database: Database) -> tuple[str, float, int]:
    (row,) = comparisons(SqlJudgements(database).current("p"), aggregation="majority").rows
    return row["chosen"][0]["content"], row["p_chosen"], row["votes"]


def test_a_decision_is_exported_in_place_of_the_votes(database: Database) -> None:
    assert chosen(database)[0] == "y"
    decided = SqlAdjudication(database).decide("dee", "t", "a", key="k")
    assert chosen(database) == ("x", 1.0, 3)
    log = SqlJudgements(database)
    exported = comparisons(log.current("p"), aggregation="dawid_skene")
    assert decided.judgement_id in exported.judgement_ids and exported.rows[0]["p_chosen"] == 1.0
    assert log.is_whole()
    assert judgement_rows(log.current("p"))[-1]["answer"] == {"verdict": "a", "final": True}
    SqlTaskQueue(database).undo("dee", decided.judgement_id, key="undo")
    assert chosen(database)[0] == "y"


def test_once_and_by_somebody_else(database: Database) -> None:
    adjudication = SqlAdjudication(database)
    with pytest.raises(ConflictError, match="somebody else should decide"):
        adjudication.decide("ann", "t", "a", key="k")
    first = adjudication.decide("dee", "t", "a", key="k")
    assert adjudication.decide("dee", "t", "a", key="k") == first
    with pytest.raises(ConflictError, match="another judgement came under the key"):
        adjudication.decide("dee", "t", "b", key="k")
    SqlTaskQueue(database).register("eli")
    with pytest.raises(ConflictError, match="decided already"):
        adjudication.decide("eli", "t", "b", key="k2")
    with pytest.raises(DataError, match="verdict must be"):
        adjudication.decide("eli", "t", "x", key="k3")
    with pytest.raises(DataError, match="there is no task"):
        adjudication.decide("eli", "t9", "a", key="k4")


def test_annotators_have_no_last_word(database: Database) -> None:
    queue = SqlTaskQueue(database)
    prompt = (Message(role="user", content="q2"),)
    queue.add([Task("t2", "p", "pairwise", prompt, ("x", "y"))])
    lease = queue.lease("ann")
    assert lease is not None
    with pytest.raises(DataError, match="the last word is a reviewer's"):
        queue.submit(lease, Submission("z", {"verdict": "a", "final": True}))
