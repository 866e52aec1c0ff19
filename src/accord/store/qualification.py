"""A qualification round: questions with known answers, before the first task of a project."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from accord.core.errors import ConflictError, NotFoundError
from accord.core.types import Row, Submission
from accord.store.answers import check_answer
from accord.store.attempts import (
    Attempt,
    attempt_of,
    attempts_of,
    given_in,
    last_number,
    unqualified_in,
)
from accord.store.board import annotator_id
from accord.store.categories import category_of
from accord.store.display import display_seed, shown_order
from accord.store.membership import TRUSTED, closed_to, refuse_stranger
from accord.store.people_schema import attempt_answers, attempts, questions
from accord.store.questions import Question, SqlQuestions, newest_version, question_of
from accord.store.schema import accounts, annotators

_SLACK = 1e-9
"""Four of five are a share of 0.8."""


@dataclass(frozen=True)
class Asked:
    """A question in the order in which somebody sees its responses."""

    question: Question
    order: tuple[int, ...]


@dataclass(frozen=True)
class Feedback:
    """What somebody said, and what he is told of it; `said` is None where it was erased."""

    asked: Asked
    said: Row | None
    is_right: bool


class SqlQualification(SqlQuestions):
    """The rounds of one database's projects, with who has taken them.

    Everybody answers every question, and is told at once what was expected and why. It decides who
    is given new tasks (see `SqlTaskQueue.lease`); work that was given before is always taken.
    """

    def is_barred(self, annotator: str, project: str) -> bool:
        """Whether somebody has yet to qualify before he is given tasks."""
        with self.database.reading() as connection:
            return project in unqualified_in(connection, annotator_id(connection, annotator))

    def next(self, annotator: str, project: str) -> tuple[Attempt, Asked | None]:
        """How far somebody is, and what he is asked now; None where nothing is left to ask.

        Raises:
            NotFoundError: there is no such project, or none that he may see.
        """
        with self.database.writing() as connection:
            who = self._who(connection, annotator, project)
            row = self._current(connection, project, who)
            if row is not None:
                # The questions may have changed since the last answer, or what he opted out of.
                row = self._settle(connection, row)
            asked = self._asked_of(connection, project, who)
            attempt = attempt_of(annotator, len(asked), row)
            if attempt.state in ("passed", "failed"):
                return attempt, None
            number = self._number(connection, project, who, row)
            done = set() if row is None else set(given_in(connection, row.id))
            left = [question for question in asked if question.task.id not in done]
            return attempt, _asked(left[0], annotator, number) if left else None

    def find(self, annotator: str, project: str, question_id: str) -> Asked:
        """A question as somebody sees it.

        Raises:
            NotFoundError: there is no such question or project, or none that he may see.
        """
        with self.database.reading() as connection:
            who = self._who(connection, annotator, project)
            question = self._question(connection, project, question_id)
            row = self._current(connection, project, who)
            return _asked(question, annotator, self._number(connection, project, who, row))

    def answer(
        self, annotator: str, project: str, question_id: str, submission: Submission
    ) -> Feedback:
        """Keep an answer, and say what was expected; the same again is told the same.

        Raises:
            NotFoundError: there is no such question or project, or none that he may see.
            DataError: the answer is none to the question.
            ConflictError: another answer was given before, or the round is over.
        """
        said = {"action": submission.action, **submission.answer}
        with self.database.writing() as connection:
            who = self._who(connection, annotator, project)
            question = self._question(connection, project, question_id)
            check_answer(question.task, submission)
            row = self._current(connection, project, who)
            if row is None:
                row = self._begin(connection, project, who)
            asked = _asked(question, annotator, row.number)
            known = given_in(connection, row.id).get(question_id)
            if known is not None:
                if known.said != said:
                    raise ConflictError("you have answered this question, and seen what is right")
                return Feedback(asked, known.said, known.is_right)
            if row.state != "under_way":
                raise ConflictError(f"this round is over: {row.state}")
            is_right = question.is_right(submission)
            values = {"attempt_id": row.id, "question_id": question_id, "said": said}
            connection.execute(
                attempt_answers.insert().values(**values, is_right=is_right, created_at=self.now())
            )
            self._settle(connection, row)
            return Feedback(asked, said, is_right)

    def feedback(self, annotator: str, project: str, question_id: str) -> Feedback:
        """What somebody was told of an answer of the round that he is in.

        Raises:
            NotFoundError: he has not answered that question, or may not see the project.
        """
        with self.database.reading() as connection:
            who = self._who(connection, annotator, project)
            row = self._current(connection, project, who)
            known = None if row is None else given_in(connection, row.id).get(question_id)
            if row is None or known is None:
                raise NotFoundError(f"you have not answered a question {question_id!r}")
            question = self._question(connection, project, question_id)
            return Feedback(_asked(question, annotator, row.number), known.said, known.is_right)

    def let_try_again(self, project: str, annotator: str) -> None:
        """Another round for somebody who failed.

        Raises:
            ConflictError: he did not.
        """
        with self.database.writing() as connection:
            who = self._who(connection, annotator, project)
            row = self._current(connection, project, who)
            if row is None or row.state != "failed":
                raise ConflictError(f"{annotator!r} has not failed the qualification")
            self._begin(connection, project, who)

    def let_pass(self, project: str, annotator: str, *, by: str) -> None:
        """Let somebody pass, whatever he has answered; who has passed stays as he is."""
        with self.database.writing() as connection:
            who = self._who(connection, annotator, project)
            row = self._current(connection, project, who) or self._begin(connection, project, who)
            if row.state != "passed":
                decided = {"state": "passed", "decided_by": annotator_id(connection, by)}
                connection.execute(
                    update(attempts).where(attempts.c.id == row.id).values(**decided)
                )

    def people(self, project: str) -> list[Attempt]:
        """Everybody of whom it is asked, by name, as far as he is."""
        everybody = (
            select(annotators.c.name, annotators.c.id)
            .join(accounts, accounts.c.annotator_id == annotators.c.id)
            .where(accounts.c.is_active, accounts.c.role.not_in(TRUSTED))
            .order_by(annotators.c.name)
        )
        with self.database.reading() as connection:
            found = []
            for name, who in connection.execute(everybody).all():
                if project not in closed_to(connection, who):
                    row = self._current(connection, project, who)
                    count = len(self._asked_of(connection, project, who))
                    found.append(attempt_of(name, count, row))
            return found

    def accuracies(self, project: str) -> dict[str, float]:
        """Of those who have passed by their answers or by hand: what to expect of them."""
        passed = [person for person in self.people(project) if person.state == "passed"]
        return {p.annotator: p.accuracy for p in passed if p.accuracy is not None}

    def _who(self, connection: Connection, annotator: str, project: str) -> int:
        """An annotator's number; of two requests of his the second waits."""
        if not self.database.is_sqlite:
            lock = select(annotators.c.id).where(annotators.c.name == annotator)
            connection.execute(lock.with_for_update())
        who = annotator_id(connection, annotator)
        refuse_stranger(connection, who, project)
        return who

    def _question(self, connection: Connection, project: str, question_id: str) -> Question:
        is_it = questions.c.project == project, questions.c.id == question_id
        row = connection.execute(select(questions).where(*is_it)).first()
        if row is None:
            raise NotFoundError(f"project {project!r} asks no question {question_id!r}")
        return question_of(row)

    def _asked_of(self, connection: Connection, project: str, who: int) -> list[Question]:
        """All that is asked, but for categories that somebody opted out of."""
        query = select(accounts.c.opted_out).where(accounts.c.annotator_id == who)
        opted_out = connection.execute(query).scalar() or ()
        asked = self._asked(connection, project)
        return [q for q in asked if category_of(q.task) not in opted_out]

    def _current(self, connection: Connection, project: str, who: int) -> Any:
        """The attempt that counts, the last one under the guidelines that are asked for."""
        oldest = self._get(connection, project).guideline_version
        counts = attempts.c.guideline_version >= oldest
        query = attempts_of(project, who).where(counts).order_by(attempts.c.number.desc()).limit(1)
        return connection.execute(query).first()

    def _number(self, connection: Connection, project: str, who: int, row: Any) -> int:
        """Of an attempt, or of the one that begins with the first answer."""
        return int(last_number(connection, project, who) + 1 if row is None else row.number)

    def _begin(self, connection: Connection, project: str, who: int) -> Any:
        number = self._number(connection, project, who, None)
        connection.execute(
            attempts.insert().values(
                project=project,
                annotator_id=who,
                number=number,
                state="under_way",
                guideline_version=newest_version(connection, project),
                answered=0,
                hits=0,
                created_at=self.now(),
            )
        )
        return connection.execute(
            attempts_of(project, who).where(attempts.c.number == number)
        ).one()

    def _settle(self, connection: Connection, row: Any) -> Any:
        """Count an attempt's answers to what is asked now, and decide it where all are given."""
        if row.state != "under_way":
            return row
        asked = [q.task.id for q in self._asked_of(connection, row.project, row.annotator_id)]
        given = given_in(connection, row.id)
        rights = [given[name].is_right for name in asked if name in given]
        values: dict[str, Any] = {"answered": len(rights), "hits": sum(rights)}
        if asked and len(rights) == len(asked):
            needed = self._get(connection, row.project).pass_share * len(asked)
            values["state"] = "passed" if sum(rights) >= needed - _SLACK else "failed"
        connection.execute(update(attempts).where(attempts.c.id == row.id).values(**values))
        return connection.execute(
            attempts_of(row.project, row.annotator_id).where(attempts.c.id == row.id)
        ).one()


def _asked(question: Question, annotator: str, number: int) -> Asked:
    """In an order of each attempt's own: the same places are not right once more."""
    seed = display_seed(f"{question.task.id}/{number}", annotator)
    return Asked(question, shown_order(question.task, seed))
