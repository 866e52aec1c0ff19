"""GSM8K: numbers out of text, and the labels of the stored solutions."""

from fractions import Fraction
from pathlib import Path

import pytest

from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.corpora.final_numbers import final_number, last_number
from accord.corpora.readers import read_rows
from accord.suites.base import Answer
from accord.suites.gsm8k import (
    GSM8K,
    WordProblem,
    load_word_problems,
)

STORED = {
    "6b_finetuning": 286,
    "6b_verification": 515,
    "175b_finetuning": 458,
    "175b_verification": 742,
}


@pytest.mark.parametrize("solver", STORED)
def test_stored_solutions_are_graded_as_their_authors_did(solver: str, accord_data: Path) -> None:
    folder = accord_data / "benchmarks" / "gsm8k"
    problems = load_word_problems(folder / "test.jsonl.gz")
    stored = read_rows(str(folder / "example_model_solutions.jsonl.gz"))
    assert [row["question"] for row in stored] == [problem.question for problem in problems]
    answers = {
        problem.id: Answer((row[solver]["solution"],), ("stop",))
        for problem, row in zip(problems, stored, strict=True)
    }
    result = GSM8K(problems).grade(answers)
    differing = [
        (row["id"], row["response"][-80:])
        for row, label in zip(result.rows, stored, strict=True)
        if row["is_correct"] != label[solver]["is_correct"]
    ]
    assert differing == []
    assert sum(row["is_correct"] for row in result.rows) == STORED[solver]
    assert result.figures["accuracy"].value == STORED[solver] / 1319


def test_reference_answers_are_graded_correct(accord_data: Path) -> None:
    problems = load_word_problems(accord_data / "benchmarks" / "gsm8k" / "test.jsonl.gz")
    result = GSM8K(problems).grade({p.id: Answer((p.solution,), ("stop",)) for p in problems})
    assert result.figures["accuracy"].value == result.figures["marked"].value == 1


@pytest.mark.parametrize(
    ("text", "marked", "last"),
    [
        ("2 + 2 = 4\n#### 4", 4, 4),
        ("#### $1,234.50 dollars", Fraction("1234.5"), Fraction("1234.5")),
        ("#### -3", -3, -3),
        ("#### -$3", -3, -3),
        ("#### $ -3", -3, -3),
        ("#### 18.00.", 18, 18),
        ("#### **7**", 7, 7),
        ("A: 5\nB: 9", 5, 9),
        ("A: 5\nNo.\nA: 6", 6, 6),
        ("PIZZA: 5", None, 5),
        ("So the answer is 12 apples, of 15.", 12, 15),
        (r"Hence \boxed{42}.", 42, 42),
        ("She has 3 of them, and 5.", None, 5),
        ("It costs .5", None, Fraction(1, 2)),
        ("It is 10 - 5 or 7-5", None, 5),
        ("It is -5", None, -5),
        ("#### " + "9" * 5000, None, None),
        ("none", None, None),
        ("####", None, None),
    ],
)
def test_numbers_in_texts(text: str, marked: Fraction | None, last: Fraction | None) -> None:
    assert final_number(text) == marked
    assert last_number(text) == last


def test_an_unmarked_answer_is_forgiven_in_one_figure_only() -> None:
    problem = WordProblem("p", "How many?", "#### 4", Fraction(4))
    result = GSM8K([problem]).grade({"p": Answer(("There are 4.",), ("stop",))})
    assert {name: figure.value for name, figure in result.figures.items()} == {
        "accuracy": 0,
        "accuracy_last_number": 1,
        "marked": 0,
    }


def test_shots_are_earlier_turns_without_calculator_marks() -> None:
    shot = WordProblem("s", "1 + 1?", "It is 1+1=<<1+1=2>>2.\n#### 2", Fraction(2))
    problem = WordProblem("p", "How many?", "#### 4", Fraction(4))
    (question,) = GSM8K([problem], shots=[shot]).questions()
    assert [message["role"] for message in question.prompt] == ["user", "assistant", "user"]
    assert question.prompt[1]["content"] == "It is 1+1=2.\n#### 2"
    assert question.prompt[2]["content"].startswith("How many?") and "####" in str(
        question.prompt[2]["content"]
    )


def test_a_reference_without_a_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    write_jsonl(path, [{"question": "q", "answer": "#### many"}])
    with pytest.raises(DataError, match="line 1: the answer does not end"):
        load_word_problems(path)
