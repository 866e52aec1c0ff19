"""What a model said of a task, in the task's columns: an answer it suggests, a critique.

Both speak of the responses in the task's own order. Which model it was never leaves the server: it
may be one of those that wrote the responses.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Row, Task, TaskKind

SUGGESTION, CRITIQUE = "suggestion", "critique"
"""Columns of a task. An object with an `answer`, or with a `text`, is one; another value there is
a column like others."""
HINTS = (SUGGESTION, CRITIQUE)
RECORDS = ("suggestion", "oversight")
"""Keys of an answer that the server writes: what was shown beside the task."""
_PLACE = re.compile(r"\[\[([A-Za-z])\]\]")
_MATTERS: Mapping[TaskKind, str] = {
    "pairwise": "verdict",
    "ranking": "ranks",
    "likert": "ratings",
    "rewrite": "text",
    "critique": "text",
    "success": "success",
}


@dataclass(frozen=True)
class Suggestion:
    """The answer that a model would give, and how sure it said it was."""

    agent: str
    answer: Row
    score: float | None = None

    def as_column(self) -> dict[str, Any]:
        """As a task's column holds it."""
        score = {} if self.score is None else {"score": self.score}
        return {"agent": self.agent, "answer": dict(self.answer), **score}


@dataclass(frozen=True)
class Critique:
    """What a model wrote of the responses, and the answer it argues for, if any.

    In its text `[[a]]` stands for the task's first response: the letter depends on who looks.
    """

    agent: str
    text: str
    answer: Row | None = None

    @property
    def sha256(self) -> str:
        """Which critique it is."""
        return hash_json(self.as_column())

    def as_column(self) -> dict[str, Any]:
        """As a task's column holds it."""
        answer = {} if self.answer is None else {"answer": dict(self.answer)}
        return {"agent": self.agent, "text": self.text, **answer}


def read_suggestion(task: Task) -> Suggestion | None:
    """The task's suggestion.

    Raises:
        DataError: it is not of the form that it should have.
    """
    given = task.columns.get(SUGGESTION)
    if not isinstance(given, dict) or "answer" not in given:
        return None
    where = f"task {task.id!r}, column {SUGGESTION!r}"
    _only(given, {"agent", "answer", "score"}, where)
    score = given.get("score")
    if score is not None and (not isinstance(score, int | float) or isinstance(score, bool)):
        raise DataError(f"{where}: a score is a number, got {score!r:.80}")
    return Suggestion(_agent(given, where), _answer(given, where), score)


def read_critique(task: Task) -> Critique | None:
    """The task's critique.

    Raises:
        DataError: it is not of the form that it should have.
    """
    given = task.columns.get(CRITIQUE)
    if not isinstance(given, dict) or "text" not in given:
        return None
    where = f"task {task.id!r}, column {CRITIQUE!r}"
    _only(given, {"agent", "text", "answer"}, where)
    text = given["text"]
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: expected a text, got {text!r:.80}")
    answer = None if given.get("answer") is None else _answer(given, where)
    return Critique(_agent(given, where), text, answer)


def without_hints(columns: Row) -> Row:
    """Columns that training reads: in its rows the responses stand in another order."""
    return {name: value for name, value in columns.items() if not _is_hint(name, value)}


def swapped_hints(columns: Row) -> dict[str, Any]:
    """Columns of two responses that have changed places: an opinion of one is of the other."""
    found = dict(columns)
    for name in HINTS:
        if _is_hint(name, found.get(name)):
            hint = dict(found[name])
            if isinstance(hint.get("text"), str):
                hint["text"] = _swapped_places(hint["text"])
            if isinstance(hint.get("answer"), dict):
                hint["answer"] = _swapped_answer(hint["answer"])
            found[name] = hint
    return found


def _swapped_answer(answer: Row) -> Row:
    found = dict(answer)
    if answer.get("verdict") in ("a", "b"):
        found["verdict"] = "b" if answer["verdict"] == "a" else "a"
    if isinstance(answer.get("p_a"), int | float):
        found["p_a"] = 1 - answer["p_a"]
    if answer.get("response") in (0, 1):
        found["response"] = 1 - answer["response"]
    if isinstance(answer.get("ranks"), list):
        found["ranks"] = answer["ranks"][::-1]
    if isinstance(answer.get("ratings"), dict):
        ratings = answer["ratings"].items()
        found["ratings"] = {k: v[::-1] if isinstance(v, list) else v for k, v in ratings}
    if isinstance(answer.get("reason"), str):
        found["reason"] = _swapped_places(answer["reason"])
    return found


def _swapped_places(text: str) -> str:
    other = {"a": "[[b]]", "b": "[[a]]"}
    return _PLACE.sub(lambda found: other.get(found[1].lower(), found[0]), text)


def _is_hint(name: str, value: Any) -> bool:
    signs = {SUGGESTION: "answer", CRITIQUE: "text"}
    return name in signs and isinstance(value, dict) and signs[name] in value


def follows(kind: TaskKind, answer: Row, proposal: Row) -> bool:
    """Whether an answer says what was proposed; strength, comments and the like do not count."""
    name = _MATTERS[kind]
    if kind != "likert":
        return bool(answer.get(name) == proposal.get(name))
    given, proposed = answer.get(name) or {}, proposal.get(name) or {}
    return all(given.get(attribute) == values for attribute, values in proposed.items())


def lettered(text: str, order: Sequence[int]) -> str:
    """A critique's text with the letters of responses as they are displayed."""

    def letter(found: re.Match[str]) -> str:
        response = string.ascii_lowercase.index(found[1].lower())
        return string.ascii_uppercase[order.index(response)] if response in order else found[0]

    return _PLACE.sub(letter, text)


def _agent(given: Row, where: str) -> str:
    agent = given.get("agent")
    if not isinstance(agent, str) or not agent.strip() or len(agent) > 200:
        raise DataError(f"{where}: expected agent, which model said it; got {agent!r:.80}")
    return agent


def _answer(given: Row, where: str) -> Row:
    answer = given["answer"]
    if not isinstance(answer, dict) or {*RECORDS, "final"} & answer.keys():
        raise DataError(f"{where}: expected an answer as a judgement has it, got {answer!r:.80}")
    return answer


def _only(given: Row, known: set[str], where: str) -> None:
    if given.keys() - known:
        unknown = ", ".join(sorted(map(str, given.keys() - known)))
        raise DataError(f"{where}: nothing is known of {unknown}")
