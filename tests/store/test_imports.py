"""Files of others: their own words for the same judgements, and rows that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConfigError, DataError
from accord.store.database import Database
from accord.store.importing import Imported, SqlImporter
from accord.store.imports.entries import Entry, Options
from accord.store.imports.files import read_entries
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue


def entries(tmp_path: Path, rows: list[Any], **values: Any) -> list[Entry]:
    return read(tmp_path, rows, **values)[0]


def read(tmp_path: Path, rows: list[Any], **values: Any) -> tuple[list[Entry], int]:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    kind, bad = values.pop("format", "auto"), values.pop("bad", 0)
    options = Options(**values)
    return read_entries(str(file), "p", format=kind, options=options, max_bad_rows=bad)


def answers(found: list[Entry]) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [
        (entry.kind, said.annotator, said.action, dict(said.answer))
        for entry in found
        for said in entry.said
    ]


ARGILLA = {
    "fields": {"prompt": "Q", "response-1": "A", "response-2": "B", "response-3": "C"},
    "metadata": {"topic": "x"},
    "suggestions": {"helpful_2": {"value": 3, "score": 0.5, "agent": "gpt"}},
    "responses": [
        {
            "user_id": "u1",
            "status": "submitted",
            "values": {
                "ranking": {
                    "value": [
                        {"value": "response-1", "rank": 3},
                        {"value": "response-2", "rank": 1},
                        {"value": "response-3", "rank": 1},
                    ]
                },
                "helpful_1": {"value": 2},
                "helpful_2": {"value": 7},
                "correction-3": {"value": "A much better answer than that"},
            },
        },
        {"user_id": "u2", "status": "draft", "values": {"helpful_1": {"value": 1}}},
        {"user_id": "u3", "status": "discarded", "values": {}},
    ],
}


def test_argilla_as_its_server_has_it(tmp_path: Path) -> None:
    found = entries(tmp_path, [ARGILLA])
    skip = {"reason": "discarded"}
    assert answers(found) == [
        ("ranking", "u1", "judge", {"ranks": [3, 1, 1]}),
        ("ranking", "u3", "skip", skip),
        ("likert", "u1", "judge", {"ratings": {"helpful": [2, 7, None]}}),
        ("likert", "u3", "skip", skip),
        ("rewrite", "u1", "judge", {"text": "A much better answer than that", "response": 2}),
        ("rewrite", "u3", "skip", skip),
    ]
    assert found[0].columns == {"topic": "x"} and found[0].responses == ("A", "B", "C")
    with_model = entries(tmp_path, [ARGILLA], with_suggestions=True)
    suggested = ("likert", "gpt", "judge", {"ratings": {"helpful": [None, 3, None]}})
    assert suggested in answers(with_model)
    assert {s.annotator_kind for e in with_model for s in e.said if s.annotator == "gpt"} == {
        "model"
    }


def test_argilla_nested_and_flattened(tmp_path: Path) -> None:
    nested = {
        "id": "1",
        "fields": {"instruction": "Q", "response_a": "A", "response_b": "B"},
        "responses": {
            "better": [
                {"value": "response_b", "user_id": "u1"},
                {"value": "tie", "user_id": "u2"},
            ]
        },
    }
    flat = {
        "id": "2", "status": "completed", "_server_id": "s",
        "instruction": "Q2", "response_a": "A", "response_b": "B",
        "better.responses": ["a", "b", "both bad"],
        "better.responses.users": ["u1", "u2", "u3"],
        "better.responses.status": ["submitted", "draft", "submitted"],
        "better.suggestion": None, "better.suggestion.score": None, "better.suggestion.agent": None,
    }  # fmt: skip
    assert answers(entries(tmp_path, [nested, {**nested, "id": "3"}])) == 2 * [
        ("pairwise", "u1", "judge", {"verdict": "b"}),
        ("pairwise", "u2", "judge", {"verdict": "tie"}),
    ]
    found = entries(tmp_path, [flat])
    assert answers(found) == [
        ("pairwise", "u1", "judge", {"verdict": "a"}),
        ("pairwise", "u3", "judge", {"verdict": "both_bad"}),
    ]
    assert found[0].columns == {}


def test_a_ranking_without_ranks_is_no_ranking(tmp_path: Path) -> None:
    """Argilla issue 5712: its client gives every ranking as the responses' own order."""
    row = {
        "fields": {"prompt": "Q", "response-1": "A", "response-2": "B", "response-3": "C"},
        "responses": {"rank": [{"value": ["response-3", "response-1"], "user_id": "u"}]},
    }
    with pytest.raises(DataError, match="row 1, question 'rank': a ranking without ranks"):
        entries(tmp_path, [row])
    found = entries(tmp_path, [row], is_ranked_by_order=True)
    assert answers(found) == [("ranking", "u", "judge", {"ranks": [2, None, 1]})]


