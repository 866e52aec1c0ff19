"""Suites answered and graded end to end, resumed, refused, and shown side by side."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from accord import cli
from accord.core.errors import AccordError, ConfigError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.engine.local import LocalEngine
from accord.models.heads import init_reward_model
from accord.models.loading import load_tokenizer, save_model
from accord.stages.benchmarks import answering
from accord.stages.benchmarks import run as stage
from accord.stages.benchmarks.config import Config

SHIPPED = ["instruction_following", "confidence", "unanswerable"]


def config(model: Path, **values: Any) -> Config:
    defaults = {"model_name_or_path": str(model), "max_questions": 3, "max_new_tokens": 8}
    return Config.parse({**defaults, **values}, where="test")


def run(config: Config, path: Path) -> stage.Result:
    return stage.run(config, RunDir(path), engine_factory=LocalEngine)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of benchmarks of two or three questions each."""
    folder = tmp_path / "benchmarks"
    asked = [f"What is {n}?" for n in range(3)]
    for kind in ("baseline", "concise", "verbose"):
        rows = [{"instruction": q, "output": f"{kind} {q}", "generator": kind} for q in asked]
        write_jsonl(folder / "alpaca_eval" / f"{kind}.jsonl", rows)
    questions = [
        {"question_id": 81 + n, "category": "writing", "turns": [f"Write {n}", "Shorter"]}
        for n in range(2)
    ]
    write_jsonl(folder / "mt_bench/question.jsonl", questions)
    choice = {"choices": [{"turns": ["one", "two"]}]}
    write_jsonl(folder / "mt_bench/reference_answer.jsonl", [{"question_id": 101, **choice}])
    write_jsonl(folder / "gsm8k/test.jsonl", [{"question": "2 + 3?", "answer": "5 #### 5"}] * 2)
    problem = {
        "task_id": "HumanEval/0",
        "prompt": 'def one():\n    """One."""\n',
        "entry_point": "one",
        "test": "def check(f):\n    assert f() == 1\n",
        "canonical_solution": "    return 1\n",
    }
    write_jsonl(folder / "humaneval/HumanEval.jsonl", [problem])
    pairs = [
        {"input": q, "output_1": "good", "output_2": "no", "label": 1 + n % 2}
        for n, q in enumerate(asked)
    ]
    write_jsonl(folder / "llmbar/Natural.jsonl", pairs)
    return folder


