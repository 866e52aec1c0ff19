"""The lead's side of a qualification round: what is asked, what is right, and who has to."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, func, select, update

from accord.core.assets import ASSETS
from accord.core.errors import DataError, NotFoundError
from accord.core.types import Action, Message, Row, Submission, Task, TaskKind
from accord.store.answers import check_answer
from accord.store.part import Part
from accord.store.people_schema import qualifications, questions
from accord.store.rows import tasks_of_rows
from accord.store.schema import guidelines, projects, tasks

PASS_SHARE = 0.8
MOST = 200
"""Questions in a round: everybody answers them all."""
GRADED: tuple[TaskKind, ...] = ("pairwise", "ranking", "likert", "success")
_ACTIONS: tuple[Action, ...] = ("judge", "skip", "flag", "unsure")


@dataclass(frozen=True)
class Qualification:
    """What a project asks of annotators before their first task.

    `pass_share` of the questions have to be answered right; rounds that were begun under a version
    of the guidelines before `guideline_version` count no more.
    """

    project: str
    is_required: bool = False
    pass_share: float = PASS_SHARE
    guideline_version: int = 0


@dataclass(frozen=True)
class Question:
    """A task whose answer is known.

    `expected` is what an answer has to hold, and may hold more: {"verdict": "a"}, or, where the
    right thing is to judge nothing, {"action": "flag"}.
    """

    task: Task
    expected: Row
    reason: str

    def is_right(self, submission: Submission) -> bool:
        """Whether that is what was expected."""
        said = {"action": submission.action, **submission.answer}
        return all(said.get(name) == value for name, value in self.expected.items())


def default_questions() -> list[dict[str, Any]]:
    """The set that ships: pairs from the edge cases of the guidelines that ship."""
    text = (ASSETS / "qualification" / "pairwise.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def questions_of_rows(
    rows: Iterable[Mapping[str, Any]], *, project: str, kind: TaskKind, where: str = "rows"
) -> list[Question]:
    """A question a row.

    Columns are those of a gold question (see `tasks_of_rows`): `gold` has what is expected of an
    answer. `reason` is what annotators are told when they have answered.

    Raises:
        DataError: a row cannot be a question; it is named.
    """
    given = [{k: v for k, v in row.items() if k not in ("id", "overlap")} for row in rows]
    for number, row in enumerate(given, start=1):
        if "chosen" in row:  # its responses are put into another order
            raise DataError(f"{where}, row {number}: give `responses`, and `gold` in their order")
    found = tasks_of_rows(given, project=project, kind=kind, overlap=1, where=where)
    if not 1 <= len(given) <= MOST or len(found) < len(given):
        raise DataError(f"{where}: expected 1 to {MOST} questions, each once; got {len(given)}")
    return [_question(task, f"{where}, row {n}") for n, task in enumerate(found, start=1)]


def _question(task: Task, where: str) -> Question:
    columns = dict(task.columns)
    expected, reason = columns.pop("gold", None), columns.pop("reason", None)
    if task.kind not in GRADED:
        raise DataError(f"{where}: a {task.kind} has no answer that is known to be right")
    if not isinstance(expected, dict) or not expected:
        raise DataError(f"{where}: expected an answer in 'gold', got {expected!r:.80}")
    if not isinstance(reason, str) or not reason.strip():
        raise DataError(f"{where}: expected a 'reason' for annotators, got {reason!r:.80}")
    action = expected.get("action", "judge")
    answer = {name: value for name, value in expected.items() if name != "action"}
    if action not in _ACTIONS or (action != "judge" and answer):
        raise DataError(f"{where}: 'gold' is an answer, or an action alone, got {expected!r:.80}")
    try:
        check_answer(task, Submission("", answer, cast(Action, action)))
    except DataError as error:
        raise DataError(f"{where}, 'gold': {error}") from None
    bare = Task(task.id, task.project, task.kind, task.prompt, task.responses, columns=columns)
    return Question(bare, expected, reason)


class SqlQuestions(Part):
    """The rounds of one database's projects."""

    def get(self, project: str) -> Qualification:
        """What a project asks of annotators; nothing, where nobody said otherwise."""
        with self.database.reading() as connection:
            return self._get(connection, project)

    def change(
        self, project: str, *, is_required: bool | None = None, pass_share: float | None = None
    ) -> Qualification:
        """Change what is given. A round without questions starts with the set that ships.

        Raises:
            NotFoundError: there is no such project.
            DataError: the share is none; or the set that ships is of another kind than the
                project's tasks.
        """
        if pass_share is not None and not 0 < pass_share <= 1:
            raise DataError(f"pass_share must lie in (0, 1], got {pass_share}")
        given = {"is_required": is_required, "pass_share": pass_share}
        with self.database.writing() as connection:
            self._store(connection, project, {k: v for k, v in given.items() if v is not None})
            if is_required and not self._asked(connection, project):
                self._refuse_other_kinds(connection, project)
                self._ask(connection, project, _shipped(project))
            return self._get(connection, project)

    def demand_again(self, project: str) -> Qualification:
        """Have everybody qualify once more, for the newest version of the guidelines.

        Raises:
            NotFoundError: there is no such project.
        """
        with self.database.writing() as connection:
            version = newest_version(connection, project)
            self._store(connection, project, {"guideline_version": version})
            return self._get(connection, project)

    def questions(self, project: str) -> list[Question]:
        """What is asked, in order."""
        with self.database.reading() as connection:
            return self._asked(connection, project)

    def ask(
        self,
        project: str,
        rows: Iterable[Mapping[str, Any]] | None,
        *,
        kind: TaskKind = "pairwise",
        where: str = "rows",
    ) -> list[Question]:
        """Ask these from now on, in place of what was asked; None is the set that ships.

        Raises:
            NotFoundError: there is no such project.
            DataError: a row cannot be a question.
        """
        new = _shipped(project) if rows is None else questions_of_rows(
            rows, project=project, kind=kind, where=where
        )  # fmt: skip
        with self.database.writing() as connection:
            self._store(connection, project, {})
            self._ask(connection, project, new)
        return new

    def _get(self, connection: Connection, project: str) -> Qualification:
        query = select(qualifications).where(qualifications.c.project == project)
        row = connection.execute(query).mappings().first()
        return Qualification(project) if row is None else Qualification(**row)

    def _store(self, connection: Connection, project: str, values: Mapping[str, Any]) -> None:
        lock = select(projects.c.name).where(projects.c.name == project)
        if not self.database.is_sqlite:  # two leads may be at it
            lock = lock.with_for_update()
        if connection.execute(lock).first() is None:
            raise NotFoundError(f"there is no project {project!r}")
        mine = qualifications.c.project == project
        if connection.execute(select(qualifications).where(mine)).first() is None:
            connection.execute(qualifications.insert().values(**vars(Qualification(project))))
        if values:
            connection.execute(update(qualifications).where(mine).values(**values))

    def _ask(self, connection: Connection, project: str, new: Sequence[Question]) -> None:
        connection.execute(
            update(questions).where(questions.c.project == project).values(position=None)
        )
        known = set(
            connection.execute(
                select(questions.c.id).where(questions.c.project == project)
            ).scalars()
        )
        for position, question in enumerate(new):
            task = question.task
            if task.id in known:  # an id is a hash of all the rest
                connection.execute(
                    update(questions).where(questions.c.id == task.id).values(position=position)
                )
            else:
                connection.execute(
                    questions.insert().values(
                        id=task.id,
                        project=project,
                        kind=task.kind,
                        prompt=[dict(message) for message in task.prompt],
                        responses=list(task.responses),
                        columns=dict(task.columns),
                        expected=dict(question.expected),
                        reason=question.reason,
                        position=position,
                    )
                )

    def _asked(self, connection: Connection, project: str) -> list[Question]:
        query = select(questions).where(
            questions.c.project == project, questions.c.position.is_not(None)
        )
        rows = connection.execute(query.order_by(questions.c.position))
        return [question_of(row) for row in rows]

    def _refuse_other_kinds(self, connection: Connection, project: str) -> None:
        query = select(tasks.c.kind).where(tasks.c.project == project).distinct()
        kinds = set(connection.execute(query).scalars())
        if kinds and "pairwise" not in kinds:
            raise DataError(
                f"the questions that ship are pairs, and project {project!r} has "
                f"{', '.join(sorted(kinds))} tasks: give it questions of its own first"
            )


def _shipped(project: str) -> list[Question]:
    where = "the set that ships"
    return questions_of_rows(default_questions(), project=project, kind="pairwise", where=where)


def question_of(row: Any) -> Question:
    """A row of `questions`."""
    prompt = tuple(Message(role=m["role"], content=m["content"]) for m in row.prompt)
    responses = tuple(row.responses)
    task = Task(row.id, row.project, row.kind, prompt, responses, columns=row.columns)
    return Question(task, row.expected, row.reason)


def newest_version(connection: Connection, project: str) -> int:
    """Of a project's guidelines; 0 where it has none."""
    query = select(func.max(guidelines.c.version)).where(guidelines.c.project == project)
    return int(connection.execute(query).scalar() or 0)
