"""What every suite is made of: questions to a model, its answers, figures with intervals.

A suite asks and grades; who samples the answers is not its business. A conversation of several
turns is a suite that, given the answers to one turn, asks the next (`follow_up`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from accord.core.types import Message


@dataclass(frozen=True)
class Question:
    """One prompt of a suite, and how it is to be sampled."""

    id: str
    prompt: tuple[Message, ...]
    max_new_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    """texts that end a response, and are not part of it"""
    samples: int = 1
    """responses wanted"""
    is_text: bool = False
    """the content of the one message is plain text to continue, without a chat template"""


@dataclass(frozen=True)
class Answer:
    """What a model said to one question; all tuples have one entry a sample."""

    texts: tuple[str, ...]
    finishes: tuple[str, ...]
    """`stop` or `length`"""
    was_cut: bool = False
    """the prompt did not fit into the model's context and lost its beginning"""


@dataclass(frozen=True)
class Figure:
    """A number with its 95% interval, over `n` independent prompts."""

    value: float
    low: float
    high: float
    n: int
    standard_error: float | None = None


class Outcome(NamedTuple):
    """One judged pair."""

    prompt: str
    """what the pair is about: pairs of one prompt are not independent"""
    value: float
    """in [0, 1], that the first model's answer is the better; NaN is an abstention"""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite found out about one model."""

    suite: str
    figures: Mapping[str, Figure]
    rows: Sequence[Mapping[str, Any]]
    """a JSON object a question: id, response, grade, and what else explains it"""
    notes: Sequence[str] = field(default_factory=tuple)
    """what a reader has to know before he compares, such as another judge than the official one"""
    outcomes: Sequence[Outcome] = field(default_factory=tuple)
    """where another model's answers were compared with: what the judge said of each pair"""


class Suite(Protocol):
    """A benchmark, with its files read."""

    @property
    def name(self) -> str:
        """Of the suite in commands and reports."""

    def questions(self) -> Sequence[Question]:
        """The first turn of all."""

    def follow_up(self, answers: Mapping[str, Answer]) -> Sequence[Question]:
        """The next turn, given the answers by question id; empty when nothing is left to ask."""

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """Figures from the answers to all turns, by question id."""


class Compares(Suite, Protocol):
    """A suite that has a judge compare with another model's answers."""

    def outcomes(self, answers: Mapping[str, Answer]) -> Sequence[Outcome]:
        """What the judge says of each pair, and nothing else."""


class OneTurn:
    """What suites share that ask nothing more once they have been answered."""

    def follow_up(self, answers: Mapping[str, Answer]) -> Sequence[Question]:  # noqa: ARG002
        """Nothing."""
        return []
