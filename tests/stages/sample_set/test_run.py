"""The stage writes what the generator makes, counts it, and says that annotators are simulated."""

import importlib
import json
from pathlib import Path

import pytest

from accord.core.run_dir import RunDir
from accord.corpora.sample_set import generate
from accord.stages.sample_set.config import Config
from accord.stages.sample_set.run import run


def test_files_counts_and_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = importlib.import_module("accord.corpora.sample_set.generate")
    for sizes in ("TRAIN_SIZES", "TEST_SIZES"):
        monkeypatch.setattr(generator, sizes, dict.fromkeys(getattr(generator, sizes), 10))
    result = run(Config(seed=3), RunDir(tmp_path / "sample"))
    made = generate(3)
    prompts = [result.prompts_train, result.prompts_validation, result.prompts_test]
    assert sum(len(path.read_text().splitlines()) for path in prompts) == len(made.rows)
    assert result.rows["judgements"] == len(made.judgements)
    first = json.loads(result.judgements.read_text().splitlines()[0])
    assert first["annotator_kind"] == "simulated"
    assert first["response_a"] == made.judgements[0]["response_a"]
    assert "simulated" in result.statement
    assert {path.name for path in (tmp_path / "sample").iterdir()} == {
        f"{name.replace('_', '-')}.jsonl" for name in result.rows
    }
