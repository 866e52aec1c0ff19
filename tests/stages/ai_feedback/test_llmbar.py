"""A local judge on LLMBar: what the stage stored of it gives the statistics of the judge itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from accord.core.device import default_device
from accord.core.files import write_jsonl
from accord.core.types import Judgement, Message
from accord.judges.log_prob_judge import LogProbJudge
from accord.judges.recorded import RecordedJudge
from accord.pipeline import execute
from accord.stages.ai_feedback.config import Config
from accord.suites.llmbar import check_judge, read_llmbar


def stored(row: dict[str, Any], order: tuple[int, int], p: float) -> Judgement:
    prompt = tuple(Message(role=m["role"], content=m["content"]) for m in row["prompt"])
    shown = [row["responses"][place] for place in order]
    verdict: Any = "a" if p > 0.5 else "b"
    return Judgement("local", "model", prompt, shown[0], shown[1], verdict, p_a=p)


def test_stored_outputs_of_a_local_judge(
    accord_data: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")  # with room for its questions
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 4096}))
    pairs = read_llmbar(accord_data / "benchmarks/llmbar")[-12:]
    rows = [
        {"prompt": list(p.prompt), "response_a": p.first, "response_b": p.second} for p in pairs
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    values = {
        "judge": str(folder), "dataset_name": str(tmp_path / "pairs.jsonl"),
        "heldout_fraction": 0.0,
    }  # fmt: skip
    result = execute("judge", Config.parse(values, where="test"), tmp_path / "run").result
    outputs = []
    for row in map(json.loads, (tmp_path / "run/judged.jsonl").read_text().splitlines()):
        outputs.append(stored(row, (0, 1), row["p_shown_first"]))
        outputs.append(stored(row, (1, 0), 1 - row["p_shown_second"]))
    from_disk = check_judge(RecordedJudge("local", outputs), pairs)
    judge = LogProbJudge(str(folder), device=default_device(), name="local")
    itself = check_judge(judge, pairs)
    for name in ("accuracy", "both_correct", "baselines", "abstained"):
        assert getattr(from_disk, name) == getattr(itself, name), name
    assert from_disk.bias is not None and itself.bias is not None
    for name in ("consistency", "first_share"):
        assert getattr(from_disk.bias, name) == getattr(itself.bias, name)
        assert result["opinions"][name] == pytest.approx(getattr(itself.bias, name).value)
