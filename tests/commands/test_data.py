"""accord data, from file to store to file to model, and what an erasure has to name."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.files import hash_path
from accord.pipeline import execute
from accord.promotion.aliases import deploy as put
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.wiring import stage_config
from reporting.fake_run import make_step

PAIRS = [
    {"prompt": f"What is {n}?", "chosen": "the answer", "rejected": "19", "annotator": f"A{n % 3}"}
    for n in range(40)
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, PAIRS)))
    return file


def accord(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """What a command printed, which must have gone well."""
    status = cli.main(["data", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert status == 0, err
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert cli.main(["data", *map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def test_from_file_to_model_and_back(
    pairs: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "s.db"
    where = ("--database", store, "--project", "p")
    said = accord(capsys, "import", pairs, *where)
    assert "40 new tasks, 40 new judgements, 0 there already" in said
    assert "0 new tasks, 0 new judgements, 40 there already" in accord(
        capsys, "import", pairs, *where
    )
    output = tmp_path / "runs" / "comparisons.parquet"
    said = accord(capsys, "export", *where, "--output", output)
    assert "40 rows from 40 judgements" in said
    sha256 = said.split()[-1]

    runs = tmp_path / "runs"
    values = {"model_name_or_path": str(tiny_model_dir), "comparisons": [str(output)],
              "max_steps": 2, "max_length": 64, "eval_fraction": 0.2}  # fmt: skip
    reward = execute("reward", stage_config("reward").parse(values, where="test"), runs / "reward")
    values = {"project": "p", "database": str(store)}
    prefs = stage_config("preferences").parse(values, where="test")
    execute("preferences", prefs, runs / "two" / "prefs")
    assert cli.main(["lineage", str(reward.path / "model")]) == 0
    assert f"export {sha256}" in capsys.readouterr().out

    model, aliases = reward.path / "model", tmp_path / "deployed" / "aliases.json"
    sha256_of = hash_path(model)
    put(aliases, "chat", model, sha256=sha256_of, at="now", run=runs / "deploy")
    result = {"aliases": "../../deployed/aliases.json", "sha256": sha256_of, "deployed": True}
    inputs = {"model_name_or_path": [str(model)]}
    make_step(runs, "deploy", "deploy", 1, inputs=inputs, result=result)

    erase = ("erase", "--database", store, "--annotator", "A1", "--runs", runs)
    said = accord(capsys, *erase)
    assert "13 judgements would be erased" in said and "nothing was changed" in said
    database = Database.open(path=store)
    log = SqlJudgements(database)
    assert sum(s.answer is None for s in log.current()) == 0
    said = accord(capsys, *erase, "--yes")
    assert "13 judgements are erased" in said and sha256 in said
    assert "exports that hold some of them: 1" in said  # both are the same rows
    assert "used them: 3" in said
    assert f"alias 'chat' of {aliases} leads to a model of theirs" in said
    assert str(reward.path) in said and str(runs / "two" / "prefs") in said
    assert sum(s.answer is None for s in log.current()) == 13
    assert log.is_whole()
    database.close()
    assert "27 rows from 27 judgements" in accord(
        capsys, "export", *where, "--output", tmp_path / "again.jsonl"
    )
    assert "13 of them erased since" in _lineage(reward.path, capsys)


def _lineage(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["lineage", str(path)]) == 0
    return capsys.readouterr().out


def test_migrate_and_backup(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("ACCORD_DATABASE_URL", f"sqlite:///{tmp_path / 'env.db'}")
    accord(capsys, "import", pairs, "--project", "p", "--unjudged", "--overlap", "2")
    said = accord(capsys, "backup", "--output", tmp_path / "copy.db")
    assert "0 events, the log is whole" in said
    said = accord(capsys, "migrate", "--from", tmp_path / "copy.db", "--to", tmp_path / "new.db")
    assert "counts and hashes are equal" in said
    assert "slots                           80" in said
    said = refused(capsys, "migrate", "--from", tmp_path / "copy.db", "--to", tmp_path / "new.db")
    assert "is not empty; migrate into a new" in said


def test_what_is_refused_leaves_nothing(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("ACCORD_DATABASE_URL", raising=False)
    store = tmp_path / "s.db"
    where = ("--database", store, "--project", "p")
    assert "no action 'imports'; did you mean 'import'" in refused(capsys, "imports")
    assert "no database" in refused(capsys, "import", pairs, "--project", "p")
    with pairs.open("a") as file:
        file.write('\n{"prompt": "Q", "chosen": "A", "rejected": "A"}\n')
    assert "row 41: 'chosen' and 'rejected' are identical" in refused(
        capsys, "import", pairs, *where
    )
    assert not store.exists()
    assert "1 rows left out" in accord(capsys, "import", pairs, *where, "--max_bad_rows", "1")
    assert "there are no rankings to export" in refused(
        capsys, "export", *where, "--what", "rankings", "--output", tmp_path / "r.jsonl"
    )
    assert "expected .jsonl" in refused(capsys, "export", *where, "--output", tmp_path / "r.csv")
    assert not list(tmp_path.glob("r.*"))
    assert "give --annotator or --ids" in refused(capsys, "erase", "--database", store)
    assert "nobody is known as annotator 'Zoe'" in refused(
        capsys, "erase", "--database", store, "--annotator", "Zoe"
    )
    assert "there is no judgement 'x'" in refused(
        capsys, "erase", "--database", store, "--ids", "x"
    )


def test_a_model_that_was_trained_on_a_file_elsewhere_is_named(
    pairs: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The export lies where no runs are."""
    store, output = tmp_path / "s.db", tmp_path / "elsewhere" / "pairs.jsonl"
    accord(capsys, "import", pairs, "--database", store, "--project", "p")
    accord(capsys, "export", "--database", store, "--project", "p", "--output", output)
    values = {"model_name_or_path": str(tiny_model_dir), "comparisons": [str(output)],
              "max_steps": 1, "max_length": 64, "eval_fraction": 0.2}  # fmt: skip
    runs = tmp_path / "runs"
    reward = execute("reward", stage_config("reward").parse(values, where="test"), runs / "reward")
    erase = ("erase", "--database", store, "--annotator", "A1", "--runs", runs)
    said = accord(capsys, *erase)
    assert "used them: 1" in said and str(reward.path) in said
