"""What stands in a store stands in the next one, through every kind of file and of task."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_path
from accord.core.types import Message, Submission, Task
from accord.corpora.pairs import load_comparisons
from accord.store.database import Database
from accord.store.export_files import export_file
from accord.store.importing import Imported, SqlImporter
from accord.store.imports.entries import Options
from accord.store.imports.files import read_entries
from accord.store.judgements import SqlJudgements, Standing
from accord.store.queue import SqlTaskQueue

TALK = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hi \U0001f600"),
    Message(role="assistant", content="Hello"),
    Message(role="user", content="\n\nHuman: what?"),
)
ASK = (Message(role="user", content="Which one?"),)
TASKS = [
    Task("pair", "p", "pairwise", TALK, ("a\n\nHuman: b", "three"), ("m1", None), {"x": [1]}, 4),
    Task("rank", "p", "ranking", ASK, ("w", "x", "y", "z"), overlap=4),
    Task("rate", "p", "likert", ASK, ("w", "x"), overlap=2),
    Task("write", "p", "rewrite", ASK, ("bad", "worse"), overlap=2),
    Task("say", "p", "critique", ASK, ("so-so",), overlap=2),
    Task("done", "p", "success", TALK, ("Did it",), overlap=3),
]
ANSWERS: dict[str, dict[str, dict[str, Any]]] = {
    "Ann": {
        "pair": {"verdict": "b", "strength": 4},
        "rank": {"ranks": [2, None, 1, 2]},
        "rate": {"ratings": {"helpful": [7, None], "honest": [1, 4]}},
        "write": {"text": "good\n", "response": 1},
        "say": {"text": "Too vague", "response": 0},
        "done": {"success": True},
    },
    "Ben": {
        "pair": {"verdict": "both_bad"},
        "rank": {"ranks": [4, 3, 2, 1]},
        "rate": {"ratings": {"helpful": [2, 3]}},
        "write": {"text": "better"},
        "say": {"text": "Fine"},
        "done": {"success": False},
    },
    "Cem": {"pair": {"verdict": "tie"}, "rank": {"ranks": [1, 1, 5, 9]}, "done": {"success": True}},
}


@pytest.fixture
def full(database: Database) -> Database:
    """Every kind of task, judged by three, with a skip and an unsure, and one undone."""
    queue = SqlTaskQueue(database)
    queue.add(TASKS)
    for name, answers in ANSWERS.items():
        queue.register(name)
        for _ in answers:
            lease = queue.lease(name)
            assert lease
            said = Submission(
                f"{name}-{lease.task.id}",
                answers[lease.task.id],
                time_on_task_s=0.1 + len(name),
                guideline_version=2,
            )
            queue.submit(lease, said)
    queue.register("judge-7b", kind="model")
    lease = queue.lease("judge-7b")
    assert lease and lease.task.id == "pair"
    queue.submit(lease, Submission("m", {"reason": "no idea"}, action="unsure"))
    queue.register("Dan")
    lease = queue.lease("Dan")
    assert lease and lease.task.id == "rank"
    queue.submit(lease, Submission("d", {"reason": "too long"}, action="skip"))
    undone = queue.undo("Ann", "Ann-pair", key="Ann-undo")
    queue.submit(undone, Submission("Ann-again", ANSWERS["Ann"]["pair"]))
    return database


def another(tmp_path: Path) -> Database:
    return Database.open(path=tmp_path / "another.db")


def load(database: Database, file: Path, options: Options | None = None, **values: Any) -> Imported:
    options = options or Options()
    kind = values.pop("format", "auto")
    project = values.pop("project", "p")
    entries, _ = read_entries(
        str(file), project, format=kind, options=options, max_bad_rows=values.pop("bad", 0)
    )
    return SqlImporter(database, project, options).add(entries)


def said(standing: Standing) -> Any:
    """All that matters of a judgement but its ids, and when it was stored."""
    kept = {"id", "task", "created_at"}
    values = {k: v for k, v in dataclasses.asdict(standing).items() if k not in kept}
    task = dataclasses.replace(standing.task, id="", overlap=1)
    return task, values


def key(standing: Standing) -> tuple[str, str]:
    return standing.task.kind, standing.annotator


def standing(database: Database) -> list[Any]:
    return [said(s) for s in sorted(SqlJudgements(database).current("p"), key=key)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet", "a.json"])
def test_judgements_come_back_as_they_were(full: Database, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    _, rows, count = export_file(full, "p", file, what="judgements", aggregation="majority")
    assert rows == count == len(standing(full)) == 17
    target = another(tmp_path)
    assert load(target, file) == Imported(tasks=6, judgements=17)
    assert standing(target) == standing(full)
    # A second time nothing is new, there and where it came from.
    assert load(target, file) == load(full, file) == Imported(known=17)
    assert len(standing(full)) == 17
    assert SqlJudgements(target).is_whole() and SqlJudgements(full).is_whole()
    assert SqlTaskQueue(target).progress("p") == SqlTaskQueue(full).progress("p")
    target.close()


@pytest.mark.parametrize("what", ["argilla", "label_studio"])
def test_through_the_others_formats(full: Database, tmp_path: Path, what: Any) -> None:
    """Answers survive; what the others' formats do not have (strength, ranks' ties) is named."""
    file = tmp_path / "there.json"
    export_file(full, "p", file, what=what, aggregation="majority")
    target = another(tmp_path)
    options = Options(prompt_field="prompt")
    load(target, file, options)
    theirs = {(s.task.kind, s.annotator): s for s in SqlJudgements(target).current("p")}
    for ours in SqlJudgements(full).current("p"):
        if ours.action != "judge":  # all that is no judgement is a skip there
            assert theirs[ours.task.kind, ours.annotator].action == "skip"
            continue
        found = theirs[ours.task.kind, ours.annotator]
        assert (found.task.prompt, found.task.responses) == (ours.task.prompt, ours.task.responses)
        assert found.answer is not None and ours.answer is not None
        answer = {**ours.answer, "strength": None}
        if what == "label_studio" and ours.task.kind == "ranking":
            answer["ranks"] = {"Ann": [2, None, 1, 3], "Cem": [1, 2, 3, 4]}.get(
                ours.annotator, answer["ranks"]
            )
        if "text" in answer:
            answer.setdefault("response", 0)
        assert {"strength": None, **found.answer} == answer
    target.close()


def test_aggregated_files_train_and_come_back(full: Database, tmp_path: Path) -> None:
    def write(what: Any) -> list[dict[str, Any]]:
        file = tmp_path / f"{what}.jsonl"
        sha256, rows, count = export_file(full, "p", file, what=what, aggregation="majority")
        note = json.loads((tmp_path / f"{what}.jsonl.export.json").read_text())
        assert note["export_sha256"] == sha256 and note["judgements"] == count
        assert note["file_sha256"] == hash_path(file)
        assert len(SqlJudgements(full).judgements_of(sha256)) == count
        found = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(found) == rows
        return found

    (pair,) = write("comparisons")
    # b, both bad, tie: (1/2 + 1/2 + 1/2) / 4 for a.
    assert pair["p_chosen"] == 0.625 and pair["chosen"][0]["content"] == "three"
    assert [c.p_chosen for c in load_comparisons([str(tmp_path / "comparisons.jsonl")])] == [0.625]
    assert [row["ranks"] for row in write("rankings")] == [
        [2, None, 1, 2], [4, 3, 2, 1], [1, 1, 5, 9]
    ]  # fmt: skip
    assert len(load_comparisons([str(tmp_path / "rankings.jsonl")])) == 3 + 6 + 6
    (rating,) = write("ratings")
    assert rating["ratings"] == {"helpful": [4.5, 3.0], "honest": [1.0, 4.0]}
    assert [row["completion"][0]["content"] for row in write("demonstrations")] == [
        "good\n",
        "better",
    ]
    (label,) = write("labels")
    assert label["label"] is True and label["votes"] == 3

    target = another(tmp_path)
    load(target, tmp_path / "comparisons.jsonl")
    load(target, tmp_path / "labels.jsonl")
    (again,) = [s for s in SqlJudgements(target).current() if s.task.kind == "pairwise"]
    assert again.answer is not None and again.annotator == "imported"
    again_file = tmp_path / "again.jsonl"
    export_file(target, "p", again_file, what="comparisons", aggregation="majority")
    (row,) = [json.loads(line) for line in again_file.read_text().splitlines()]
    same = ("prompt", "chosen", "rejected", "p_chosen", "x")
    assert {name: row[name] for name in same} == {name: pair[name] for name in same}
    target.close()


def test_nothing_is_stored_of_a_contradiction(full: Database, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    export_file(full, "p", file, what="judgements", aggregation="majority")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    before = standing(full)
    other = [row for row in rows if row["kind"] == "pairwise"]
    other[0]["answer"] = {"verdict": "a"}
    new = {**other[0], "prompt": "new?", "task_id": None, "annotator": "Zoe"}
    file.write_text("\n".join(map(json.dumps, [new, *other])))
    with pytest.raises(DataError, match="row 2: annotator 'Ben' has said another thing"):
        load(full, file)
    twice = [new, {**new, "answer": {"verdict": "tie"}}]
    file.write_text("\n".join(map(json.dumps, twice)))
    with pytest.raises(DataError, match="row 2: annotator 'Zoe' said another thing .* row 1"):
        load(full, file)
    file.write_text(json.dumps({**new, "annotator": "Ann", "annotator_kind": "model"}))
    with pytest.raises(ConflictError, match="row 1: annotator 'Ann' is a person, not a model"):
        load(full, file)
    assert standing(full) == before
    assert SqlTaskQueue(full).progress("p")["tasks"] == 6


def test_what_was_undone_stays_undone(full: Database, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    export_file(full, "p", file, what="judgements", aggregation="majority")
    target = another(tmp_path)
    load(target, file)
    queue, log = SqlTaskQueue(target), SqlJudgements(target)
    mine = next(s for s in log.current() if s.annotator == "Cem" and s.task.kind == "success")
    queue.undo("Cem", mine.id, key="undo")
    assert load(target, file) == Imported(known=17)
    assert len(log.current()) == 16
    target.close()
