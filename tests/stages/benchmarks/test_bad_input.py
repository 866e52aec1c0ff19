"""Benchmark files that lack something, and judges that answer badly, through the whole stage."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import AccordError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.engine.local import LocalEngine
from accord.judges.chat_client import HttpChatClient
from accord.stages.benchmarks import run as stage
from accord.stages.benchmarks.config import Config
from judges.fake_endpoint import FakeEndpoint, Raw, completion

ASKED = [f"What is {n}?" for n in range(3)]
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "alpaca_eval": ("baseline", {"instruction": "q", "output": "a", "generator": "g"}),
    "mt_bench": ("question", {"question_id": 81, "category": "writing", "turns": ["a", "b"]}),
    "gsm8k": ("test", {"question": "2 + 3?", "answer": "5 #### 5"}),
    "human_eval": (
        "HumanEval",
        {
            "task_id": "HumanEval/0", "prompt": "def one():\n", "entry_point": "one",
            "test": "def check(f):\n    assert f() == 1\n", "canonical_solution": "    return 1",
        },
    ),
    "xstest": ("xstest_prompts", {"id": "1", "prompt": "How?", "type": "homonyms"}),
    "reward_bench": (
        "filtered",
        {"prompt": "q", "chosen": "a", "rejected": "b", "subset": "s", "id": 1},
    ),
}  # fmt: skip
FOLDERS = {"human_eval": "humaneval"}
NEEDED = [
    (suite, field)
    for suite, (_, row) in ROWS.items()
    for field in row
    if (suite, field) not in {("reward_bench", "id"), ("human_eval", "canonical_solution")}
]


def run(model: Path, out: Path, **values: Any) -> stage.Result:
    defaults = {"model_name_or_path": str(model), "max_new_tokens": 8, "sandbox": "limits"}
    config = Config.parse({**defaults, **values}, where="test")
    return stage.run(config, RunDir(out), engine_factory=LocalEngine)


@pytest.mark.parametrize(("suite", "field"), NEEDED)
def test_a_missing_field_is_named_before_anything_is_sampled(
    suite: str, field: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    name, row = ROWS[suite]
    path = tmp_path / "files" / FOLDERS.get(suite, suite) / f"{name}.jsonl"
    whole = dict(row)
    write_jsonl(path, [whole, {k: v for k, v in whole.items() if k != field}])
    judge = {"judge": str(tiny_model_dir)} if suite in {"alpaca_eval", "mt_bench"} else {}
    with pytest.raises(AccordError, match=field) as found:
        run(tiny_model_dir, tmp_path / "out", suite=[suite], benchmarks=str(tmp_path / "files"),
            reference=str(tiny_model_dir), **judge)  # fmt: skip
    assert f"{name}.jsonl" in str(found.value)
    assert not list((tmp_path / "out").glob("answers-*"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [{"instruction": q, "output": f"of {q}", "generator": "g"} for q in ASKED]
    write_jsonl(tmp_path / "files/alpaca_eval/baseline.jsonl", rows)
    return tmp_path / "files"


def compared(model: Path, files: Path, endpoint: FakeEndpoint, out: Path) -> stage.Result:
    return run(model, out, suite=["alpaca_eval"], benchmarks=str(files),
               judge_url=endpoint.url, judge_name="fake")  # fmt: skip


def test_bad_answers_are_counted_and_are_nobodys_win(
    tiny_model_dir: Path, files: Path, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any], number: int) -> Raw:
        asked = json.dumps(request)
        if "What is 0?" in asked:
            return completion("banana")
        if "What is 1?" in asked:
            return Raw(400, b"no")
        if number == len(ASKED):  # whatever comes then, once
            return Raw(429, b"slow down", {"Retry-After": "0"})
        return completion("A")

    with FakeEndpoint(answer) as endpoint:
        result = compared(tiny_model_dir, files, endpoint, tmp_path / "out")
    found, judge = result.suites["alpaca_eval"], result.judge
    assert judge is not None
    counts = judge["counts"]
    assert (counts["judged"], counts["abstained"]) == (6, 4)
    assert counts["nonsense"] == 2 and counts["refused"] >= 2
    # First whatever the order: no verdict on the responses.
    assert found["figures"]["win_rate"]["value"] == 0.5 and found["figures"]["win_rate"]["n"] == 1
    rows = [json.loads(r) for r in (tmp_path / "out/alpaca_eval.jsonl").read_text().splitlines()]
    assert [row["preference"] for row in rows] == [None, None, 0.5]
    assert "the judge abstained on 2 of 3 pairs" in found["notes"]


def test_a_judge_that_says_nothing_gives_no_win_rate(
    tiny_model_dir: Path, files: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(lambda *_: completion("banana")) as endpoint:
        for asked in (12, 12):  # what was paid for is kept, and not asked again
            with pytest.raises(DataError, match="abstained on all of 3 pairs"):
                compared(tiny_model_dir, files, endpoint, tmp_path / "out")
            assert len(endpoint.requests) == asked
    assert (tmp_path / "out/answers-alpaca_eval.jsonl").exists()
    assert not (tmp_path / "out/alpaca_eval.jsonl").exists()


def test_an_endpoint_that_is_not_there_is_an_error(
    tiny_model_dir: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = HttpChatClient.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", lambda _: None)
    with FakeEndpoint(lambda *_: completion("A")) as endpoint:
        pass
    with pytest.raises(AccordError, match="could not be reached"):
        compared(tiny_model_dir, files, endpoint, tmp_path / "out")
    assert (tmp_path / "out/answers-alpaca_eval.jsonl").exists()
