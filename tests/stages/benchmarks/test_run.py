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
from accord.core.errors import AccordError, ConfigError, Waiting
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Submission
from accord.corpora.readers import read_rows
from accord.engine.local import LocalEngine
from accord.models.heads import init_reward_model
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.stages.benchmarks import answering
from accord.stages.benchmarks import run as stage
from accord.stages.benchmarks.config import Config
from accord.store.database import Database
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue

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


def test_several_models_are_ranked(
    tiny_model_dir: Path, judge: str, files: Path, tmp_path: Path
) -> None:
    other = init_policy_like(tiny_model_dir, tmp_path / "other")
    names = ["alpaca_eval", "mt_bench", "confidence"]
    made = config(
        tiny_model_dir, suite=names, benchmarks=str(files), judge=judge,
        against=[str(tiny_model_dir), str(other)],
    )  # fmt: skip
    result = run(made, tmp_path / "run")
    assert "ranking" not in result.suites["confidence"]
    for name in ("alpaca_eval", "mt_bench"):
        ranking = result.suites[name]["ranking"]
        assert ranking["baseline"] == str(tiny_model_dir)
        assert len(ranking["standings"]) == 3 and len(ranking["matches"]) == 3
        # The same model twice: equal strengths, whatever the third does.
        same = [s["strength"] for s in ranking["standings"] if s["model"] == str(tiny_model_dir)]
        assert same == pytest.approx([0, 0], abs=1e-3)
        first, second, third = ranking["matches"]
        assert first["win_rate"] == 0.5 and second["win_rate"] == third["win_rate"]
        figure = result.suites[name]["figures"]["win_rate"]
        assert figure["value"] == first["win_rate"]
    json.dumps(result.suites)
    fewer = config(
        tiny_model_dir, suite=["mt_bench"], benchmarks=str(files), judge=judge,
        against=[str(tiny_model_dir), str(other)], pairs="baseline",
    )  # fmt: skip
    found = run(fewer, tmp_path / "baseline").suites["mt_bench"]["ranking"]["matches"]
    assert [(m["first"], m["second"]) for m in found] == [
        (str(tiny_model_dir), str(tiny_model_dir)), (str(other), str(tiny_model_dir)),
    ]  # fmt: skip


def init_policy_like(model: Path, folder: Path, seed: int = 4) -> Path:
    """The same architecture with other weights."""
    policy = load_policy(str(model), device=torch.device("cpu"))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in policy.parameters():
            weights.copy_(torch.randn_like(weights) * 0.3)
    save_model(policy, load_tokenizer(str(model)), folder)
    return folder


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
        ({"suite": ["mt_bench"], "judge": "x", "judge_project": "y"}, "one judge"),
        ({"suite": ["confidence"], "human_judgements": ["x"]}, "suites that a judge grades"),
        ({"suite": ["confidence"], "judge_url": "http://127.0.0.1:1"}, "belong together"),
        ({"suite": ["trivia"]}, "suite"),
        ({"suite": ["alpaca_eval"], "judge": "j", "against": ["x", "x"]}, "named twice"),
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
    said = {
        "annotator": "Ann", "annotator_kind": "person", "verdict": "a",
        "prompt": "What is 0?", "response_a": "zero", "response_b": "baseline What is 0?",
    }  # fmt: skip
    write_jsonl(tmp_path / "people.jsonl", [said])
    values["human_judgements"] = str(tmp_path / "people.jsonl")
    again = run(config(tiny_model_dir, suite=["alpaca_eval"], **values), tmp_path / "people")
    notes = again.suites["alpaca_eval"]["notes"]  # nobody judged what this policy says
    assert any("people judged 0 of these prompts" in note for note in notes)
    del values["human_judgements"]
    with pytest.raises(ConfigError, match="from 1 to 10"):
        run(config(tiny_model_dir, suite=["mt_bench"], **values), tmp_path / "grades")


