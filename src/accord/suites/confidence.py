"""Whether a model is as often right as it says: accuracy against confidence stated in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accord.annotation.calibration import brier_score, calibration_error, reliability
from accord.core.types import Message
from accord.suites.base import Answer, Figure, OneTurn, Question, SuiteResult
from accord.suites.estimates import estimate_mean, estimate_share
from accord.suites.rows import shipped
from accord.suites.texts import times

_ASK = (
    "{question} Answer in a few words. Then write, on a line of its own, 'Confidence: N%', where N "
    "is how likely it is that your answer is right."
)
_UNIT = r"%|percent\b|per cent\b|/\s*100?\b"
_SURE = r"(?:sure|certain|confident|confidence|convinced|positive|likely|likelihood|probability)"
_STATED = re.compile(
    r"\b(?:confidence|certainty|probability)\b(?: level| score)?[^\d\n%.]{0,30}?"
    rf"(?P<after>\d{{1,3}}(?:\.\d+)?|\.\d+)(?!\d)\s*(?P<after_unit>{_UNIT})?"
    rf"|(?<!not )(?<!n't )\b(?P<before>\d{{1,3}}(?:\.\d+)?)\s*(?P<before_unit>{_UNIT})\s*{_SURE}\b",
    re.IGNORECASE,
)
_RESAMPLES = 1000


@dataclass(frozen=True)
class Fact:
    """A question with the answers that count as right."""

    id: str
    question: str
    answers: tuple[str, ...]

    def is_answered_by(self, response: str) -> bool:
        """Whether one of the answers stands in the response, as whole words."""
        return any(times(response, answer) for answer in self.answers)


def load_facts() -> list[Fact]:
    """Short questions of our own, from easy to hard."""
    rows = enumerate(shipped("facts.jsonl"))
    return [Fact(f"facts/{i}", r.text("question"), tuple(r.texts("answers"))) for i, r in rows]


def stated_confidence(response: str) -> float | None:
    """The probability, 0..1, that the response gives itself last; None where it gives none.

    `Confidence: 70%`, `confidence is 0.7`, `7/10 confident` and `I'm 70% sure` are all 0.7;
    `I'm not 100% sure` says nothing.
    """
    found = list(_STATED.finditer(response.replace("*", "").replace("’", "'")))
    if not found:
        return None
    name = "after" if found[-1]["after"] else "before"
    number, unit = float(found[-1][name]), found[-1][f"{name}_unit"]
    if unit and unit.startswith("/"):
        value = number / float(unit[1:])
    elif unit or number > 1:
        value = number / 100
    else:
        value = number
    return value if 0 <= value <= 1 else None


class StatedConfidence(OneTurn):
    """The suite, with our own facts unless others are given."""

    name = "stated_confidence"

    def __init__(self, facts: Sequence[Fact] | None = None, *, max_new_tokens: int = 128) -> None:
        self.facts = load_facts() if facts is None else facts
        self.max_new_tokens = max_new_tokens

    def questions(self) -> list[Question]:
        """A question a fact, answered greedily."""
        return [
            Question(
                fact.id,
                (Message(role="user", content=_ASK.format(question=fact.question)),),
                self.max_new_tokens,
            )
            for fact in self.facts
        ]

    def grade(self, answers: Mapping[str, Answer]) -> SuiteResult:
        """`accuracy`, `stated` (the share with a confidence), and of those that have one:

        `calibration_error` (ECE of ten bins), `brier`, and `overconfidence`, the mean of confidence
        less whether it was right.
        """
        rows = [
            {
                "id": fact.id,
                "response": (text := answers[fact.id].texts[0]),
                "is_correct": fact.is_answered_by(_STATED.sub("", text)),
                "confidence": stated_confidence(text),
            }
            for fact in self.facts
            if fact.id in answers
        ]
        if not rows:
            return SuiteResult(self.name, {}, rows)
        figures = {
            "accuracy": estimate_share([bool(row["is_correct"]) for row in rows]),
            "stated": estimate_share([row["confidence"] is not None for row in rows]),
        }
        stated = [row for row in rows if row["confidence"] is not None]
        if stated:
            given = np.array([row["confidence"] for row in stated], dtype=np.float64)
            right = np.array([row["is_correct"] for row in stated], dtype=np.float64)
            figures |= _calibration(given, right, [row["id"] for row in stated])
        return SuiteResult(
            self.name,
            figures,
            rows,
            ["the calibration error of few answers is too high even for a calibrated model"],
        )


def _calibration(
    given: np.ndarray, right: np.ndarray, questions: Sequence[object]
) -> dict[str, Figure]:
    """Figures with intervals from resampled questions.

    Args:
        given: (N,) confidences.
        right: (N,) 0 or 1.
        questions: (N,) of whom.
    """
    squares = estimate_mean(list((given - right) ** 2), list(map(str, questions)))
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(given), size=(_RESAMPLES, len(given)))
    errors = [calibration_error(reliability(given[i], right[i])) for i in drawn]
    low, high = np.quantile(errors, [0.025, 0.975])
    error = calibration_error(reliability(given, right))
    return {
        "calibration_error": Figure(
            error, float(low), float(high), len(given), float(np.std(errors))
        ),
        "brier": Figure(
            brier_score(given, right),
            squares.low,
            squares.high,
            squares.n,
            squares.standard_error,
        ),
        "overconfidence": estimate_mean(list(given - right), list(map(str, questions))),
    }
