"""What a valid answer is, by kind of task; wrong ones are refused before anything is stored."""

import json
from collections.abc import Callable
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Row, Submission, Task
from accord.store.hints import RECORDS, Critique, Suggestion, read_critique, read_suggestion
from accord.store.text import check_storable

VERDICTS = ("a", "b", "tie", "both_bad")
STRENGTHS = (1, 2, 3, 4)
LIKERT = (1, 7)
MAX_ANSWER = 200_000
"""Characters of an answer as JSON: the log never shrinks, so one person must not fill the disk."""
_DAY_S = 86_400.0


def check_task(task: Task) -> None:
    """Refuse a task that nobody could answer.

    Raises:
        DataError: too few responses for its kind, an empty or repeated one, an overlap below 1,
            not one policy a response, or a model's suggestion or critique that is none.
    """
    needed = {"pairwise": (2, 2), "ranking": (2, 26)}.get(task.kind, (1, 26))
    where = f"task {task.id!r}"
    if not needed[0] <= len(task.responses) <= needed[1]:
        raise DataError(
            f"{where}: a {task.kind} task needs {needed[0]} to {needed[1]} responses, got "
            f"{len(task.responses)}"
        )
    if any(not response.strip() for response in task.responses):
        raise DataError(f"{where}: a response is empty")
    if len(set(task.responses)) < len(task.responses):
        raise DataError(f"{where}: two responses are identical")
    if task.policies and len(task.policies) != len(task.responses):
        raise DataError(
            f"{where}: {len(task.policies)} policies for {len(task.responses)} responses"
        )
    if task.overlap < 1:
        raise DataError(f"{where}: overlap must be at least 1, got {task.overlap}")
    _check_hint(task, read_suggestion(task))
    _check_hint(task, read_critique(task))


def suggestion_of(task: Task) -> Suggestion | None:
    """What a model suggests; None also where a column that is older than its meaning says else."""
    try:
        found = read_suggestion(task)
        _check_hint(task, found)
    except DataError:
        return None
    return found


def critique_of(task: Task) -> Critique | None:
    """A model's critique; None also where a column that is older than its meaning says else."""
    try:
        found = read_critique(task)
        _check_hint(task, found)
    except DataError:
        return None
    return found


def _check_hint(task: Task, hint: Suggestion | Critique | None) -> None:
    if hint is not None and hint.answer is not None:
        check_answer(task, Submission("", hint.answer))


def check_answer(task: Task, submission: Submission) -> None:
    """Refuse an answer that is none to this task.

    Raises:
        DataError: it says what was expected.
    """
    answer, where = submission.answer, f"task {task.id!r}, a {task.kind} task"
    if submission.action == "undo":
        raise DataError(f"{where}: a judgement is taken back by its id, not by an answer")
    # Here, not at one door: PostgreSQL takes a NUL in JSON, and then fails whoever looks into it.
    check_storable(dict(answer), where)
    if len(json.dumps(dict(answer))) > MAX_ANSWER:
        raise DataError(f"{where}: an answer has at most {MAX_ANSWER} characters")
    if not all(isinstance(answer.get(name, {}), dict) for name in RECORDS):
        raise DataError(f"{where}: {' and '.join(RECORDS)} are objects in an answer")
    if submission.action == "judge":
        _CHECKS[task.kind](task, answer, where)
    elif set(answer) - {"reason", "text", *RECORDS}:
        raise DataError(f"{where}: a {submission.action} has a reason and no judgement")


def _pairwise(_: Task, answer: Row, where: str) -> None:
    verdict, strength = answer.get("verdict"), answer.get("strength")
    if verdict not in VERDICTS:
        raise DataError(f"{where}: verdict must be {', '.join(VERDICTS)}; got {verdict!r}")
    if strength is not None and (verdict not in ("a", "b") or strength not in STRENGTHS):
        raise DataError(f"{where}: a strength of 1 to 4 goes with a or b; got {strength!r}")
    p_a = answer.get("p_a")
    if p_a is not None:
        is_probability = isinstance(p_a, int | float) and 0 <= p_a <= 1
        said = {"a": "a", "b": "b"}.get(str(verdict), "tie")
        if not is_probability or said != ("tie" if p_a == 0.5 else "a" if p_a > 0.5 else "b"):
            raise DataError(f"{where}: p_a {p_a!r} is not the probability of {verdict!r}")
    if not isinstance(answer.get("final", True), bool):
        raise DataError(f"{where}: final is true or false, got {answer['final']!r}")
    _only(answer, {"verdict", "strength", "p_a", "final"}, where)


def _ranking(task: Task, answer: Row, where: str) -> None:
    ranks = answer.get("ranks")
    if not isinstance(ranks, list) or len(ranks) != len(task.responses):
        raise DataError(f"{where}: expected {len(task.responses)} ranks, got {ranks!r}")
    ranked = [rank for rank in ranks if rank is not None]
    if len(ranked) < 2 or not all(isinstance(r, int) and r >= 1 for r in ranked):
        raise DataError(f"{where}: expected at least two ranks from 1 on, got {ranks!r}")
    _only(answer, {"ranks"}, where)


def _likert(task: Task, answer: Row, where: str) -> None:
    ratings = answer.get("ratings")
    low, high = LIKERT
    if not isinstance(ratings, dict) or not ratings:
        raise DataError(f"{where}: expected ratings by attribute, got {ratings!r}")
    for attribute, values in ratings.items():
        is_whole = isinstance(values, list) and len(values) == len(task.responses)
        if not is_whole or not all(v is None or v in range(low, high + 1) for v in values):
            raise DataError(
                f"{where}: {attribute!r} needs {len(task.responses)} ratings of {low} to {high} "
                f"(or null), got {values!r}"
            )
    _only(answer, {"ratings"}, where)


def _text(task: Task, answer: Row, where: str) -> None:
    text, response = answer.get("text"), answer.get("response", 0)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where}: expected a text, got {text!r:.80}")
    if response not in range(len(task.responses)):
        raise DataError(f"{where}: there is no response {response!r}")
    _only(answer, {"text", "response"}, where)


def _success(_: Task, answer: Row, where: str) -> None:
    if not isinstance(answer.get("success"), bool):
        raise DataError(f"{where}: expected success, true or false; got {answer.get('success')!r}")
    _only(answer, {"success"}, where)


def _only(answer: Row, known: set[str], where: str) -> None:
    unknown = set(answer) - known - {"reason", *RECORDS}
    if unknown:
        raise DataError(f"{where}: nothing is known of {', '.join(sorted(unknown))} in an answer")


_CHECKS: dict[str, Callable[[Task, Row, str], None]] = {
    "pairwise": _pairwise,
    "ranking": _ranking,
    "likert": _likert,
    "rewrite": _text,
    "critique": _text,
    "success": _success,
}


def finite_seconds(value: Any) -> float | None:
    """A time on task, or None where a client's clock gave nonsense."""
    # Nobody is at one task for a day; one such figure would be the project's whole cost.
    if isinstance(value, int | float) and 0 <= value <= _DAY_S:
        return float(value)
    return None
