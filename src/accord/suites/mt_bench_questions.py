"""MT-Bench's questions, and how a model is asked them: two turns each, at set temperatures.

Source: Zheng et al. 2023, arXiv:2306.05685.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.core.errors import DataError
from accord.core.types import Message
from accord.suites.base import Answer, Question
from accord.suites.rows import read_records

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


def read_questions(questions: str | Path, references: str | Path) -> list[MTQuestion]:
    """From the benchmark's question.jsonl, and the reference answers of its gpt-4.jsonl.

    Raises:
        DataError: a field is missing, a category is not known, or a reference is not there.
    """
    right = read_answers(references)
    found = []
    for record in read_records(questions):
        number = int(record.get("question_id", int))
        category = record.text("category")
        if category not in TEMPERATURES:
            raise DataError(
                f"{record.where}: field 'category' is {category!r}; expected one of "
                f"{', '.join(TEMPERATURES)}"
            )
        if category in NEED_REFERENCES and number not in right:
            raise DataError(f"{references}: no reference for question {number} ({category})")
        turns = _two(record.texts("turns"), record.where)
        known_right = right[number] if category in NEED_REFERENCES else None
        found.append(MTQuestion(number, category, turns, known_right))
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
        raise DataError(f"{where}: field 'turns' has {len(turns)} entries; expected 2")
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
