"""Attempts at qualifying, as they stand in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, func, select, update

from accord.store.membership import is_trusted
from accord.store.people_schema import attempt_answers, attempts, qualifications
from accord.store.schema import annotators

State = Literal["not_begun", "under_way", "passed", "failed"]


@dataclass(frozen=True)
class Attempt:
    """How far somebody is; `number` counts the times that he was let try."""

    annotator: str
    questions: int
    """that he is asked, without categories that he opted out of"""
    number: int = 1
    state: State = "not_begun"
    answered: int = 0
    hits: int = 0
    decided_by: str | None = None
    """who let him pass by hand"""

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None before the first."""
        return self.hits / self.answered if self.answered else None


def unqualified_in(connection: Connection, who: int) -> list[str]:
    """Names of the projects in which an annotator has to qualify, and has not."""
    has_passed = select(attempts.c.id).where(
        attempts.c.project == qualifications.c.project,
        attempts.c.annotator_id == who,
        attempts.c.state == "passed",
        attempts.c.guideline_version >= qualifications.c.guideline_version,
    )
    query = select(qualifications.c.project).where(
        qualifications.c.is_required, ~has_passed.exists(), ~is_trusted(who)
    )
    return list(connection.execute(query).scalars())


def forget_answers(connection: Connection, who: int) -> None:
    """Delete what somebody answered; that it was right or wrong stays."""
    his = select(attempts.c.id).where(attempts.c.annotator_id == who)
    connection.execute(
        update(attempt_answers).where(attempt_answers.c.attempt_id.in_(his)).values(said=None)
    )


def attempts_of(project: str, who: int) -> Select[Any]:
    """Somebody's in a project, with the name of who let him pass."""
    decider = annotators.alias()
    return (
        select(attempts, decider.c.name.label("decider"))
        .outerjoin(decider, decider.c.id == attempts.c.decided_by)
        .where(attempts.c.project == project, attempts.c.annotator_id == who)
    )


def last_number(connection: Connection, project: str, who: int) -> int:
    """How often somebody was let try."""
    is_his = attempts.c.project == project, attempts.c.annotator_id == who
    query = select(func.max(attempts.c.number)).where(*is_his)
    return int(connection.execute(query).scalar() or 0)


def given_in(connection: Connection, attempt_id: int) -> Mapping[str, Any]:
    """An attempt's answers, by question."""
    query = select(attempt_answers).where(attempt_answers.c.attempt_id == attempt_id)
    return {row.question_id: row for row in connection.execute(query)}


def attempt_of(annotator: str, questions: int, row: Any) -> Attempt:
    """A row of `attempts_of`; None is somebody who has not begun."""
    if row is None:
        return Attempt(annotator, questions)
    done = row.state, row.answered, row.hits, row.decider
    return Attempt(annotator, questions, row.number, *done)
