"""Simulated annotators drive the real app over HTTP: each slot once, the same for a seed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord import cli
from accord.annotation.simulation import Crowd
from accord.core.files import write_jsonl
from accord.core.types import Task
from accord.store.database import Database
from accord.store.exporting import comparisons
from accord.store.judgements import SqlJudgements, Standing
from accord.web.simulation import SimulatedWorker

PLANTED = """
class Longer:
    kind = "simulated"
    def __init__(self, name):
        self.name = name
    def judge(self, row, a, b):
        assert row["aim"] == "helpful"
        return "a" if len(a) > len(b) else "b" if len(b) > len(a) else "tie"
ANNOTATORS = [Longer("one"), Longer("two")]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ACCORD_DATABASE_URL", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted_crowd.py").write_text(PLANTED)
    pairs = [
        {"prompt": f"q{i}", "responses": ["x" * (i % 7 + 1), "y" * (9 - i % 5)], "aim": "helpful"}
        for i in range(30)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    return tmp_path


def simulate(folder: Path, name: str, *more: str) -> list[Standing]:
    database = folder / f"{name}.db"
    arguments = ["label", "--database", str(database), "--tasks", str(folder / "pairs.jsonl")]
    arguments += ["--project", "p", "--overlap", "5", "--port", "0"]
    assert cli.main([*arguments, "--simulate", "planted_crowd:ANNOTATORS", *more]) == 0
    opened = Database.open(path=database)
    try:
        return SqlJudgements(opened).current("p")
    finally:
        opened.close()


def test_a_crowd_fills_every_slot_and_aggregation_finds_the_truth(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = ("--crowd", "8", "--bad_share", "0.25", "--seed", "3")
    said = simulate(folder, "one", *crowd)
    assert "150 judgements by 8 simulated annotators; 150 of 150" in capsys.readouterr().out
    assert len(said) == 150 and {s.annotator_kind for s in said} == {"simulated"}
    assert all(s.time_on_task_s and s.guideline_version == 1 for s in said)
    rows = comparisons(said, aggregation="dawid_skene_by_side").rows
    right = [len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"]) for row in rows]
    assert np.mean(right) > 0.9
    again = simulate(folder, "two", *crowd)
    assert [(s.annotator, s.answer) for s in again] == [(s.annotator, s.answer) for s in said]


def test_the_list_itself_judges_as_it_thinks(folder: Path) -> None:
    said = simulate(folder, "plain")
    assert len(said) == 60  # each of the two judges every pair, and no more
    for s in said:
        a, b = map(len, s.task.responses)
        assert s.answer == {"verdict": "a" if a > b else "b" if b > a else "tie"}


def test_a_taste_for_the_left_is_a_taste_for_the_left() -> None:
    """Whatever the order, and also where the opinion is a tie."""

    class Tie:
        name, kind = "tie", "simulated"

        def judge(self, *_: Any) -> str:
            return "tie"

    one, none = np.ones(1), np.zeros(1)
    crowd = Crowd(none, one, none, np.zeros(1, dtype=np.int64))
    client: Any = None
    opinion: Any = Tie()
    worker = SimulatedWorker(client, opinion, crowd, 0, np.random.default_rng(0))
    task = Task("t", "p", "pairwise", (), ("x", "y"))
    for order in ([0, 1], [1, 0]):
        lease = {"order": order, "task": {"id": "t"}}
        assert worker._verdict(lease, {"t": task}) == "ab"[order[0]]


def test_opinions_of_models_move_those_who_are_moved(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the suggestions are wrong, and critiques say the contrary. All follow a suggestion,
    and of critiques those that are right; what is hidden by lot moves nobody."""
    rows = []
    for n in range(40):
        truth, other = ("b", "a") if n % 3 else ("a", "b")
        said, contrary = (truth, other) if n % 2 else (other, truth)
        texts = ["x" * (2 - (truth == "b")), "y" * (1 + (truth == "b"))]  # the longer is the better
        hints = {
            "suggestion": {"agent": "m", "answer": {"verdict": said}},
            "critique": {"agent": "m", "text": "No.", "answer": {"verdict": contrary}},
        }
        row = {"prompt": f"q{n}", "responses": texts, "aim": "helpful"}
        rows.append({**row, **hints, "gold": {"verdict": truth}})
    write_jsonl(folder / "pairs.jsonl", rows)
    how = ("--show", "suggestions", "critiques", "--anchoring", "1", "--heeds_right", "1")
    simulate(folder, "moved", *how)
    written = folder / "report.json"
    asked = ["data", "assistance", "--database", str(folder / "moved.db"), "--project", "p"]
    assert cli.main([*asked, "--output", str(written)]) == 0
    report = json.loads(written.read_text())
    shares = report["suggestions"]["anchoring"]
    assert shares["shown"]["hits"] == shares["shown"]["total"] > 50
    assert 0 < shares["hidden"]["hits"] < shares["hidden"]["total"]
    gold = report["oversight"]["gold"]
    assert report["oversight"]["waiting"] == 0
    assert gold["help"]["hits"] == gold["help"]["total"] > 10
    assert gold["over_trust"]["hits"] == 0 < 10 < gold["over_trust"]["total"]
    assert "anchoring, shown less hidden" in capsys.readouterr().out


def test_what_cannot_be_simulated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["label", "--database", str(folder / "x.db"), "--port", "0", "--simulate"]
    assert cli.main([*arguments, "planted_crowd:ANNOTATORS"]) == 2
    assert "--simulate needs --project" in capsys.readouterr().err
    assert cli.main([*arguments, "planted_crowd:PLANTED", "--project", "p"]) == 2
    moved = ("--project", "p", "--heeds_wrong", "1.5")
    assert cli.main([*arguments, "planted_crowd:ANNOTATORS", *moved]) == 2
    assert "heeds_wrong is a probability" in capsys.readouterr().err


def test_a_column_that_annotators_need_and_tasks_lack_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(folder / "bare.jsonl", [{"prompt": "q", "responses": ["x", "yy"]}])
    arguments = ["label", "--database", str(folder / "x.db"), "--port", "0", "--project", "p"]
    arguments += ["--tasks", str(folder / "bare.jsonl"), "--overlap", "2"]
    assert cli.main([*arguments, "--simulate", "planted_crowd:ANNOTATORS"]) == 2
    assert "needs the column 'aim'" in capsys.readouterr().err
