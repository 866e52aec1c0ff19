"""Scalable oversight in the log: a vote, the critique shown after it, and the vote after that."""

import dataclasses
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_json
from accord.core.types import Lease, Receipt, Submission
from accord.store.answers import check_answer, critique_of
from accord.store.board import annotator_id
from accord.store.chain import Event, append, known_receipt
from accord.store.display import lease_of
from accord.store.hints import RECORDS, Critique
from accord.store.judgements import Standing, read_standing
from accord.store.membership import refuse_stranger
from accord.store.part import Part
from accord.store.schema import annotators, judgements, slots, tasks

_phase = judgements.c.answer[("oversight", "phase")].as_string()


@dataclass(frozen=True)
class Pending:
    """A first vote that stands, the critique that its annotator is to read, and a lease to show."""

    first: Standing
    critique: Critique
    lease: Lease


@dataclass(frozen=True)
class FirstVote:
    """A vote before the critique, and the one after it; None where it is still to come."""

    first: Standing
    after: Standing | None


class SqlRevisions(Part):
    """Votes after a critique. Such a vote is a judgement that supersedes the first: an undo is the
    only other event that supersedes, and has an action of its own. Both stay in the log; the later
    one stands, and fills the slot.
    """

    def pending(self, annotator: str, project: str) -> list[Pending]:
        """First votes of an annotator that wait to be confirmed or revised, oldest first."""
        wanted = (annotators.c.name == annotator, tasks.c.project == project, _phase == "first")
        found = []
        with self.database.reading() as connection:
            for first in read_standing(connection, *wanted):
                critique = critique_of(first.task)
                if critique is not None:
                    lease = lease_of(uuid.uuid4().hex, first.task, annotator, self.now())
                    found.append(Pending(first, critique, lease))
        return found

    def revise(self, annotator: str, first: str, submission: Submission) -> Receipt:
        """Keep the vote after the critique, the same as the first or another.

        Args:
            annotator: whose vote it is.
            first: id of his first vote.
            submission: a judgement, or that he is now unsure.

        Raises:
            DataError: there is no such first vote of his, or the answer is none to the task.
            ConflictError: it was revised or taken back, or another body came under the key.
        """
        if submission.action not in ("judge", "unsure"):
            raise DataError(f"to {submission.action} this task, take your first answer back first")
        if {*RECORDS, "final"} & submission.answer.keys():
            raise DataError(f"an answer says nothing of {', '.join(RECORDS)} or final")
        body = hash_json([first, annotator, dataclasses.asdict(submission)])
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            known = known_receipt(connection, submission.key, body)
            if known is not None:
                return known
            vote = _first_vote(connection, annotator, first)
            who = annotator_id(connection, annotator)
            refuse_stranger(connection, who, vote.task.project)
            check_answer(vote.task, submission)
            assert vote.answer is not None
            record = {**vote.answer["oversight"], "phase": "after"}
            answer = {**submission.answer, "oversight": record}
            event = Event(
                key=submission.key,
                task_id=vote.task.id,
                annotator_id=who,
                submission=dataclasses.replace(submission, answer=answer),
                body_sha256=body,
                order=vote.order,
                seed=vote.seed,
                is_surplus=vote.is_surplus,
                now=self.now(),
                supersedes=first,
            )
            receipt = append(connection, event)
            connection.execute(
                update(slots)
                .where(slots.c.judgement_id == first)
                .values(judgement_id=submission.key)
            )
            return receipt

    def first_votes(self, project: str) -> list[FirstVote]:
        """Every vote before a critique whose annotator stands by it or by the one after it."""
        later = judgements.alias()
        is_revised = later.c.supersedes == judgements.c.id, later.c.action != "undo"
        has_later = select(later.c.id).where(*is_revised).exists()
        links = select(judgements.c.supersedes, judgements.c.id).where(
            judgements.c.supersedes.is_not(None), judgements.c.action != "undo"
        )
        ours = tasks.c.project == project
        with self.database.reading() as connection:
            waiting = read_standing(connection, ours, _phase == "first")
            revised = read_standing(connection, ours, has_later, is_superseded=True)
            after = read_standing(connection, ours, judgements.c.supersedes.is_not(None))
            first_of = {row.id: row.supersedes for row in connection.execute(links)}
        firsts = {s.id: s for s in revised}
        votes = [FirstVote(firsts[first_of[s.id]], s) for s in after]
        return [*votes, *(FirstVote(s, None) for s in waiting)]


def phase_of(standing: Standing) -> str | None:
    """Of a vote in a project with critiques: first, after, control or again."""
    record = (standing.answer or {}).get("oversight")
    return str(record["phase"]) if isinstance(record, dict) and "phase" in record else None


def _first_vote(connection: Connection, annotator: str, first: str) -> Standing:
    found = read_standing(connection, judgements.c.id == first, annotators.c.name == annotator)
    if found and phase_of(found[0]) == "first":
        return found[0]
    query = (
        select(judgements.c.id)
        .join(annotators, annotators.c.id == judgements.c.annotator_id)
        .where(judgements.c.id == first, annotators.c.name == annotator)
    )
    if connection.execute(query).first() is None:
        raise DataError(f"{annotator!r} has no judgement {first!r:.80}")
    raise ConflictError(f"judgement {first!r} is no first vote that waits to be revised")