def test_label_studio(tmp_path: Path) -> None:
    def by(who: Any, *results: dict[str, Any], **values: Any) -> dict[str, Any]:
        return {
            "id": 9,
            "completed_by": who,
            "was_cancelled": False,
            "lead_time": 4.25,
            "created_at": "2021-03-09T22:16:08.728353Z",
            "result": list(results),
            **values,
        }

    def tag(kind: str, name: str, about: str, **value: Any) -> dict[str, Any]:
        return {"type": kind, "from_name": name, "to_name": about, "value": value}

    pair = {
        "id": 1,
        "data": {"prompt": "Q", "answer1": "A", "answer2": "B", "source": "s"},
        "annotations": [
            by(1, tag("pairwise", "pw", "answer1,answer2", selected="right")),
            by({"id": 2, "email": "x@y.z"}, tag("choices", "c", "prompt", choices=["Tie"])),
            by(3, was_cancelled=True),
            by(
                4,
                tag("rating", "harmless", "answer2", rating=5),
                tag("textarea", "comment", "answer1", text=["too", "long"]),
            ),
        ],
    }
    skip = ("label-studio-3", "skip", {"reason": "skipped"})
    found = entries(tmp_path, [pair])
    assert answers(found) == [
        ("pairwise", "label-studio-1", "judge", {"verdict": "b"}),
        ("pairwise", "x@y.z", "judge", {"verdict": "tie"}),
        ("pairwise", *skip),
        ("likert", "label-studio-4", "judge", {"ratings": {"harmless": [None, 5]}}),
        ("likert", *skip),
        ("critique", "label-studio-4", "judge", {"text": "too\nlong", "response": 0}),
        ("critique", *skip),
    ]
    said = found[0].said[0]
    assert (said.time_on_task_s, said.order) == (4.25, (0, 1))
    assert said.created_at == pytest.approx(1615328168.728353)
    assert found[0].columns == {"source": "s"}

    items = [{"id": "blog", "body": "A"}, {"id": "mdn", "body": "B"}, {"id": "wiki", "body": "C"}]
    ranker = {"type": "ranker", "from_name": "rank", "to_name": "items"}
    plain = {**ranker, "value": {"ranker": {"rank": ["mdn", "wiki", "blog"]}}}
    row = {"id": 2, "data": {"prompt": "Q", "items": items}, "annotations": [by(1, plain)]}
    assert answers(entries(tmp_path, [row])) == [
        ("ranking", "label-studio-1", "judge", {"ranks": [3, 1, 2]})
    ]
    buckets = {**ranker, "value": {"ranker": {"_": ["wiki"], "good": ["mdn", "blog"], "bad": []}}}
    row["annotations"] = [by(1, buckets)]
    with pytest.raises(DataError, match="row 1, tag 'rank': which bucket is the ranking"):
        entries(tmp_path, [row])
    assert answers(entries(tmp_path, [row], bucket="good"))[0][3] == {"ranks": [2, 1, None]}


