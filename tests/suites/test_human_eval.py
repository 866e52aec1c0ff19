"""HumanEval against its own solutions, an empty body, and the official example of samples."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from accord.core.errors import ConfigError, DataError
from accord.core.files import write_jsonl
from accord.corpora.readers import read_rows
from accord.sandbox.levels import Level
from accord.sandbox.sandbox import Sandbox
from accord.suites.base import Answer
from accord.suites.human_eval import LIMITS, HumanEval, Problem, load_problems
from accord.suites.texts import cut_at

ADD = Problem(
    task_id="own/0",
    prompt='def add(a: int, b: int) -> int:\n    """The sum."""\n',
    entry_point="add",
    test="def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0",
    canonical_solution="    return a + b\n",
)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    # The tests' programs are their own or the benchmark's: any level will do.
    return Sandbox(minimum=Level.LIMITS, limits=LIMITS)


@pytest.fixture(scope="module")
def hasty_sandbox() -> Sandbox:
    """For what hangs."""
    return Sandbox(minimum=Level.LIMITS, limits=replace(LIMITS, wall_s=2.0))


def answered(*texts: str) -> Answer:
    return Answer(texts=texts, finishes=("stop",) * len(texts))


def test_the_official_example_of_samples(accord_data: Path, hasty_sandbox: Sandbox) -> None:
    folder = accord_data / "benchmarks" / "humaneval"
    problems = load_problems(folder / "example_problem.jsonl")
    samples = read_rows(str(folder / "example_samples.jsonl"))
    answers = {problems[0].task_id: answered(*[sample["completion"] for sample in samples])}
    result = HumanEval(problems, hasty_sandbox).grade(answers)
    assert result.figures["pass@1"].value == 0.4999999999999999
    assert list(result.figures) == ["pass@1"]  # six samples say nothing of pass@10
    whys = [row["why"] for row in result.rows]
    assert Counter(why is None for why in whys) == {True: 3, False: 3}
    assert whys[1] == "timed out" and "EOFError" in whys[2]


@pytest.mark.parametrize("body", ["canonical", pytest.param("pass", marks=pytest.mark.slow)])
def test_canonical_solutions_pass_and_an_empty_body_does_not(
    body: str, accord_data: Path, sandbox: Sandbox
) -> None:
    problems = load_problems(accord_data / "benchmarks" / "humaneval" / "HumanEval.jsonl.gz")
    answers = {
        p.task_id: answered(p.canonical_solution if body == "canonical" else "    pass")
        for p in problems
    }
    result = HumanEval(problems, sandbox).grade(answers)
    passed = sum(row["passed"] for row in result.rows)
    assert (passed, len(result.rows)) == (164 if body == "canonical" else 0, 164)
    assert result.figures["pass@1"].value == passed / 164
    assert result.figures["pass@1"].n == 164


@pytest.mark.parametrize(
    ("completion", "passes"),
    [
        ("    return a + b", True),
        ("    return a + b\n\ndef check(f):\n    pass", True),  # cut at the stop
        ("    return a - b", False),
        ("    import os; os._exit(0)", False),
        ("    raise SystemExit(0)", False),
        ("    return a +", False),
        ("    while True: pass", False),
        ("\tx = '''", False),  # would swallow the tests
        ("", False),
    ],
)
def test_what_passes(completion: str, passes: bool, hasty_sandbox: Sandbox) -> None:
    result = HumanEval([ADD], hasty_sandbox).grade({"own/0": answered(completion)})
    assert result.rows[0]["passed"] is passes
    assert (result.rows[0]["why"] is None) is passes


@pytest.mark.parametrize(
    "response",
    [
        "Here:\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.",
        "```\nimport math\n\ndef add(a: int, b: int) -> int:\n    return a + b",  # cut short
        "```python\nprint('no')\n```\n```py\ndef add(a, b):\n    return a + b\n```",
        "def add(a, b):\n    return a + b",
        "    return a + b",
    ],
)
def test_code_is_found_in_chat(response: str, sandbox: Sandbox) -> None:
    suite = HumanEval([ADD], sandbox, style="chat")
    result = suite.grade({"own/0": answered(response)})
    assert result.rows[0]["passed"], result.rows[0]["why"]
    assert any("not the official procedure" in note for note in result.notes)


def test_questions_follow_the_official_procedure(sandbox: Sandbox) -> None:
    (question,) = HumanEval([ADD], sandbox, samples=5, temperature=0.2).questions()
    assert question.is_text and question.prompt[0]["content"] == ADD.prompt
    assert (question.samples, question.temperature) == (5, 0.2)
    assert question.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    (question,) = HumanEval([ADD], sandbox, style="chat").questions()
    assert (
        not question.is_text
        and question.stop == ()
        and ADD.prompt.strip() in question.prompt[0]["content"]
    )
    with pytest.raises(ConfigError, match="all the same"):
        HumanEval([ADD], sandbox, samples=2)


def test_pass_at_k_over_problems(sandbox: Sandbox) -> None:
    good, bad = "    return a + b", "    return a"
    other = Problem("own/1", ADD.prompt, "add", ADD.test, good)
    suite = HumanEval([ADD, other], sandbox, samples=2, temperature=1.0, ks=(1, 2, 3))
    result = suite.grade({"own/0": answered(good, bad), "own/1": answered(bad, bad)})
    assert {k: f.value for k, f in result.figures.items()} == {"pass@1": 0.25, "pass@2": 0.5}
    assert result.notes == [sandbox.describe()]


def test_cutting_takes_the_earliest_stop() -> None:
    assert cut_at("a\nprint\ndef", ("\ndef", "\nprint")) == "a"
    assert cut_at("a", ("\ndef",)) == "a"


def test_files_that_are_no_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    row = {"task_id": "a", "prompt": "", "entry_point": "f", "test": "", "canonical_solution": ""}
    write_jsonl(path, [row, {**row, "test": None}])
    with pytest.raises(DataError, match="line 2: field 'test' is missing"):
        load_problems(path)
    write_jsonl(path, [row, row])
    with pytest.raises(DataError, match="same task_id"):
        load_problems(path)


def test_no_pass_is_no_proof_of_none(hasty_sandbox: Sandbox) -> None:
    figure = HumanEval([ADD], hasty_sandbox).grade({"own/0": answered("    return a")}).figures
    assert (figure["pass@1"].value, figure["pass@1"].low) == (0, 0) and figure["pass@1"].high > 0.5
