"""Benchmark files that lack something, and judges that answer badly, through the whole stage."""

import json
import re
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


def gold_rows(count: int) -> list[dict[str, Any]]:
    """Each better response by one author or the other in turns."""
    authors = ["me", "you"]
    return [
        {
            "prompt": f"Say {n}", "chosen": f"by {authors[n % 2]}: good {n}",
            "rejected": f"by {authors[1 - n % 2]}: poor {n}",
            "chosen_model": authors[n % 2], "rejected_model": authors[1 - n % 2],
        }
        for n in range(count)
    ]  # fmt: skip


def taste(tiny: Path, files: Path, folder: Path, likes: str, **values: Any) -> str:
    """The notes of a judge that takes whatever holds a word, checked on gold pairs."""
    path = folder / "gold.jsonl"
    write_jsonl(path, gold_rows(40))

    def answer(request: dict[str, Any], _: int) -> Raw:
        first = re.search("by (me|you):", request["messages"][-1]["content"])
        return completion("A" if first is None or first[1] == likes else "B")

    with FakeEndpoint(answer) as endpoint:
        result = run(
            tiny, folder / likes, suite=["alpaca_eval"], benchmarks=str(files),
            judge_url=endpoint.url, judge_name="fake", gold_comparisons=[str(path)], **values,
        )  # fmt: skip
    return " ".join(result.suites["alpaca_eval"]["notes"])


def test_a_judge_s_taste_for_its_own_is_told(
    tiny_model_dir: Path, files: Path, tmp_path: Path
) -> None:
    notes = taste(tiny_model_dir, files, tmp_path, "me", judge_author="me")
    assert "win rates are not valid" in notes and re.search("its own (9.|100)%", notes)
    assert "what is shown first 5" in notes
    notes = taste(tiny_model_dir, files, tmp_path, "you")
    assert "these pairs name no authors" in notes


def test_an_author_is_of_gold_comparisons(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(AccordError, match="judge_author wrote some of gold_comparisons"):
        run(tiny_model_dir, tmp_path, suite=["alpaca_eval"], judge="x", judge_author="me")


PROMPTS = {
    "single-v1": "{question} {answer}",
    "single-v1-multi-turn": "{question_1} {answer_1} {question_2} {answer_2}",
    "single-math-v1": "{question} {answer} {ref_answer_1}",
    "single-math-v1-multi-turn": "{question_1} {answer_2} {ref_answer_2}",
    "pair-v2": "{question} {answer_a} {answer_b}",
    "pair-v2-multi-turn": "{question_1} {answer_a_1} {answer_a_2} {answer_b_1} {answer_b_2}",
    "pair-math-v1": "{question} {answer_a} {answer_b} {ref_answer_1}",
    "pair-math-v1-multi-turn": "{question_1} {answer_a_2} {answer_b_2} {ref_answer_2}",
}


@pytest.fixture
def mt_bench(tmp_path: Path) -> Path:
    folder = tmp_path / "files/mt_bench"
    questions = [
        {"question_id": 81 + n, "category": "writing", "turns": [f"Write {n}", f"Shorter {n}"]}
        for n in range(2)
    ]
    write_jsonl(folder / "question.jsonl", questions)
    choice = {"choices": [{"turns": ["one", "two"]}]}
    write_jsonl(folder / "reference_answer.jsonl", [{"question_id": 101, **choice}])
    prompts = [
        {"name": name, "system_prompt": "", "prompt_template": text}
        for name, text in PROMPTS.items()
    ]
    write_jsonl(folder / "judge_prompts.jsonl", prompts)
    return tmp_path / "files"


def test_an_endpoint_grades_in_mt_bench_s_own_words(
    tiny_model_dir: Path, mt_bench: Path, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any], _: int) -> Raw:
        asked = request["messages"][-1]["content"]
        if asked.startswith("Write 1 "):
            return completion("banana") if "Shorter" in asked else Raw(400, b"no")
        return completion("Good. [[8]]")

    with FakeEndpoint(answer) as endpoint:
        values = {
            "suite": ["mt_bench"], "benchmarks": str(mt_bench),
            "judge_url": endpoint.url, "judge_name": "fake",
        }  # fmt: skip
        for requests in (4, 5):  # only the one that was declined is asked for again
            result = run(tiny_model_dir, tmp_path / "out", **values)
            assert len(endpoint.requests) == requests
    found = result.suites["mt_bench"]
    assert found["figures"]["score"]["value"] == 8.0
    assert "the judge abstained on 2 of 4 answers" in found["notes"]


def test_an_endpoint_compares_in_mt_bench_s_own_words(
    tiny_model_dir: Path, mt_bench: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(lambda *_: completion("[[A]]")) as endpoint:
        result = run(
            tiny_model_dir, tmp_path / "out", suite=["mt_bench"], benchmarks=str(mt_bench),
            judge_url=endpoint.url, judge_name="fake", against=[str(tiny_model_dir)],
        )  # fmt: skip
    figures = result.suites["mt_bench"]["figures"]
    assert figures["win_rate"]["value"] == 0.5 and figures["judge_first_share"]["value"] == 1.0


def test_cut_prompts_are_told_of_both_sides(tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = [{"instruction": "long " * 700, "output": "of g", "generator": "g"}]
    write_jsonl(tmp_path / "files/alpaca_eval/baseline.jsonl", rows)
    write_jsonl(
        tmp_path / "files/gsm8k/test.jsonl", [{"question": "2 + " * 900, "answer": "#### 2"}]
    )
    with FakeEndpoint(lambda *_: completion("A")) as endpoint:
        result = run(
            tiny_model_dir, tmp_path / "out", suite=["alpaca_eval", "gsm8k"],
            benchmarks=str(tmp_path / "files"), judge_url=endpoint.url, judge_name="fake",
            against=[str(tiny_model_dir)],
        )  # fmt: skip
    assert "1 prompts were cut to the model's context" in result.suites["gsm8k"]["notes"]
    notes = result.suites["alpaca_eval"]["notes"]
    assert f"1 prompts were cut to the context of {tiny_model_dir}" in notes


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