@pytest.fixture
def judge(tiny_model_dir: Path, tmp_path: Path) -> str:
    """A model whose context holds a judge's questions, letter by letter."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "judge")
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 8192}))
    return str(folder)


def test_what_ships_needs_no_files(tiny_model_dir: Path, tmp_path: Path) -> None:
    result = run(config(tiny_model_dir, suite=SHIPPED), tmp_path / "run")
    assert list(result.suites) == SHIPPED
    for name, found in result.suites.items():
        assert found["figures"] and found["unfinished_responses"] <= found["questions"]
        assert len((tmp_path / f"run/{name}.jsonl").read_text().splitlines()) == found["questions"]
        for figure in found["figures"].values():
            assert figure["value"] is None or figure["low"] <= figure["value"] <= figure["high"]


def test_graded_by_files_and_a_local_judge(
    tiny_model_dir: Path, judge: str, files: Path, tmp_path: Path
) -> None:
    names = ["alpaca_eval", "mt_bench", "gsm8k", "human_eval"]
    made = config(
        tiny_model_dir, suite=names, benchmarks=str(files), judge=judge,
        sandbox="limits",
    )  # fmt: skip
    result = run(made, tmp_path / "run")
    assert set(result.suites["alpaca_eval"]["figures"]) >= {"win_rate", "judge_consistency"}
    assert result.suites["mt_bench"]["questions"] == 4  # two turns of two
    assert result.suites["human_eval"]["figures"]["pass@1"]["value"] == 0.0
    notes = " ".join(result.suites["alpaca_eval"]["notes"])
    assert "not comparable" in notes
    assert result.judge is not None and result.judge["counts"]["judged"] > 0


def test_a_model_against_itself_wins_half(
    tiny_model_dir: Path, judge: str, files: Path, tmp_path: Path
) -> None:
    made = config(
        tiny_model_dir, suite=["alpaca_eval", "mt_bench"], benchmarks=str(files),
        judge=judge, against=str(tiny_model_dir),
    )  # fmt: skip
    result = run(made, tmp_path / "run")
    for found in result.suites.values():
        assert found["figures"]["win_rate"]["value"] == 0.5


def test_a_stopped_run_asks_nothing_twice(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "CHUNK_QUESTIONS", 2)
    made = config(tiny_model_dir, suite=["confidence"], max_questions=5)
    whole = run(made, tmp_path / "whole")
    asked: list[int] = []

    def counting(*arguments: Any, **named: Any) -> Any:
        engine = LocalEngine(*arguments, **named)
        submit = engine.submit

        def counted(requests: Sequence[Any]) -> Any:
            if len(asked) == 1 and not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                raise RuntimeError("killed")
            asked.append(len(requests))
            return submit(requests)

        monkeypatch.setattr(engine, "submit", counted)
        return engine

    again = partial(stage.run, made, RunDir(tmp_path / "cut"), engine_factory=counting)
    with pytest.raises(RuntimeError, match="killed"):
        again()
    assert again() == whole
    assert asked == [2, 2, 1]
    path = "answers-confidence.jsonl"
    assert (tmp_path / "cut" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"suite": ["alpaca_eval"]}, "needs a judge"),
        ({"suite": ["gsm8k"]}, "give benchmarks DIRECTORY"),
        ({"suite": []}, "no suite"),
        ({"suite": ["gsm8k"], "benchmarks": "/nowhere"}, "no such folder"),
        ({"suite": ["confidence"], "against": "x"}, "suites that a judge grades"),
        ({"suite": ["confidence"], "judge_url": "http://127.0.0.1:1"}, "belong together"),
        ({"suite": ["trivia"]}, "suite"),
    ],
)
def test_what_cannot_be_run_is_refused(
    tiny_model_dir: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(AccordError, match=message):
        run(config(tiny_model_dir, **values), tmp_path / "run")


def test_a_reward_model_compares_and_gives_no_grades(
    tiny_model_dir: Path, files: Path, tmp_path: Path
) -> None:
    reward = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=3)
    save_model(reward, load_tokenizer(str(tiny_model_dir)), tmp_path / "reward")
    values = {"benchmarks": str(files), "judge": str(tmp_path / "reward")}
    found = run(config(tiny_model_dir, suite=["alpaca_eval"], **values), tmp_path / "pairs")
    # It reads one response at a time: places mean nothing to it.
    assert found.suites["alpaca_eval"]["figures"]["judge_consistency"]["value"] == 1.0
    with pytest.raises(ConfigError, match="from 1 to 10"):
        run(config(tiny_model_dir, suite=["mt_bench"], **values), tmp_path / "grades")


def test_the_command_and_a_page_of_several_runs(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(tiny_model_dir), "--suite", "confidence", "unanswerable",
               "--max_questions", "2", "--max_new_tokens", "4", "--quiet"]  # fmt: skip
    for seed in ("0", "1"):
        directory = str(tmp_path / f"seed-{seed}")
        assert cli.main([*command, "--seed", seed, "--output_dir", directory]) == 0
    page = tmp_path / "page.html"
    runs = [str(tmp_path / f"seed-{seed}") for seed in ("0", "1")]
    assert cli.main(["report", *runs, "--output", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    html = page.read_text()
    assert "<h2>confidence</h2>" in html and "<h2>unanswerable</h2>" in html
    assert html.count("<svg") == 2 and "seed-0" in html and "seed-1" in html
    summary = json.loads((tmp_path / "seed-0/result.json").read_text())
    value = summary["suites"]["unanswerable"]["figures"]
    assert f"{next(iter(value.values()))['value']:.4g}" in html
    with pytest.raises(AccordError, match="run directory"):
        cli_report(tmp_path / "none")


def cli_report(path: Path) -> None:
    from accord.reporting.comparison import write_comparison

    write_comparison([path], path / "x.html")
