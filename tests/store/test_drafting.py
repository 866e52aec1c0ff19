"""A constitution drafted together: proposals and votes as tasks of a project."""

from collections.abc import Mapping
from typing import Any

import pytest

from accord.annotation.elections import Ballot
from accord.core.errors import DataError
from accord.core.types import Submission
from accord.store.board import SqlTaskBoard
from accord.store.database import Database
from accord.store.drafting import (
    Proposal,
    open_project,
    poll_of,
    proposal_tasks,
    proposals_of,
    vote_tasks,
)
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue

RULES = ("Tell no lies.", "Help at once.", "Stay calm.")


def answer_all(database: Database, who: str, say: Any, *, kind: str = "person") -> None:
    """Somebody does every task that there is, as the app's pages do; None skips."""
    SqlTaskBoard(database).register(who, kind=kind)
    queue = SqlTaskQueue(database)
    while lease := queue.lease(who, project="law"):
        answer = say(lease.task)
        submission = Submission(f"{who}-{lease.task.id}", answer or {}, "judge")
        if answer is None:
            submission = Submission(f"{who}-{lease.task.id}", {}, "skip")
        queue.submit(lease, submission)


@pytest.fixture
def proposed(database: Database) -> Database:
    open_project(database, "law")
    open_project(database, "law")  # again: nothing happens
    SqlTaskBoard(database).put_up(proposal_tasks("law", people=3))
    by_part = dict(zip(("honest", "helpful", "harmless"), RULES, strict=True))

    def say(task: Any) -> Mapping[str, Any] | None:
        return {"text": by_part[task.columns["part"]]}

    answer_all(database, "ann", say)
    answer_all(
        database, "bob", lambda t: {"text": "tell  no lies."} if "honest" in str(t) else None
    )
    answer_all(database, "eve", lambda task: {"text": task.responses[0]})  # left as it was
    return database


def test_proposals_are_collected_by_their_words(proposed: Database) -> None:
    found = proposals_of(SqlJudgements(proposed).current("law"))
    assert {p.text: (p.part, p.proposers) for p in found} == {
        "Tell no lies.": ("honest", 2),
        "Help at once.": ("helpful", 1),
        "Stay calm.": ("harmless", 1),
    }


def ratings(**by_word: int) -> Any:
    def say(task: Any) -> Mapping[str, Any] | None:
        if task.kind == "rewrite":
            return None
        (text,) = task.responses
        return {"ratings": {"agreement": [by_word[text.split()[0].lower()]]}}

    return say


def test_ratings_become_ballots_of_people_alone(proposed: Database) -> None:
    log = SqlJudgements(proposed)
    tasks = vote_tasks("law", proposals_of(log.current("law")), kind="likert", people=3)
    SqlTaskBoard(proposed).put_up(tasks)
    answer_all(proposed, "ann", ratings(tell=7, help=5, stay=5))
    answer_all(proposed, "gpt", ratings(tell=1, help=1, stay=7), kind="model")
    poll = poll_of(log.current("law"))
    assert sorted(zip(poll.texts, poll.parts, strict=True)) == [
        ("Help at once.", "helpful"),
        ("Stay calm.", "harmless"),
        ("Tell no lies.", "honest"),
    ]
    (ballot,) = poll.ballots
    assert ballot.voter == "ann" and poll.voters == ["ann"]
    ranks = {poll.texts[place]: rank for place, rank in ballot.ranks.items()}
    assert ranks["Tell no lies."] < ranks["Help at once."] == ranks["Stay calm."]


@pytest.mark.parametrize("kind", ["pairwise", "ranking"])
def test_pairs_and_rankings_become_ballots(proposed: Database, kind: Any) -> None:
    log = SqlJudgements(proposed)
    tasks = vote_tasks("law", proposals_of(log.current("law")), kind=kind, people=1)
    assert len(tasks) == (3 if kind == "pairwise" else 1)
    SqlTaskBoard(proposed).put_up(tasks)
    wanted = {text: place for place, text in enumerate(RULES)}

    def say(task: Any) -> Mapping[str, Any] | None:
        if task.kind == "rewrite":
            return None
        own = [wanted[text] for text in task.responses]
        if kind == "pairwise":
            return {"verdict": "a" if own[0] < own[1] else "b"}
        return {"ranks": [place + 1 for place in own]}

    answer_all(proposed, "ann", say)
    poll = poll_of(log.current("law"))
    won = dict.fromkeys(RULES, 0)
    for ballot in poll.ballots:
        for one, rank in ballot.ranks.items():
            won[poll.texts[one]] += sum(rank < other for other in ballot.ranks.values())
    assert won == {RULES[0]: 2, RULES[1]: 1, RULES[2]: 0}
    assert isinstance(poll.ballots[0], Ballot)
    parts = dict(zip(poll.texts, poll.parts, strict=True))
    assert parts[RULES[0]] == "honest" and parts[RULES[2]] == "harmless"


def test_what_cannot_be_voted_on_is_refused() -> None:
    one = [Proposal("Tell no lies.", "honest", 1, ("x",))]
    with pytest.raises(DataError, match="1 proposals, a pairwise needs 2"):
        vote_tasks("law", one, kind="pairwise", people=1)
    with pytest.raises(DataError, match="0 proposals"):
        vote_tasks("law", [], kind="likert", people=1)
    many = [Proposal(f"Rule {n}.", "honest", 1, (f"{n}",)) for n in range(27)]
    with pytest.raises(DataError, match="more than the 26"):
        vote_tasks("law", many, kind="ranking", people=1)
    with pytest.raises(DataError, match="nobody has voted"):
        poll_of([])
