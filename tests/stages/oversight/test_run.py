"""The stage on small sets: a judge that believes its critic, behind endpoints on the loopback."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import ConfigError, Interrupted
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.engine.local import LocalEngine
from accord.pipeline import execute
from accord.stages.oversight import run as stage
from accord.stages.oversight.config import Config
from judges.fake_endpoint import FakeEndpoint, Raw, completion


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    pairs = [
        {"input": f"Q{n}", "output_1": f"good {n}", "output_2": f"bad {n}", "label": 1}
        for n in range(6)
    ]
    write_jsonl(folder / "llmbar/Natural.jsonl", pairs)
    graded = [
        {
            "question": f"P{n}",
            "one": {"is_correct": True, "solution": f"good {n}\nA: {n}"},
            "two": {"is_correct": False, "solution": f"bad {n}\nA: 0"},
        }
        for n in range(1, 6)
    ]
    write_jsonl(folder / "gsm8k/example_model_solutions.jsonl", graded)
    problems = [
        {"question": f"P{n}", "answer": f"So 1 + {n} = {1 + n}.\n#### {1 + n}"} for n in range(4)
    ]
    write_jsonl(folder / "gsm8k/test.jsonl", problems)
    return folder


def judge(request: dict[str, Any], _: int) -> Raw:
    """Always A, unless the remarks call one of the two bad."""
    text = request["messages"][-1]["content"]
    remarks = text.split("Remarks on Response ")[1:]
    bad = [part[0] for part in remarks if "it is bad" in part.split("Response")[0]]
    return completion({"A": "B", "B": "A"}[bad[0]] if len(bad) == 1 else "A")


def assistant(request: dict[str, Any], _: int) -> Raw:
    text = request["messages"][-1]["content"]
    if "first wrong line" in text:
        return completion("Line 1")
    if "Name the worst fault" in text:
        return completion("it is bad" if " Response\nbad" in text else "no fault")
    return completion("Trust me.")


def config(folder: Path, judging: FakeEndpoint, helping: FakeEndpoint, **values: Any) -> Config:
    urls = {
        "judge_url": judging.url, "judge_name": "weak",
        "assistant_url": helping.url, "assistant_name": "strong",
    }  # fmt: skip
    return Config.parse({"benchmarks": str(folder), **urls, **values}, where="test")


def test_a_critique_helps_where_a_debate_does_not(files: Path, tmp_path: Path) -> None:
    with FakeEndpoint(judge) as judging, FakeEndpoint(assistant) as helping:
        wanted = config(files, judging, helping)
        for _ in range(2):
            result = stage.run(wanted, RunDir(tmp_path / "r"), engine_factory=LocalEngine)
        asked = len(judging.requests), len(helping.requests)
    for found in result.sets.values():
        values = {aid: figure["value"] for aid, figure in found["accuracy"].items()}
        assert values == {"alone": 0.5, "critique": 1.0, "debate": 0.5}
        assert found["recovered"]["critique"]["share"] == 1.0
        assert found["recovered"]["debate"]["share"] == 0.0
    assert (result.sets["llmbar"]["pairs"], result.sets["gsm8k"]["pairs"]) == (6, 5)
    assert result.flaws is not None
    assert result.flaws["recall"]["value"] == result.flaws["false_alarms"]["value"] == 1.0
    assert (result.judge.split(" ")[0], result.assistant) == ("weak", "strong")
    assert result.spent == {"prompt_tokens": 660, "completion_tokens": 132, "price": 0.0}
    # 11 pairs in both orders, three ways; 22 critiques, 4 speeches a pair, 8 solutions: paid once
    assert asked == (66, 22 + 44 + 8)


def test_ctrl_c_stops_between_questions_which_are_paid_once(files: Path, tmp_path: Path) -> None:
    def stopping(request: dict[str, Any], number: int) -> Raw:
        if number == 0:
            signal.raise_signal(signal.SIGINT)
        return judge(request, number)

    with FakeEndpoint(stopping) as judging, FakeEndpoint(assistant) as helping:
        wanted = config(files, judging, helping)
        with pytest.raises(Interrupted, match="run again"):
            stage.run(wanted, RunDir(tmp_path / "r"), engine_factory=LocalEngine)
        assert (len(judging.requests), len(helping.requests)) == (12, 0)
        stage.run(wanted, RunDir(tmp_path / "r"), engine_factory=LocalEngine)
        assert (len(judging.requests), len(helping.requests)) == (66, 74)


def test_local_models_through_the_pipeline(
    files: Path, tmp_path: Path, tiny_model_dir: Path
) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for path in tiny_model_dir.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 8192}))
    values = {
        "benchmarks": str(files), "judge": str(folder), "assistant": str(folder), "max_pairs": 2,
        "max_completion_length": 4, "debate_rounds": 1, "sets": "llmbar", "max_flaws": 0,
    }  # fmt: skip
    outcome = execute("oversight", Config.parse(values, where="test"), tmp_path / "r")
    assert set(outcome.result["sets"]["llmbar"]["accuracy"]) == {"alone", "critique", "debate"}
    assert outcome.result["flaws"] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"assistant": "m"}, "nobody judges"),
        ({"judge": "m"}, "one assistant"),
        ({"judge": "m", "assistant": "m", "assistant_url": "http://x/v1"}, "one assistant"),
        ({"judge": "m", "assistant": "m", "judge_thinks": True}, "bare verdicts"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.parse({"benchmarks": "b", **values}, where="test")