HH = "\n\nHuman: How?\n\nAssistant: Why?\n\nHuman: So.\n\nAssistant: "


def test_columns_and_transcripts(tmp_path: Path) -> None:
    rows = [{"chosen": HH + "Yes", "rejected": HH + "No"}]
    (entry,) = entries(tmp_path, rows)
    good = "ab"[entry.responses.index("Yes")]
    assert answers([entry]) == [("pairwise", "imported", "judge", {"verdict": good})]
    assert [m["content"] for m in entry.prompt] == ["How?", "Why?", "So."]
    assert entries(tmp_path, rows, is_judged=False)[0].said == ()
    # Which response comes first tells nothing: the same pair the other way round is the same task.
    swapped = [{"chosen": HH + "No", "rejected": HH + "Yes"}]
    assert entries(tmp_path, swapped)[0].responses == entry.responses
    pairs = [{"prompt": str(n), "chosen": f"c{n}", "rejected": f"r{n}"} for n in range(100)]
    firsts = [e.responses[0].startswith("c") for e in entries(tmp_path, pairs)]
    assert 30 < sum(firsts) < 70
    soft = {"prompt": "Q", "chosen": "A", "rejected": "B", "p_chosen": 0.8, "annotator": "Ann"}
    ((_, who, _, answer),) = answers(entries(tmp_path, [soft]))
    assert who == "Ann" and answer in (
        {"verdict": "a", "p_a": 0.8},
        {"verdict": "b", "p_a": 1 - 0.8},
    )
    ranked = {"prompt": "Q", "completions": ["A", "B", "C"], "ranks": [0.5, None, -1]}
    assert answers(entries(tmp_path, [ranked]))[0][3] == {"ranks": [2, None, 1]}
    rated = {"prompt": "Q", "completions": ["A", "B"]}
    for ratings in ({"x": [7, None], "y": None}, '{"x": [7, null]}'):
        (found,) = answers(entries(tmp_path, [{**rated, "ratings": ratings}]))
        assert found == ("likert", "imported", "judge", {"ratings": {"x": [7, None]}})
    label = {"prompt": "Q", "completion": "A", "label": False}
    assert answers(entries(tmp_path, [label])) == [
        ("success", "imported", "judge", {"success": False})
    ]
    vote = {"task_id": "t", "annotator": "s1", "annotator_kind": "simulated", "prompt": "Q",
            "response_a": "A", "response_b": "B", "verdict": "a"}  # fmt: skip
    swapped = {**vote, "response_a": "B", "response_b": "A"}
    for row in (vote, swapped):  # of one of them, the task has the responses the other way round
        (entry,) = entries(tmp_path, [row])
        (said,) = entry.said
        assert entry.responses["ab".index(said.answer["verdict"])] == row["response_a"]
        assert said.order and entry.responses[said.order[0]] == row["response_a"]
        assert said.annotator_kind == "simulated"
    (entry,) = entries(tmp_path, [{**vote, "display_order": "ba"}])  # b was on the left
    order = entry.said[0].order
    assert order and entry.responses[order[0]] == "B" and entry.columns == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "A"}, "row 2: 'chosen' and .* identical"),
        ({"prompt": "Q", "chosen": "A"}, "row 2: no column 'rejected'"),
        ({"prompt": "Q", "chosen": "A", "rejected": " "}, "row 2: the response is empty"),
        ({"chosen": "A", "rejected": "B"}, "row 2: .* do not share a prompt"),
    ],
)  # fmt: skip
def test_a_broken_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    good = {"prompt": "Q", "chosen": "A", "rejected": "B"}
    with pytest.raises(DataError, match=message):
        entries(tmp_path, [good, row, good])
    found, bad = read(tmp_path, [good, row, good], bad=1)
    assert (len(found), bad) == (2, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Q", "completions": ["A", "B"], "ranks": [1]}, "expected 2 ranks, got"),
        ({"prompt": "Q", "completions": ["A", "B"], "ranks": [1, "x"]}, "expected numbers or"),
        ({"prompt": "Q", "completions": ["A"], "ranks": [1]}, "needs 2 to 26 responses, got 1"),
        ({"prompt": "Q", "completions": ["A", 3], "ranks": [1, 2]}, "expected a response's text"),
        ({"prompt": "Q", "completions": ["A", "B"], "ratings": {"x": [9, 1]}}, "ratings of 1 to 7"),
        ({"prompt": "Q", "completion": "A", "label": "maybe"}, "expected success, true or false"),
        ({"kind": "duel", "responses": [], "answer": {}}, "kind must be pairwise"),
        (
            {"kind": "pairwise", "prompt": "Q", "responses": ["A", "B"], "answer": {"verdict": "c"},
             "annotator": "Ann"},
            "verdict must be a, b, tie, both_bad; got 'c'",
        ),
        (
            {"kind": "pairwise", "prompt": "Q", "responses": ["A", "B"], "answer": "{broken",
             "annotator": "Ann"},
            "column 'answer': expected an object",
        ),
        (
            {"kind": "pairwise", "prompt": "Q", "responses": ["A", "B"], "annotator": "Ann",
             "answer": {"verdict": "a"}, "display_order": [1, 1]},
            "orders no such responses",
        ),
        (
            {"fields": {"prompt": "Q", "text1": "A", "text2": "B"},
             "responses": {"x": [{"value": "green", "user_id": 1}]}},
            "which of text1 and text2 is the label 'green'",
        ),
        ({"fields": {"x": "Q"}, "responses": {}}, "which field is the prompt"),
        ({"data": {"prompt": "Q", "text1": "A"}, "annotations": [{"result": [{"type": "brush"}]}]},
         "results of type 'brush' are not read"),
        ({"text": "?"}, "which format is it"),
    ],
)  # fmt: skip
def test_rows_that_say_nothing_are_refused(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        entries(tmp_path, [row])


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_entries(
            str(tmp_path / "x.json"), "p", format="auto", options=Options(), max_bad_rows=0
        )
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="expected a list of objects"):
        read_entries(
            str(tmp_path / "x.json"), "p", format="auto", options=Options(), max_bad_rows=0
        )
    with pytest.raises(ConfigError, match="no format 'pair'; did you mean 'pairs'"):
        entries(tmp_path, [{"text": "?"}], format="pair")


