"""GSM8K: word problems of primary-school arithmetic, graded by their final number.

Data and answer format: Cobbe et al. 2021, arXiv:2110.14168. Questions are asked in chat form: some
solved problems of the training split as earlier turns (none by default), then the problem with the
request to end with `#### ` and the number, which is how the reference answers end.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.final_numbers import final_number, last_number
from accord.suites.base import Answer, OneTurn, Question, SuiteResult
from accord.suites.estimates import estimate_share
from accord.suites.rows import read_records

_ASK = (
    "{question}\n\nSolve this step by step. End with a line that holds only `#### ` and the answer "
    "as a number."
)
_CALCULATOR = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True)
class WordProblem:
    """A problem; `solution` ends with the answer."""

    id: str
    question: str
    solution: str
    answer: Fraction


def load_word_problems(path: Path | str) -> list[WordProblem]:
    """The problems of a file of the official format, named by their row, from 0.

    Raises:
        DataError: a field is missing, or a reference answer has no `#### number`.
    """
    problems = []
    for i, record in enumerate(read_records(path)):
        question, solution = record.text("question"), record.text("answer")
        answer = final_number(solution)
        if answer is None:
            raise DataError(f"{record.where}: the answer does not end with '#### ' and a number")
        problems.append(WordProblem(f"gsm8k/{i}", question, solution, answer))
    return problems


class GSM8K(OneTurn):
    """The suite.

    Args:
        shots: solved problems to show first, of the training split (8 is customary).
    """

    name = "gsm8k"

    def __init__(
        self,
        problems: Sequence[WordProblem],
        *,
        shots: Sequence[WordProblem] = (),
        max_new_tokens: int = 512,
    ) -> None:
        self.problems = problems
        self.shots = shots
        self.max_new_tokens = max_new_tokens

    def questions(self) -> list[Question]:
        """A question a problem, answered greedily."""
        shown = [message for shot in self.shots for message in _turns(shot)]
        return [
            Question(
                id=problem.id,
                prompt=(*shown, _turns(problem)[0]),
                max_new_tokens=self.max_new_tokens,
            )
            for problem in self.problems
        ]

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """Two accuracies: of the answer where it is marked as asked, and of the last number.

        A response without a marked answer is wrong in the first (`accuracy`); `marked` is the share
        that has one. The second (`accuracy_last_number`) forgives the format.
        """
        rows = []
        for problem in self.problems:
            if problem.id not in answers:
                continue
            text = answers[problem.id].texts[0]
            marked, last = final_number(text), last_number(text)
            rows.append(
                {
                    "id": problem.id,
                    "response": text,
                    "answer": str(problem.answer),
                    "marked": None if marked is None else str(marked),
                    "is_correct": marked == problem.answer,
                    "is_last_correct": problem.answer == (last if marked is None else marked),
                }
            )
        figures = {}
        if rows:
            figures = {
                "accuracy": estimate_share([bool(row["is_correct"]) for row in rows]),
                "accuracy_last_number": estimate_share([bool(r["is_last_correct"]) for r in rows]),
                "marked": estimate_share([row["marked"] is not None for row in rows]),
            }
        return SuiteResult(self.name, figures, rows, [f"{len(self.shots)} solved problems shown"])


def _turns(problem: WordProblem) -> tuple[Message, Message]:
    """The problem as it is asked, and its solution without the calculator's marks."""
    return (
        Message(role="user", content=_ASK.format(question=problem.question)),
        Message(role="assistant", content=without_calculator(problem.solution)),
    )


def without_calculator(solution: str) -> str:
    """A solution without the marks by which the dataset calls a calculator."""
    return _CALCULATOR.sub("", solution)
