"""From a store to a reward model, and back from the model to the judgements that are in it."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.errors import ConfigError, DataError
from accord.core.types import Message, Submission, Task
from accord.corpora.sample_set.generate import write as write_sample_set
from accord.pipeline import execute
from accord.stages.preferences.config import Config
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.wiring import stage_config

ANNOTATORS = ("Ann", "Ben", "Cem")


def pair(number: int) -> Task:
    prompt = (Message(role="user", content=f"Which number is {number}?"),)
    return Task(f"t{number}", "p", "pairwise", prompt, ("the country", "19"), overlap=3)


def judge_all(queue: SqlTaskQueue, annotator: str, answer: dict[str, Any], kind: str) -> None:
    while (lease := queue.lease(annotator, project="p")) is not None:
        assert lease.task.kind == kind
        queue.submit(lease, Submission(f"{annotator}-{lease.task.id}", answer))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Forty pairs on which two of three prefer b, and a ranking by Ann."""
    path = tmp_path / "store.db"
    database = Database.open(path=path)
    queue = SqlTaskQueue(database)
    for name in ANNOTATORS:
        queue.register(name)
    queue.add([pair(number) for number in range(40)])
    for name, verdict in zip(ANNOTATORS, ("b", "b", "a"), strict=True):
        judge_all(queue, name, {"verdict": verdict}, "pairwise")
    prompt = (Message(role="user", content="Rank these"),)
    queue.add([Task("r", "p", "ranking", prompt, ("one", "two", "three"))])
    judge_all(queue, "Ann", {"ranks": [2, None, 1]}, "ranking")
    database.close()
    return path


def config(store: Path, **values: Any) -> Config:
    return Config.parse({"project": "p", "database": str(store), **values}, where="test")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_takes_what_stands(store: Path, tmp_path: Path) -> None:
    outcome = execute("preferences", config(store, judge_fraction=0.0), tmp_path / "run" / "pref")
    result = outcome.result
    names = ("comparisons", "heldout_comparisons")
    rows = [row for name in names for row in rows_of(outcome.path / result[name])]
    pairs = [row for row in rows if "chosen" in row]
    assert len(pairs) == 40 and len(rows) == 41
    # Two votes of three for b: 1 - (1 + 1/2) / 4.
    assert {(row["chosen"][0]["content"], row["p_chosen"]) for row in pairs} == {("19", 0.625)}
    (ranking,) = [row for row in rows if "ranks" in row]
    assert ranking["ranks"] == [2, None, 1]
    assert result["judgement_count"] == 121 and result["judgements_by_kind"] == {"person": 121}
    assert result["agreement"] == pytest.approx(1 / 3)
    database = Database.open(path=store)
    recorded = SqlJudgements(database).judgements_of(result["export_sha256"])
    assert len(recorded) == 121
    assert {row["id"] for row in rows_of(outcome.path / result["judgements"])} == set(recorded)
    database.close()


def test_single_responses_are_labelled_and_demonstrated(store: Path, tmp_path: Path) -> None:
    """In files of their own, without the prompts that are held out of the comparisons."""
    database = Database.open(path=store)
    queue = SqlTaskQueue(database)
    for number in range(40):
        queue.add([replace(pair(number), id=f"s{number}", kind="success", responses=("19",))])
    judge_all(queue, "Ann", {"success": True}, "success")
    for number in range(40):
        queue.add([replace(pair(number), id=f"w{number}", kind="rewrite", responses=("19",))])
    judge_all(queue, "Ann", {"text": "It is 19."}, "rewrite")
    database.close()
    outcome = execute("preferences", config(store, heldout_fraction=0.3), tmp_path / "run")
    result = outcome.result
    prompts = {
        name: {row["prompt"][0]["content"] for row in rows_of(outcome.path / result[name])}
        for name in ("labels", "demonstrations", "comparisons", "heldout_comparisons")
    }
    assert prompts["labels"] == prompts["demonstrations"] > prompts["comparisons"] - {"Rank these"}
    assert not prompts["labels"] & prompts["heldout_comparisons"]
    assert len(prompts["labels"] | prompts["heldout_comparisons"]) in (40, 41)
    assert result["label_count"] == result["demonstration_count"] == len(prompts["labels"])
    assert result["judgement_count"] == 121 + 80
    (label,) = {str(row["label"]) for row in rows_of(outcome.path / result["labels"])}
    assert label == "True"


