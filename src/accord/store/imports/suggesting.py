"""Models' suggestions beside what people said: each becomes the suggestion of its kind of task."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Submission, Task, TaskKind
from accord.store.answers import check_answer
from accord.store.hints import SUGGESTION, Suggestion
from accord.store.imports.fields import Fields

Answers = Mapping[TaskKind, Mapping[str, Any]]


def suggestion_columns(
    given: Iterable[tuple[str, Any, Callable[[], Answers]]], fields: Fields
) -> dict[TaskKind, dict[str, Any]]:
    """The column that a task of each kind gets; of several models the first is taken.

    A suggestion that cannot be read is left out: it is no reason to lose what people said.

    Args:
        given: agent, score (where it is a number), and what reads the answers by kind.
        fields: of the row.
    """
    found: dict[TaskKind, dict[str, Any]] = {}
    for agent, score, read in given:
        try:
            answers = read()
        except DataError:
            continue
        for kind, answer in answers.items():
            if kind not in found and _is_answer(kind, answer, fields):
                sure = float(score) if isinstance(score, int | float) else None
                column = Suggestion(agent, answer, sure).as_column()
                found[kind] = {SUGGESTION: column}
    return found


def _is_answer(kind: TaskKind, answer: Mapping[str, Any], fields: Fields) -> bool:
    task = Task("", "", kind, fields.prompt, fields.responses)
    try:
        check_answer(task, Submission("", answer))
    except DataError:
        return False
    return True
