"""What a project shows its annotators of a model's opinion, and what a judgement says of that."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, select

from accord.core.errors import DataError
from accord.core.types import Lease, Submission, Task
from accord.store.answers import check_answer, critique_of, suggestion_of
from accord.store.database import Database
from accord.store.hints import RECORDS, Suggestion, follows
from accord.store.schema import annotators, judgements, projects


@dataclass(frozen=True)
class Assistance:
    """Settings of a project under these names. A model's opinion anchors people: nothing is shown
    unless a lead says so, and on a share of the tasks it is hidden, so that its effect is measured.
    """

    show_suggestions: bool = False
    """fill a model's suggested answer in, for the annotator to confirm or change"""
    hidden_suggestions: float = 0.2
    """share of tasks whose suggestion is hidden"""
    show_critiques: bool = False
    """show a model's critique after the first vote, which is then confirmed or revised"""
    hidden_critiques: float = 0.2
    """share of tasks whose critique is hidden"""


def assistance_of(settings: Mapping[str, Any]) -> Assistance:
    """What a project's settings say.

    Raises:
        DataError: a switch that is none, or a share outside 0 to 1.
    """
    given = {f.name: settings[f.name] for f in fields(Assistance) if f.name in settings}
    for name, value in given.items():
        is_switch = isinstance(value, bool)
        if name.startswith("show") and not is_switch:
            raise DataError(f"settings: {name} is true or false, got {value!r:.40}")
        is_share = isinstance(value, int | float) and not is_switch and 0 <= value <= 1
        if name.startswith("hidden") and not is_share:
            raise DataError(f"settings: {name} is a share of 0 to 1, got {value!r:.40}")
    return Assistance(**given)


def is_hidden(what: str, task_id: str, share: float) -> bool:
    """Whether a task is among those without a suggestion or critique: drawn by its id, for all who
    do it, so that votes on it are free of the model altogether.
    """
    digest = hashlib.sha256(f"{what}\0{task_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") < share * 2**48


class SqlAssistance:
    """Says what is to be shown beside a task, and writes into an answer what was."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def settings(self, project: str) -> Assistance:
        """Of a project; nothing is shown where there is none of that name."""
        with self.database.reading() as connection:
            return _settings(connection, project)

    def suggestion(self, task: Task) -> Suggestion | None:
        """What is to be shown beside a task; None where nothing is suggested, or it is hidden."""
        found = suggestion_of(task)
        if found is None:
            return None
        chosen = self.settings(task.project)
        is_shown = chosen.show_suggestions and not _hides_suggestion(chosen, task)
        return found if is_shown else None

    def recorded(self, lease: Lease, submission: Submission, *, saw: bool) -> Submission:
        """A submission whose answer says which opinions of models were, or will be, shown.

        `suggestion`: which model, whether it was shown, whether the answer is the same. Whoever
        saw none though it was not hidden is in neither arm, and has no record.
        `oversight`: which critique, and the phase: `first` before it is shown, `control` where it
        is not, `again` for a vote after one that was taken back with the critique known.

        Args:
            lease: of the task.
            submission: what was handed in.
            saw: whether the suggestion was on the page.

        Raises:
            DataError: the answer says so itself.
        """
        if set(RECORDS) & submission.answer.keys():
            raise DataError(f"an answer says nothing of {' or '.join(RECORDS)}: the server does")
        if submission.action != "judge":
            return submission
        check_answer(lease.task, submission)  # it is compared with what was suggested
        with self.database.reading() as connection:
            stored = _stored(connection, submission.key, lease)
            if stored is None:
                stored = self._records(connection, lease, submission, saw)
        records = {name: stored[name] for name in RECORDS if name in stored}
        return replace(submission, answer={**submission.answer, **records})

    def _records(
        self, connection: Connection, lease: Lease, submission: Submission, saw: bool
    ) -> dict[str, Any]:
        task, chosen = lease.task, _settings(connection, lease.task.project)
        records: dict[str, Any] = {}
        suggestion = suggestion_of(task)
        is_control = chosen.show_suggestions and _hides_suggestion(chosen, task)
        if suggestion is not None and (saw or is_control):
            records["suggestion"] = {
                "agent": suggestion.agent,
                "is_shown": saw,
                "is_followed": follows(task.kind, submission.answer, suggestion.answer),
            }
        critique = critique_of(task)
        if critique is not None and chosen.show_critiques:
            phase = "control" if _hides_critique(chosen, task) else "first"
            if _has_seen(connection, lease):
                phase = "again"
            records["oversight"] = {
                "phase": phase,
                "critique": critique.sha256,
                "agent": critique.agent,
            }
        return records


def _settings(connection: Connection, project: str) -> Assistance:
    query = select(projects.c.settings).where(projects.c.name == project)
    return assistance_of(connection.execute(query).scalar() or {})


def _hides_suggestion(chosen: Assistance, task: Task) -> bool:
    return is_hidden("suggestion", task.id, chosen.hidden_suggestions)


def _hides_critique(chosen: Assistance, task: Task) -> bool:
    return is_hidden("critique", task.id, chosen.hidden_critiques)


def _stored(connection: Connection, key: str, lease: Lease) -> Mapping[str, Any] | None:
    """The answer under a key that is sent again: the same request is to be the same judgement."""
    query = select(judgements.c.answer).where(
        judgements.c.id == key, judgements.c.task_id == lease.task.id
    )
    found: Mapping[str, Any] | None = connection.execute(query).scalar()
    return found


def _has_seen(connection: Connection, lease: Lease) -> bool:
    """Whether the annotator was shown the task's critique before; of what was erased, who knows."""
    said = connection.execute(
        select(judgements.c.answer)
        .join(annotators, annotators.c.id == judgements.c.annotator_id)
        .where(judgements.c.task_id == lease.task.id, annotators.c.name == lease.annotator)
    ).scalars()
    phases = [{"phase": "first"} if a is None else a.get("oversight") or {} for a in said]
    return any(record.get("phase") in ("first", "after", "again") for record in phases)