def test_where_all_is_held_out_nothing_is_left(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 41 comparisons, 0 labels and 0 demonstrations"):
        execute("preferences", config(store, heldout_fraction=0.999, judge_fraction=0), tmp_path)


def test_new_judgements_are_another_input(store: Path, tmp_path: Path) -> None:
    def run() -> Any:
        return execute("preferences", config(store), tmp_path / "run" / "pref", redo_changed=True)

    first = run()
    assert run().was_skipped
    database = Database.open(path=store)
    queue = SqlTaskQueue(database)
    queue.undo("Ann", "Ann-t3", key="undone")
    database.close()
    second = run()
    assert not second.was_skipped
    assert second.result["judgement_count"] == first.result["judgement_count"] - 1
    assert second.result["export_sha256"] != first.result["export_sha256"]


def test_what_cannot_be_taken_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name one with project"):
        Config.parse({"database": "x.db"}, where="test")
    with pytest.raises(DataError, match="no such database"):
        execute("preferences", config(tmp_path / "none.db"), tmp_path / "a")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(DataError, match="no such project; known: p"):
        execute("preferences", config(store, project="q"), tmp_path / "b")
    with pytest.raises(ConfigError, match="holds a password"):
        secret = "postgresql://u:secret@localhost/x"
        execute("preferences", config(store, database=secret), tmp_path / "c")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 40)
    with pytest.raises(DataError, match="not a database of Accord"):
        execute("preferences", config(tmp_path / "text.db"), tmp_path / "d")


def test_a_model_leads_back_to_its_judgements(
    store: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefs = execute("preferences", config(store), tmp_path / "run" / "pref")
    values = {
        "model_name_or_path": str(tiny_model_dir),
        "comparisons": [str(prefs.path / prefs.result["comparisons"])],
        "max_steps": 2,
        "max_length": 64,
        "eval_fraction": 0.2,
    }
    reward = stage_config("reward").parse(values, where="test")
    trained = execute("reward", reward, tmp_path / "elsewhere" / "reward")
    assert math.isfinite(trained.result["heldout_accuracy"])
    assert cli.main(["lineage", str(trained.path / "model"), "--judgements"]) == 0
    shown = capsys.readouterr().out
    assert prefs.result["export_sha256"] in shown
    assert "project p, aggregation majority" in shown
    database = Database.open(path=store)
    log = SqlJudgements(database)
    ids = log.judgements_of(prefs.result["export_sha256"])
    assert len(ids) == 121 and all(f" {name}\n" in shown for name in ids)
    log.erase(annotator="Ben")
    database.close()
    assert cli.main(["lineage", str(trained.path)]) == 0
    shown = capsys.readouterr().out
    assert "judgements: 121, 40 of them erased since" in shown and "and 113 more" in shown
    store.rename(store.with_name("moved.db"))
    assert cli.main(["lineage", str(trained.path)]) == 0
    assert "as the step's own files say: 121 judgements" in capsys.readouterr().out
    moved = ["--database", str(store.with_name("moved.db"))]
    assert cli.main(["lineage", str(trained.path), *moved]) == 0
    assert "query: what comparisons" in capsys.readouterr().out


def test_a_pipeline_from_the_store(
    store: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
name = "from-people"
[inputs]
model = "{tiny_model_dir}"
[[step]]
name = "votes"
stage = "preferences"
project = "p"
database = "{store}"
aggregation = "one_coin"
[[step]]
name = "reward"
stage = "reward"
max_steps = 2
max_length = 64
eval_fraction = 0.2
inputs = {{ model_name_or_path = "inputs.model", comparisons = ["votes.comparisons"] }}
"""
    )
    run = ["run", "--config", str(file), "--output_dir", str(tmp_path / "run"), "--quiet"]
    assert cli.main(run) == 0
    assert "project p" in (tmp_path / "run" / "report.html").read_text()
    capsys.readouterr()
    assert cli.main(run) == 0
    assert capsys.readouterr().out.count("unchanged, skipped") == 2
    assert cli.main(["lineage", str(tmp_path / "run" / "reward" / "model")]) == 0
    shown = capsys.readouterr().out
    assert "aggregation one_coin" in shown and "judgements: 121" in shown


def test_the_way_through_the_store_changes_nothing(tmp_path: Path) -> None:
    """Simulated votes as a file, and through a store: the same comparisons, in the same files."""
    whole = write_sample_set(tmp_path / "sample", seed=0)["judgements"]
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(whole.read_text().splitlines(keepends=True)[:600]))
    assert cli.main(["data", "import", str(file), "--database", str(tmp_path / "s.db"),
                     "--project", "p"]) == 0  # fmt: skip
    direct = Config.parse({"judgements": [str(file)]}, where="test")
    found = []
    for name, made in (("direct", direct), ("stored", config(tmp_path / "s.db"))):
        outcome = execute("preferences", made, tmp_path / name)
        assert outcome.result["judgement_count"] == 600
        outputs = ("comparisons", "heldout_comparisons", "judge_comparisons")
        parts = [rows_of(outcome.path / outcome.result[output]) for output in outputs]
        found.append([{_pair(row) for row in part} for part in parts])
        assert sum(map(len, found[-1])) == sum(map(len, parts)) == 200
    assert found[0] == found[1]


def _pair(row: dict[str, Any]) -> Any:
    sides = [row["chosen"][0]["content"], row["rejected"][0]["content"]]
    is_even = row["p_chosen"] == 0.5  # then neither side is the better
    prompt = json.dumps(row["prompt"])
    return prompt, *(sorted(sides) if is_even else sides), row["p_chosen"], row["votes"]