def test_one_task_by_many_rows(database: Database, tmp_path: Path) -> None:
    """A row a vote: the task's overlap is what it has to be, and goes on being exact."""
    vote = {"task_id": "t", "annotator_kind": "person", "prompt": "Q", "response_a": "A",
            "response_b": "B"}  # fmt: skip
    rows = [{**vote, "annotator": f"p{n}", "verdict": "a"} for n in range(5)]
    rows[3] |= {"response_a": "B", "response_b": "A", "verdict": "b"}  # the same, seen otherwise
    options = Options(overlap=3)
    found = entries(tmp_path, rows, overlap=3)
    importer = SqlImporter(database, "p", options)
    assert importer.add(found) == Imported(tasks=1, judgements=5)
    assert importer.add(found) == Imported(known=5)
    standing = SqlJudgements(database).current("p")
    assert {s.answer["verdict"] for s in standing if s.answer} == {standing[0].answer["verdict"]}  # type: ignore[index]
    assert standing[0].task.overlap == 5
    queue = SqlTaskQueue(database)
    assert queue.progress("p") == {"tasks": 1, "slots": 5, "done": 5, "leased": 0, "free": 0}
    queue.register("late")
    assert queue.lease("late") is None
    unjudged = entries(tmp_path, [{"prompt": "R", "chosen": "A", "rejected": "B"}], is_judged=False)
    importer.add(unjudged)
    assert queue.progress("p")["free"] == 3
    lease = queue.lease("late")
    assert lease and lease.task.prompt[0]["content"] == "R"
