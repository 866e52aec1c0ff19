"""A reviewer's last word on a pair that annotators are split on."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.files import hash_json
from accord.core.types import Receipt, Submission
from accord.store.answers import VERDICTS
from accord.store.board import annotator_id, task_of
from accord.store.chain import Event, append, known_receipt
from accord.store.display import display_seed, shown_order
from accord.store.part import Part
from accord.store.queue import judged_tasks
from accord.store.schema import judgements, tasks


class SqlAdjudication(Part):
    """Decisions are judgements like others, but for `final` in the answer, and need no slot.

    Exports take a decision in place of the votes; statistics of annotators leave it out. It is
    taken back like any judgement, by an undo.
    """

    def decide(self, reviewer: str, task_id: str, verdict: str, *, key: str) -> Receipt:
        """Keep a decision; the same again under its key gives the same receipt.

        Raises:
            DataError: no pairwise task, or no verdict.
            ConflictError: the reviewer has judged the task himself, it was decided before, or
                something else came under the key.
        """
        if verdict not in VERDICTS:
            raise DataError(f"verdict must be {', '.join(VERDICTS)}; got {verdict!r:.40}")
        submission = Submission(key, {"verdict": verdict, "final": True})
        body = hash_json([task_id, reviewer, submission.answer])
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            known = known_receipt(connection, key, body)
            if known is not None:
                return known
            row = connection.execute(select(tasks).where(tasks.c.id == task_id)).first()
            if row is None:
                raise NotFoundError(f"there is no task {task_id!r:.80}")
            task = task_of(row)
            if task.kind != "pairwise":
                raise DataError(f"task {task_id!r}: pairs are decided, and this is a {task.kind}")
            who = annotator_id(connection, reviewer)
            mine = judged_tasks(who).where(judgements.c.task_id == task_id)
            if connection.execute(mine).first() is not None:
                raise ConflictError(
                    f"task {task_id!r}: {reviewer!r} has judged it; somebody else should decide"
                )
            if any((answer or {}).get("final") for answer in self._standing(connection, task_id)):
                raise ConflictError(f"task {task_id!r}: it is decided already")
            seed = display_seed(task_id, reviewer)
            return append(
                connection,
                Event(
                    key=key,
                    task_id=task_id,
                    annotator_id=who,
                    submission=submission,
                    body_sha256=body,
                    order=shown_order(task, seed),
                    seed=seed,
                    is_surplus=False,
                    now=self.now(),
                ),
            )

    def _standing(self, connection: Connection, task_id: str) -> Iterable[Any]:
        """Answers to the task that stand."""
        later = judgements.alias()
        undone = select(later.c.id).where(later.c.supersedes == judgements.c.id)
        return connection.execute(
            select(judgements.c.answer).where(
                judgements.c.task_id == task_id, judgements.c.action == "judge", ~undone.exists()
            )
        ).scalars()
