"""Suggestions: what may stand in a task, when it is shown, and what a judgement says of it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConflictError, DataError
from accord.core.files import write_jsonl
from accord.core.types import Submission
from accord.store.assistance import Assistance, assistance_of, is_hidden
from accord.store.assistance_report import assistance_report
from accord.store.database import Database
from accord.store.exporting import comparisons, judgement_rows
from accord.store.hints import follows, lettered, swapped_hints
from accord.store.importing import SqlImporter
from accord.store.imports.entries import Options
from accord.store.imports.files import read_entries
from accord.store.judgements import SqlJudgements
from accord.store.rows import tasks_of_rows
from store.assisted import SUGGESTED, Room, task


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"suggestion": {"agent": "m", "answer": {"verdict": "c"}}}, "verdict must be"),
        ({"suggestion": {"answer": {"verdict": "a"}}}, "expected agent"),
        ({"suggestion": {"agent": "m", "answer": "a"}}, "expected an answer"),
        ({"suggestion": {"agent": "m", "answer": {"verdict": "a", "final": True}}}, "an answer"),
        ({"suggestion": {"agent": "m", "answer": {"verdict": "a"}, "score": "hi"}}, "a number"),
        ({"suggestion": {"agent": "m", "answer": {"verdict": "a"}, "x": 1}}, "nothing is known"),
        ({"critique": {"agent": "m", "text": " "}}, "expected a text"),
        ({"critique": {"agent": "m", "text": "t", "answer": {"ranks": [1]}}}, "verdict must be"),
    ],
)
def test_what_is_no_opinion_is_refused(
    database: Database, columns: dict[str, Any], says: str
) -> None:
    room = Room(database)
    with pytest.raises(DataError, match=says):
        room.queue.add([task(columns=columns)])
    assert room.queue.progress("p")["tasks"] == 0


def test_a_column_of_that_name_may_be_something_else(database: Database) -> None:
    room = Room(database, show_suggestions=True, hidden_suggestions=0)
    room.queue.add([task(columns={"suggestion": "be brief", "critique": 4})])
    assert room.assistance.suggestion(task(columns={"suggestion": "be brief"})) is None


@pytest.mark.parametrize(
    "settings",
    [{"show_suggestions": 1}, {"hidden_suggestions": 1.5}, {"hidden_critiques": True}],
)
def test_settings_that_are_none_are_refused(database: Database, settings: dict[str, Any]) -> None:
    room = Room(database)
    with pytest.raises(DataError, match="settings: "):
        room.projects.update("p", settings=settings)
    assert assistance_of({"hourly_rate": 20}) == Assistance(False, 0.2, False, 0.2)


def test_nothing_is_shown_unless_a_lead_says_so(database: Database) -> None:
    room = Room(database)
    given = task(columns=SUGGESTED)
    assert room.assistance.suggestion(given) is None
    room.projects.update("p", settings={"show_suggestions": True, "hidden_suggestions": 0})
    found = room.assistance.suggestion(given)
    assert found is not None and (found.agent, found.score) == ("policy-7", 0.9)
    room.projects.update("p", settings={"show_suggestions": True, "hidden_suggestions": 1})
    assert room.assistance.suggestion(given) is None


def test_a_share_of_tasks_hides_it() -> None:
    """By lot, the same whenever it is asked, and apart from the lot of critiques."""
    names = [f"t{n}" for n in range(2000)]
    hidden = {name for name in names if is_hidden("suggestion", name, 0.2)}
    assert 0.17 < len(hidden) / 2000 < 0.23
    assert hidden <= {name for name in names if is_hidden("suggestion", name, 0.5)}
    both = sum(is_hidden("critique", name, 0.2) for name in hidden)
    assert 0.1 < both / len(hidden) < 0.3


def test_a_judgement_says_what_was_shown_and_whether_it_was_followed(database: Database) -> None:
    room = Room(database, show_suggestions=True)
    names = [f"t{n}" for n in range(12)]
    room.queue.add([task(name, columns=SUGGESTED) for name in names])
    room.queue.add([task("plain", priority=-1.0)])
    for n in range(13):
        lease = room.queue.lease("ann", project="p")
        assert lease is not None
        shown = room.assistance.suggestion(lease.task) is not None
        said = Submission(f"k{n}", {"verdict": "ab"[n % 2]})
        room.queue.submit(lease, room.assistance.recorded(lease, said, saw=shown))
    standing = SqlJudgements(database).current("p")
    for n, s in enumerate(standing[:-1]):
        assert s.answer is not None
        assert s.answer["suggestion"] == {
            "agent": "policy-7",
            "is_shown": not is_hidden("suggestion", s.task.id, 0.2),
            "is_followed": n % 2 == 0,
        }
    assert standing[-1].answer == {"verdict": "a"}
    found = assistance_report(standing, []).suggestions
    assert found is not None
    hidden = sum(is_hidden("suggestion", name, 0.2) for name in names)
    assert found.anchoring.hidden.total == hidden > 0
    assert found.anchoring.shown.total == 12 - hidden
    assert [p.name for p in found.people] == ["ann"]
    exported = comparisons(standing, aggregation="majority").rows
    assert all("suggestion" not in row for row in exported)
    assert judgement_rows(standing)[0]["columns"] == SUGGESTED


def test_the_same_request_is_the_same_judgement_whatever_the_lead_changes(
    database: Database,
) -> None:
    room = Room(database, show_suggestions=True, hidden_suggestions=1)
    room.queue.add([task(columns=SUGGESTED)])
    lease = room.queue.lease("ann", project="p")
    assert lease is not None
    said = Submission("k", {"verdict": "a"})
    first = room.queue.submit(lease, room.assistance.recorded(lease, said, saw=False))
    room.projects.update("p", settings={})
    again = room.queue.submit(lease, room.assistance.recorded(lease, said, saw=False))
    assert again == first
    other = dataclasses.replace(said, answer={"verdict": "b"})
    with pytest.raises(ConflictError):
        room.queue.submit(lease, room.assistance.recorded(lease, other, saw=False))


def test_nobody_but_the_server_writes_the_record(database: Database) -> None:
    room = Room(database)
    room.queue.add([task(columns=SUGGESTED)])
    lease = room.queue.lease("ann", project="p")
    assert lease is not None
    forged = Submission("k", {"verdict": "a", "suggestion": {"is_followed": False}})
    with pytest.raises(DataError, match="the server does"):
        room.assistance.recorded(lease, forged, saw=True)


def test_where_it_could_have_been_seen_and_was_not_there_is_no_record(database: Database) -> None:
    """Who was given the task before the setting changed is in neither arm."""
    room = Room(database, show_suggestions=True, hidden_suggestions=0)
    room.queue.add([task(columns=SUGGESTED)])
    room.vote("ann", "a", key="k", saw=False)
    (standing,) = SqlJudgements(database).current("p")
    assert standing.answer == {"verdict": "a"}


def test_how_far_a_wrong_suggestion_is_followed(database: Database) -> None:
    """Gold says b, the model a; on t0 the model is right, of t3 nothing is known."""
    room = Room(database, show_suggestions=True, hidden_suggestions=0.5)
    names = [f"t{n}" for n in range(8)]
    known = {name: {"gold": {"verdict": "a" if name == "t0" else "b"}} for name in names}
    known["t3"] = {}
    room.queue.add([task(name, columns={**SUGGESTED, **known[name]}) for name in names])
    hidden = {name for name in names if is_hidden("suggestion", name, 0.5)}
    for n, name in enumerate(names):
        # Whoever is shown the suggestion follows it; the others know better.
        assert room.vote("ann", "ba"[name not in hidden], key=f"k{n}", saw=name not in hidden)
    found = assistance_report(SqlJudgements(database).current("p"), []).suggestions
    assert found is not None and found.wrong is not None
    asked = set(names) - {"t0", "t3"}
    assert found.wrong.shown[:2] == (len(asked - hidden),) * 2
    assert found.wrong.hidden[:2] == (0, len(asked & hidden))
    assert found.wrong.hidden.total and found.wrong.effect[0] == 1.0


def test_following_by_kind() -> None:
    assert follows("pairwise", {"verdict": "a", "strength": 1}, {"verdict": "a", "strength": 4})
    assert not follows("ranking", {"ranks": [1, 2]}, {"ranks": [2, 1]})
    rated = {"ratings": {"helpful": [7, 1], "honest": [None, None]}}
    assert follows("likert", rated, {"ratings": {"helpful": [7, 1]}})
    assert not follows("likert", rated, {"ratings": {"helpful": [7, 2]}})
    assert follows("rewrite", {"text": "x", "response": 0}, {"text": "x"})


def test_letters_are_those_that_are_displayed() -> None:
    assert lettered("[[a]] beats [[B]], not [[c]] or [a]", (1, 0)) == "B beats A, not [[c]] or [a]"


OPINIONS: dict[str, Any] = {
    "suggestion": {
        "agent": "m", "answer": {"verdict": "a", "strength": 2, "reason": "[[B]] is bad"},
    },
    "critique": {"agent": "m", "text": "[[a]], not [[b]] or [[c]]", "answer": {"verdict": "b"}},
}  # fmt: skip


@pytest.mark.parametrize("texts", [("x", "y"), ("y", "x")])
def test_an_opinion_stays_with_its_response(tmp_path: Path, texts: tuple[str, str]) -> None:
    """Rows with the better response first are put in another order, one time of two."""
    row = {"prompt": "q", "chosen": texts[0], "rejected": texts[1], **OPINIONS}
    write_jsonl(tmp_path / "pairs.jsonl", [row])
    (entry,) = entries(tmp_path / "pairs.jsonl")
    (task_made,) = tasks_of_rows([row], project="p", kind="pairwise", overlap=1)
    for made in (entry, task_made):
        suggestion, critique = made.columns["suggestion"], made.columns["critique"]
        preferred = made.responses["ab".index(suggestion["answer"]["verdict"])]
        argued = made.responses["ab".index(critique["answer"]["verdict"])]
        assert (preferred, argued) == texts
        first, second = ("[[a]]", "[[b]]") if made.responses == texts else ("[[b]]", "[[a]]")
        assert critique["text"] == f"{first}, not {second} or [[c]]"
        assert suggestion["answer"]["reason"].lower() == f"{second} is bad"


def test_opinions_of_every_kind_change_places() -> None:
    given = {"ranks": [1, 2], "ratings": {"helpful": [7, None]}, "response": 0, "p_a": 0.25}
    found = swapped_hints({"suggestion": {"agent": "m", "answer": given}, "critique": "x"})
    assert found["suggestion"]["answer"] == {
        "ranks": [2, 1], "ratings": {"helpful": [None, 7]}, "response": 1, "p_a": 0.75,
    }  # fmt: skip
    assert found["critique"] == "x"


def test_a_row_with_a_wrong_opinion_is_named() -> None:
    rows = [{"prompt": "q", "responses": ["x", "y"], **SUGGESTED}]
    (made,) = tasks_of_rows(rows, project="p", kind="pairwise", overlap=1)
    assert made.columns == SUGGESTED
    rows.append({**rows[0], "suggestion": {"agent": "m", "answer": {"success": True}}})
    with pytest.raises(DataError, match=r"rows, row 2: .*verdict must be"):
        tasks_of_rows(rows, project="p", kind="pairwise", overlap=1)


def entries(path: Path, **options: Any) -> list[Any]:
    how: dict[str, Any] = {"format": "auto", "max_bad_rows": 0}
    return read_entries(str(path), "p", options=Options(**options), **how)[0]


ARGILLA = {
    "fields": {"prompt": "q", "response_1": "x", "response_2": "y"},
    "responses": {"better": [{"user_id": "u", "value": "response_1", "status": "submitted"}]},
    "suggestions": {
        "better": {"value": "response_2", "score": 0.7, "agent": "gpt"},
        "odd": {"value": ["x", "y"], "agent": "gpt-2"},
    },
}
STUDIO = {
    "data": {"prompt": "q", "response_1": "x", "response_2": "y"},
    "annotations": [],
    "predictions": [
        {"model_version": "m", "score": 0.4, "result": [
            {"type": "pairwise", "from_name": "pw", "to_name": "q", "value": {"selected": "left"}},
        ]},
        {"model_version": "bad", "result": [{"type": "brush", "from_name": "b"}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ARGILLA, {"agent": "gpt", "answer": {"verdict": "b"}, "score": 0.7}),
        (STUDIO, {"agent": "m", "answer": {"verdict": "a"}, "score": 0.4}),
    ],
)
def test_others_suggestions_become_ours(
    tmp_path: Path, database: Database, row: dict[str, Any], expected: dict[str, Any]
) -> None:
    """One that cannot be read is left out, and the row is not."""
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [row])
    (entry,) = entries(path)
    assert entry.columns["suggestion"] == expected
    Room(database, show_suggestions=True, hidden_suggestions=0)
    SqlImporter(database, "p", Options(overlap=2)).add([entry])
    assert SqlImporter(database, "p", Options(overlap=2)).add([entry]).tasks == 0
    if row is STUDIO:
        row = {**row, "predictions": row["predictions"][:1]}
    else:
        row = {**row, "suggestions": {"better": row["suggestions"]["better"]}}
    write_jsonl(path, [row])
    (judged,) = entries(path, with_suggestions=True)
    assert "suggestion" not in judged.columns
    assert [s.annotator_kind for s in judged.said][-1] == "model"