def test_what_a_reward_model_has_no_room_for_is_nobodys_win(
    tiny_model_dir: Path, files: Path, tmp_path: Path
) -> None:
    reward = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=3)
    save_model(reward, load_tokenizer(str(tiny_model_dir)), tmp_path / "reward")
    asked = [f"What is {n}?" for n in range(3)]
    long = {0: "x" * 4000, 1: "two", 2: "three"}
    outputs = [{"instruction": q, "output": long[n], "generator": "b"} for n, q in enumerate(asked)]
    write_jsonl(files / "alpaca_eval/baseline.jsonl", outputs)
    for kind in ("concise", "verbose"):
        (files / f"alpaca_eval/{kind}.jsonl").unlink()
    gold = [
        {"input": asked[n], "output_1": "good", "output_2": "y" * (4000 * (n == 0) + 1),
         "label": 1 + n % 2}
        for n in range(3)
    ]  # fmt: skip
    write_jsonl(files / "llmbar/Natural.jsonl", gold)
    made = config(tiny_model_dir, suite=["alpaca_eval"], benchmarks=str(files),
                  judge=str(tmp_path / "reward"))  # fmt: skip
    result = run(made, tmp_path / "run")
    found, judge = result.suites["alpaca_eval"], result.judge
    assert judge is not None and judge["counts"] == {"judged": 12, "too_long": 4, "shortened": 0}
    assert found["figures"]["win_rate"]["n"] == 2
    rows = [
        json.loads(row) for row in (tmp_path / "run/alpaca_eval.jsonl").read_text().split("\n")[:3]
    ]
    assert rows[0]["preference"] is None
    known = [row["preference"] for row in rows[1:]]
    assert found["figures"]["win_rate"]["value"] == pytest.approx(sum(known) / 2)
    notes = " ".join(found["notes"])
    assert "the judge abstained on 1 of 3 pairs" in notes
    assert "win rates are not valid" in notes and "it abstained 2 times" in notes
    # What it could not judge is asked again, and stays unjudged; if that is all, there is no rate.
    write_jsonl(files / "alpaca_eval/baseline.jsonl", outputs[:1])
    with pytest.raises(AccordError, match="abstained on all of 1 pairs"):
        run(made, tmp_path / "none")


@pytest.fixture
def ranked_files(files: Path) -> Path:
    rows = [
        {"prompt": f"What is {n}?", "chosen": "good", "rejected": "x" * (1 + 3000 * (n == 3)),
         "subset": "alpacaeval-easy" if n < 2 else "hep-go", "id": n}
        for n in range(4)
    ]  # fmt: skip
    write_jsonl(files / "reward_bench/filtered.jsonl", rows)
    return files


def test_reward_models_and_policies_rank_given_responses(
    tiny_model_dir: Path, ranked_files: Path, tmp_path: Path
) -> None:
    reward = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=3)
    save_model(reward, load_tokenizer(str(tiny_model_dir)), tmp_path / "reward")
    values = {"suite": ["reward_bench"], "benchmarks": str(ranked_files), "max_questions": -1}
    by_model = run(config(tmp_path / "reward", **values), tmp_path / "model")
    other = init_policy_like(tiny_model_dir, tmp_path / "other")
    by_policy = run(config(other, reference=str(tiny_model_dir), **values), tmp_path / "policy")
    for name, result in {"model": by_model, "policy": by_policy}.items():
        found = result.suites["reward_bench"]
        assert list(found["figures"]) == ["accuracy", "alpacaeval-easy", "hep-go", "Chat",
                                          "Reasoning"]  # fmt: skip
        # What is too long for the model has no score, and is not right.
        assert "1 rows have a response without a score: counted wrong" in found["notes"]
        rows = read_rows(str(tmp_path / name / "reward_bench.jsonl"))
        assert rows[3]["rejected_scores"] == [None] and rows[3]["right"] == 0
        right = [r["chosen_scores"][0] > r["rejected_scores"][0] for r in rows[:3]]
        assert found["figures"]["accuracy"]["value"] == sum(right) / 4
    # A policy that is its own reference prefers nothing, and equal scores are wrong.
    same = config(tiny_model_dir, reference=str(tiny_model_dir), **values)
    figures = run(same, tmp_path / "same").suites["reward_bench"]["figures"]
    assert figures["accuracy"]["value"] == 0
    with pytest.raises(ConfigError, match="is a policy; give reference"):
        run(config(tiny_model_dir, **values), tmp_path / "none")
    with pytest.raises(ConfigError, match="is a reward model and answers nothing"):
        run(config(tmp_path / "reward", suite=["confidence"]), tmp_path / "asked")
    assert not (tmp_path / "asked/answers-confidence.jsonl").exists()


