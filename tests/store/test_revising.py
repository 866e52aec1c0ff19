"""Votes before and after a critique: both in the log, one that stands, and what may not be."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from accord.commands.assistance import assistance
from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Submission
from accord.store.adjudication import SqlAdjudication
from accord.store.assistance import is_hidden
from accord.store.assistance_report import assistance_report
from accord.store.board import all_tasks
from accord.store.copying import migrate
from accord.store.critiques import SqlCritiques
from accord.store.database import Database
from accord.store.export_files import export_file
from accord.store.exporting import comparisons, first_vote_rows
from accord.store.hints import Critique
from accord.store.importing import SqlImporter
from accord.store.imports.entries import Options
from accord.store.imports.files import read_entries
from accord.store.judgements import SqlJudgements
from accord.store.revising import SqlRevisions, phase_of
from accord.store.schema import judgements, slots
from store.assisted import CRITIQUED, SUGGESTED, Room, task

SHOWN: dict[str, Any] = {"show_critiques": True, "hidden_critiques": 0}


def test_both_votes_are_kept_and_the_later_one_stands(database: Database) -> None:
    room = Room(database, **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    (pending,) = room.revisions.pending("ann", "p")
    assert pending.first.id == "first" and pending.critique.text == "[[b]] is wrong."
    (before,) = SqlJudgements(database).current("p")
    assert phase_of(before) == "first"
    receipt = room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    assert receipt == room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    log = SqlJudgements(database)
    (standing,) = log.current("p")
    assert (standing.id, standing.order) == ("second", before.order)
    assert standing.answer == {
        "verdict": "a",
        "oversight": {
            "phase": "after",
            "critique": Critique("critic-1", "[[b]] is wrong.", {"verdict": "a"}).sha256,
            "agent": "critic-1",
        },
    }
    with database.reading() as connection:
        rows = connection.execute(
            select(judgements.c.id, judgements.c.action, judgements.c.supersedes)
        ).all()
        filled = connection.execute(select(slots.c.judgement_id)).scalars().all()
    assert rows == [("first", "judge", None), ("second", "judge", "first")]
    assert filled == ["second"] and log.is_whole()
    assert room.revisions.pending("ann", "p") == [] and room.queue.lease("ann") is None
    (vote,) = room.revisions.first_votes("p")
    assert vote.first.id == "first" and vote.after == standing
    (row,) = comparisons([standing], aggregation="majority").rows
    assert row["chosen"][-1]["content"] == "one" and "critique" not in row
    (early,) = comparisons([vote.first], aggregation="majority").rows
    assert early["chosen"][-1]["content"] == "two"


@pytest.mark.parametrize(
    ("who", "first", "submission", "error", "says"),
    [
        ("bob", "first", Submission("k", {"verdict": "a"}), DataError, "has no judgement"),
        ("ann", "other", Submission("k", {"verdict": "a"}), DataError, "has no judgement"),
        ("ann", "first", Submission("k", {"verdict": "c"}), DataError, "verdict must be"),
        ("ann", "first", Submission("k", {}, action="skip"), DataError, "take your first"),
        ("ann", "first", Submission("k", {"verdict": "a", "final": True}), DataError, "final"),
        ("ann", "first", Submission("k", {"verdict": "a", "oversight": {}}), DataError, "nothing"),
        ("ann", "first", Submission("first", {"verdict": "a"}), ConflictError, "make a new key"),
    ],
)
def test_what_is_no_revision_is_refused(
    database: Database, who: str, first: str, submission: Submission, error: Any, says: str
) -> None:
    room = Room(database, "ann", "bob", **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    with pytest.raises(error, match=says):
        room.revisions.revise(who, first, submission)
    assert [s.id for s in SqlJudgements(database).current("p")] == ["first"]


def test_a_vote_is_revised_once(database: Database) -> None:
    room = Room(database, **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "b"}))
    for judgement in ("first", "second"):
        with pytest.raises(ConflictError, match="no first vote"):
            room.revisions.revise("ann", judgement, Submission("third", {"verdict": "a"}))


def test_whoever_knows_the_critique_votes_first_no_more(database: Database) -> None:
    """Taken back before or after the second vote; and the slot is his again."""
    room = Room(database, **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    room.queue.undo("ann", "second", key="u1")
    assert SqlJudgements(database).current("p") == []
    assert room.revisions.first_votes("p") == []
    room.vote("ann", "b", key="k3")
    (standing,) = SqlJudgements(database).current("p")
    assert phase_of(standing) == "again" and not standing.is_surplus
    assert room.revisions.pending("ann", "p") == []
    found = assistance_report([standing], room.revisions.first_votes("p"))
    assert found.oversight is None


def test_an_edit_before_any_critique_is_no_revision(database: Database) -> None:
    """Voted and taken back while the task had none; the vote after it came is a first one."""
    room = Room(database, **SHOWN)
    room.queue.add([task()])
    room.vote("ann", "b", key="k1")
    room.queue.undo("ann", "k1", key="u1")
    SqlCritiques(database).give("p", "t", Critique("machine", "Weak.", {"verdict": "a"}))
    room.vote("ann", "b", key="k2")
    assert [p.first.id for p in room.revisions.pending("ann", "p")] == ["k2"]


def test_a_share_of_tasks_shows_none(database: Database) -> None:
    room = Room(database, show_critiques=True, hidden_critiques=0.5)
    room.queue.add([task(f"t{n}", columns=CRITIQUED) for n in range(10)])
    for n in range(10):
        room.vote("ann", "a", key=f"k{n}")
    phases = {s.task.id: phase_of(s) for s in SqlJudgements(database).current("p")}
    control = {name for name in phases if is_hidden("critique", name, 0.5)}
    assert 0 < len(control) < 10
    assert {name for name, phase in phases.items() if phase == "control"} == control
    waiting = {p.first.task.id for p in room.revisions.pending("ann", "p")}
    assert waiting == phases.keys() - control


def test_figures_by_hand(database: Database) -> None:
    """Gold is a; on t0 to t3 the critique says a, on t4 and t5 b; t6 is known by a decision."""
    room = Room(database, "ann", "rev", **SHOWN)
    wrong = {"critique": {"agent": "c", "text": "x", "answer": {"verdict": "b"}}}
    gold = {"gold": {"verdict": "a"}}
    tasks = [task(f"t{n}", columns={**(CRITIQUED if n < 4 else wrong), **gold}) for n in range(6)]
    room.queue.add([*tasks, task("t6", columns=CRITIQUED, priority=-1.0)])
    votes = {"t0": "ba", "t1": "bb", "t2": ["b", "tie"], "t3": "aa", "t4": "ab", "t5": "aa",
             "t6": "bb"}  # fmt: skip
    for n in range(7):
        key = f"k{n}"
        lease = room.queue.lease("ann", project="p")
        assert lease is not None
        room.vote("ann", votes[lease.task.id][0], key=key)
        after = Submission(f"{key}-after", {"verdict": votes[lease.task.id][1]})
        room.revisions.revise("ann", key, after)
    SqlAdjudication(database).decide("rev", "t6", "b", key="decision")
    standing = SqlJudgements(database).current("p")
    found = assistance_report(standing, room.revisions.first_votes("p")).oversight
    assert found is not None and found.gold is not None
    assert [share[:2] for share in found.moves] == [(3, 7), (3, 7), (0, 7)]
    assert (found.agreement_before[:2], found.agreement_after[:2]) == ((1, 7), (3, 7))
    assert found.gold.accuracy_before[:2] == (4, 7)  # t3, t4, t5, t6
    assert found.gold.accuracy_after[:2] == (4, 7)  # t0, t3, t5, t6
    assert (found.gold.help[:2], found.gold.over_trust[:2]) == ((1, 3), (1, 3))
    assert found.waiting == 0 and [p.name for p in found.people] == ["ann"]


def test_unsure_after_a_critique(database: Database) -> None:
    room = Room(database, **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    unsure = Submission("second", {"reason": "hm"}, action="unsure")
    room.revisions.revise("ann", "first", unsure)
    (standing,) = SqlJudgements(database).current("p")
    assert standing.action == "unsure"
    found = assistance_report([standing], room.revisions.first_votes("p")).oversight
    assert found is not None and found.moves.changed[:2] == (1, 1)


def test_a_suggestion_was_beside_the_first_vote(database: Database) -> None:
    room = Room(database, show_suggestions=True, hidden_suggestions=0, **SHOWN)
    room.queue.add([task(columns={**SUGGESTED, **CRITIQUED})])
    room.vote("ann", "a", key="first", saw=True)
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "b"}))
    standing = SqlJudgements(database).current("p")
    found = assistance_report(standing, room.revisions.first_votes("p")).suggestions
    assert found is not None and found.anchoring.shown[:2] == (1, 1)


def test_a_critique_is_given_once(database: Database) -> None:
    room = Room(database)
    critiques = SqlCritiques(database)
    room.queue.add([task(columns={"gold": {"verdict": "b"}}), task("t2", columns=CRITIQUED)])
    (wanted,) = critiques.wanted("p")
    assert wanted == task("t")  # no answer key, no policies
    critique = Critique("m", "Terse.", {"verdict": "b"})
    assert critiques.give("p", "t", critique)
    assert not critiques.give("p", "t", critique)
    with pytest.raises(ConflictError, match="it stays"):
        critiques.give("p", "t", Critique("m", "Other."))
    with pytest.raises(NotFoundError):
        critiques.give("other", "t", critique)
    assert critiques.wanted("p") == []
    assert all_tasks(database, "p")[0].columns["gold"] == {"verdict": "b"}
    assert room.queue.add([task(columns={"gold": {"verdict": "b"}})]) == 0  # the same file again
    with pytest.raises(ConflictError, match="another task"):
        room.queue.add([task(columns={"gold": {"verdict": "a"}})])


def test_a_critique_that_argues_for_no_answer_is_refused(database: Database) -> None:
    room = Room(database)
    room.queue.add([task()])
    for critique in (Critique("m", " "), Critique("m", "x", {"verdict": "z"})):
        with pytest.raises(DataError):
            SqlCritiques(database).give("p", "t", critique)
    assert [t.id for t in SqlCritiques(database).wanted("p")] == ["t"]


def test_first_votes_go_out_and_come_in_and_are_copied(database: Database, tmp_path: Path) -> None:
    room = Room(database, "ann", "bob", **SHOWN)
    room.queue.add([task(columns=CRITIQUED, overlap=2)])
    room.vote("ann", "b", key="first")
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    room.vote("bob", "a", key="waits")
    path = tmp_path / "first.jsonl"
    _, rows, used = export_file(database, "p", path, what="first_votes", aggregation="majority")
    assert (rows, used) == (2, 3)
    by_name = {r["annotator"]: r for r in first_vote_rows(room.revisions.first_votes("p")).rows}
    assert by_name["ann"]["answer"]["verdict"] == "b"
    assert by_name["ann"]["revised_answer"]["verdict"] == "a"
    assert by_name["bob"]["revised_by"] is None
    copy = Database.open(path=tmp_path / "copy.db")
    try:
        migrate(database, copy)
        assert SqlRevisions(copy).first_votes("p") == room.revisions.first_votes("p")
    finally:
        copy.close()
    other = Database.open(path=tmp_path / "other.db")
    try:
        how: dict[str, Any] = {"format": "auto", "options": Options(), "max_bad_rows": 0}
        entries, _ = read_entries(str(path), "p", **how)
        assert SqlImporter(other, "p", Options()).add(entries).judgements == 2
    finally:
        other.close()


def test_erased_votes_are_in_no_figure(database: Database) -> None:
    room = Room(database, **SHOWN)
    room.queue.add([task(columns=CRITIQUED)])
    room.vote("ann", "b", key="first")
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    log = SqlJudgements(database)
    log.erase(annotator="ann")
    votes = room.revisions.first_votes("p")
    assert first_vote_rows(votes).rows == []
    found = assistance_report(log.current("p"), votes).oversight
    assert found is not None and found.moves.changed.total == 0 and log.is_whole()


def test_the_command_prints_the_figures(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = Room(database, show_suggestions=True, hidden_suggestions=0, **SHOWN)
    where = database.engine.url.render_as_string(hide_password=False)
    arguments = ["--database", where, "--project", "p", "--output", str(tmp_path / "figures.json")]
    assert assistance(arguments) == 0
    assert "nobody was shown" in capsys.readouterr().out
    room.queue.add([task(columns={**SUGGESTED, **CRITIQUED, "gold": {"verdict": "a"}})])
    room.vote("ann", "b", key="first", saw=True)
    room.revisions.revise("ann", "first", Submission("second", {"verdict": "a"}))
    assert assistance(arguments) == 0
    shown = capsys.readouterr().out
    assert "right before 0.00 (0.00 to 0.79), after 1.00" in shown and "anchoring" in shown
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["oversight"]["moves"]["towards"]["value"] == 1.0
    assert figures["suggestions"]["anchoring"]["effect"] == [None, None, None]
