"""MT-Bench's questions, and how a model is asked them: two turns each, at set temperatures.

Source: Zheng et al. 2023, arXiv:2306.05685.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.core.errors import DataError
from accord.core.types import Message
from accord.suites.base import Answer, Question
from accord.suites.rows import find_file, read_records

TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0,
    "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
}  # fmt: skip
NEED_REFERENCES = ("math", "reasoning", "coding")

Turns = tuple[str, str]


@dataclass(frozen=True)
class MTQuestion:
    """Both turns of a question."""

    id: int
    category: str
    turns: Turns
    references: Turns | None
    """right answers, in the categories that are judged by them; about a quarter are wrong"""


def read_mt_bench(folder: str | Path) -> list[MTQuestion]:
    """Of a folder with `question`, and `reference_answer` or `reference_answer/gpt-4` beside it.

    Without the latter, the references are the questions' own, as corrected versions have them.

    Raises:
        DataError: no questions, a missing field, or a missing reference.
    """
    questions = find_file(folder, "question")
    if questions is None:
        raise DataError(f"{folder}: no question.jsonl")
    references = find_file(folder, "reference_answer")
    if references is None and (Path(folder) / "reference_answer").is_dir():
        references = find_file(Path(folder) / "reference_answer", "gpt-4")
    return read_questions(questions, references)


def read_questions(questions: str | Path, references: str | Path | None) -> list[MTQuestion]:
    """From the benchmark's question.jsonl, and the reference answers of its gpt-4.jsonl.

    Args:
        questions: the one.
        references: the other; None takes the field `reference` of the questions themselves.

    Raises:
        DataError: a field is missing, a category is not known, or a reference is not there.
    """
    right = None if references is None else read_answers(references)
    found = []
    for record in read_records(questions):
        number = int(record.get("question_id", int))
        category = record.text("category")
        if category not in TEMPERATURES:
            raise DataError(
                f"{record.where}: field 'category' is {category!r}; expected one of "
                f"{', '.join(TEMPERATURES)}"
            )
        reference = None
        if category in NEED_REFERENCES:
            if right is None:
                reference = _two(record.texts("reference"), record.where)
            elif number in right:
                reference = right[number]
            else:
                raise DataError(f"{references}: no reference for question {number} ({category})")
        turns = _two(record.texts("turns"), record.where)
        found.append(MTQuestion(number, category, turns, reference))
    return found


def read_answers(path: str | Path) -> dict[int, Turns]:
    """A model's answers by question, as the benchmark keeps them: `choices[0].turns`.

    Raises:
        DataError: a field is missing, or there are not two turns.
    """
    found = {}
    for record in read_records(path):
        choices = record.get("choices", list)
        if not choices or not isinstance(choices[0], dict):
            raise DataError(f"{record.where}: field 'choices' holds no object")
        turns = choices[0].get("turns")
        if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
            raise DataError(f"{record.where}: field 'choices[0].turns' is missing, or no texts")
        found[int(record.get("question_id", int))] = _two(turns, record.where)
    return found


def _two(turns: Sequence[str], where: str) -> Turns:
    if len(turns) != 2:
        raise DataError(f"{where}: {len(turns)} texts for two turns")
    return turns[0], turns[1]


def to_answers(turns: Mapping[int, Turns]) -> dict[str, Answer]:
    """Answers that exist already, as if a model had just given them."""
    return {
        f"{number}/{turn}": Answer(texts=(text,), finishes=("stop",))
        for number, both in turns.items()
        for turn, text in enumerate(both, start=1)
    }


@dataclass(frozen=True)
class TwoTurns:
    """Asks both turns; the id of an answer is the question's number and the turn: "81/2"."""

    items: Sequence[MTQuestion]

    def questions(self) -> list[Question]:
        """The first turns."""
        return [self._question(item, 1, (user(item.turns[0]),)) for item in self.items]

    def follow_up(self, answers: Mapping[str, Answer]) -> list[Question]:
        """The second turns that are not answered yet, each after the answer to the first."""
        return [
            self._question(item, 2, second_prompt(item, answers[f"{item.id}/1"].texts[0]))
            for item in self.items
            if f"{item.id}/1" in answers and f"{item.id}/2" not in answers
        ]

    def _question(self, item: MTQuestion, turn: int, prompt: tuple[Message, ...]) -> Question:
        return Question(
            id=f"{item.id}/{turn}",
            prompt=prompt,
            max_new_tokens=1024,
            temperature=TEMPERATURES[item.category],
        )

    def turns_of(self, answers: Mapping[str, Answer]) -> dict[int, Turns]:
        """Both answers by question.

        Raises:
            DataError: an answer is missing.
        """
        needed = [f"{item.id}/{turn}" for item in self.items for turn in (1, 2)]
        missing = [name for name in needed if name not in answers]
        if missing:
            raise DataError(f"mt_bench: {len(missing)} turns have no answer, such as {missing[0]}")
        return {
            item.id: (answers[f"{item.id}/1"].texts[0], answers[f"{item.id}/2"].texts[0])
            for item in self.items
        }


def user(text: str) -> Message:
    """A user's message."""
    return Message(role="user", content=text)


def second_prompt(item: MTQuestion, first: str) -> tuple[Message, ...]:
    """What the second turn answers: the conversation so far."""
    said = Message(role="assistant", content=first)
    return (user(item.turns[0]), said, user(item.turns[1]))