def people_do(path: Path, answer: Any) -> int:
    """All open tasks of the project, by one annotator."""
    opened = Database.open(path=path)
    queue, done = SqlTaskQueue(opened), 0
    queue.register("ann")
    while lease := queue.lease("ann", project="eval"):
        queue.submit(lease, Submission(f"ann-{lease.task.id[:12]}", answer(lease.task)))
        done += 1
    opened.close()
    return done


@pytest.fixture
def store(tmp_path: Path) -> Path:
    opened = Database.open(path=tmp_path / "store.db")
    SqlProjects(opened).create("eval")
    opened.close()
    return tmp_path / "store.db"


def test_people_judge_and_the_stage_goes_on(
    tiny_model_dir: Path, files: Path, store: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ours, theirs = (init_policy_like(tiny_model_dir, tmp_path / f"{n}", n) for n in (4, 0))
    out = tmp_path / "run"
    command = [
        "evaluate", str(ours), "--suite", "alpaca_eval", "mt_bench", "--benchmarks", str(files),
        "--against", str(theirs), "--judge_project", "eval", "--database", str(store),
        "--max_new_tokens", "8", "--quiet", "--output_dir", str(out),
    ]  # fmt: skip
    assert cli.main(command) == 75
    assert "waits for" in capsys.readouterr().err
    answered = {p.name: p.read_bytes() for p in out.glob("answers-*")}
    assert len(answered) == 4
    rows = answered["answers-alpaca_eval.jsonl"].decode().strip().split("\n")
    said = {json.loads(row)["texts"][0] for row in rows}
    done = people_do(store, lambda task: {"verdict": "a" if task.responses[0] in said else "b"})
    assert done > 3  # tasks of both suites were there at once
    assert cli.main(command) == 0
    assert answered == {p.name: p.read_bytes() for p in out.glob("answers-*")}
    result = json.loads((out / "result.json").read_text())
    figures = result["suites"]["alpaca_eval"]["figures"]
    assert figures["win_rate"]["value"] == 1.0
    assert not {"judge_consistency", "judge_first_share"} & figures.keys()
    assert (
        result["judge"]["name"] == "people of eval" and result["judge"]["counts"]["pairs"] == done
    )
    assert "not checked against pairs" in " ".join(result["suites"]["mt_bench"]["notes"])


@pytest.mark.parametrize(("kind", "answer", "value"), [
    ("likert", {"ratings": {"helpful": [6], "honest": [2], "harmless": [2]}}, 6.0),
    ("success", {"success": True}, 1.0),
])  # fmt: skip
def test_people_grade_single_answers(
    kind: str, answer: Any, value: float, tiny_model_dir: Path, files: Path, store: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    made = config(
        init_policy_like(tiny_model_dir, tmp_path / "other"), suite=["mt_bench"],
        benchmarks=str(files), judge_project="eval", database=str(store), people_grade=kind,
    )  # fmt: skip
    with pytest.raises(Waiting, match="4 judgements"):
        run(made, tmp_path / "run")
    people_do(store, lambda task: answer)
    found = run(made, tmp_path / "run").suites["mt_bench"]
    assert found["figures"]["score"]["value"] == value
    asked = "helpful" if kind == "likert" else "task success"
    assert any(asked in note for note in found["notes"])


def test_a_model_that_falls_short_of_its_gate_is_told_by_the_status(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(tiny_model_dir), "--suite", "confidence", "--max_questions", "2",
               "--max_new_tokens", "4", "--quiet"]  # fmt: skip
    gate = tmp_path / "gate.toml"
    gate.write_text("[confidence]\nat_least = 2\n[confidence.brier]\nat_most = 1.0\n")
    arguments = [*command, "--gate", str(gate), "--output_dir", str(tmp_path / "run")]
    assert cli.main(arguments) == 3
    assert "FELL SHORT: confidence." in capsys.readouterr().out
    assert cli.main([*arguments, "--json"]) == 3  # finished, and skipped: the word stands
    told = json.loads(capsys.readouterr().out)["gate"]
    assert told == json.loads((tmp_path / "run/result.json").read_text())["gate"]
    assert told["held"] is False
    assert {one["run"] for one in told["conditions"] if one["run"]} == {str(tiny_model_dir)}
    page = tmp_path / "page.html"
    assert cli.main(["report", str(tmp_path / "run"), "--output", str(page)]) == 0
    assert "fell short" in page.read_text() and "confidence.brier" in page.read_text()
    missing = [*command, "--gate", str(tmp_path / "no.toml"), "--output_dir", str(tmp_path / "no")]
    assert cli.main(missing) == 2


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
