"""What stands: the current view of the log, what was exported of it, and what was erased."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, true, update

from accord.core.errors import ConflictError, DataError
from accord.core.files import hash_json
from accord.core.types import Action, Task
from accord.store.attempts import forget_answers
from accord.store.board import annotator_id, task_of
from accord.store.chain import broken_at
from accord.store.conversations import forget_words
from accord.store.part import Part
from accord.store.schema import annotators, exported_judgements, exports, judgements, tasks
from accord.store.webhooks import tell

_PIECE = 500
"""Names in one query: databases limit how many there may be."""


@dataclass(frozen=True)
class Standing:
    """A judgement that nothing supersedes; `answer` is None where it was erased."""

    id: str
    task: Task
    annotator: str
    annotator_kind: str
    action: Action
    answer: Mapping[str, Any] | None
    order: tuple[int, ...]
    seed: int
    guideline_version: int | None
    time_on_task_s: float | None
    is_surplus: bool
    created_at: float


class SqlJudgements(Part):
    """The log as its readers see it."""

    def current(self, project: str | None = None) -> list[Standing]:
        """All standing judgements, oldest first: those that were neither undone nor superseded."""
        with self.database.reading() as connection:
            return read_standing(
                connection, true() if project is None else tasks.c.project == project
            )

    def of(self, annotator: str, *, last: int = 10) -> list[Standing]:
        """What an annotator said last, the newest first: what can be undone."""
        with self.database.reading() as connection:
            return read_standing(connection, annotators.c.name == annotator, last=last)[::-1]

    def is_whole(self) -> bool:
        """Whether no event of the log was changed, removed or put in since it was written."""
        with self.database.reading() as connection:
            return broken_at(connection) is None

    def record_export(
        self,
        rows: Sequence[Mapping[str, Any]],
        judgement_ids: Iterable[str],
        query: Mapping[str, Any],
    ) -> str:
        """Remember which judgements went into an export; gives the hash of its content.

        Args:
            rows: what was exported.
            judgement_ids: of all judgements that are in it.
            query: what was asked for (project, aggregation, rule, seed), as JSON.

        Raises:
            ConflictError: some of it was erased after it was read.
        """
        ids = list(dict.fromkeys(judgement_ids))
        digest = hash_json([dict(row) for row in rows])
        values = {"sha256": digest, "query": dict(query), "rows": len(rows)}
        told = {"sha256": digest, "rows": len(rows)}
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            # Whoever erased it was told of the exports that there were, and not of this one.
            if _erased(connection, ids):
                raise ConflictError("some of this was erased meanwhile; export again")
            values["created_at"] = now = self.now()
            made = connection.execute(exports.insert().values(**values))
            assert made.inserted_primary_key is not None
            (number,) = made.inserted_primary_key
            links = [{"export_id": number, "judgement_id": i} for i in ids]
            if links:
                connection.execute(exported_judgements.insert(), links)
            tell(connection, query.get("project", ""), "export.created", told, now=now)
        return digest

    def judgements_of(self, export_sha256: str) -> list[str]:
        """Ids of the judgements that are in an export.

        Raises:
            DataError: there is no such export.
        """
        with self.database.reading() as connection:
            found = connection.execute(
                select(exports.c.id).where(exports.c.sha256 == export_sha256).order_by(exports.c.id)
            ).scalars()
            numbers = list(found)
            if not numbers:
                raise DataError(f"no export has the hash {export_sha256}")
            query = select(exported_judgements.c.judgement_id).where(
                exported_judgements.c.export_id == numbers[-1]
            )
            return sorted(connection.execute(query).scalars())

    def query_of(self, export_sha256: str) -> dict[str, Any]:
        """What was asked for when an export was made.

        Raises:
            DataError: there is no such export.
        """
        query = (
            select(exports.c.query)
            .where(exports.c.sha256 == export_sha256)
            .order_by(exports.c.id.desc())
        )
        with self.database.reading() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            raise DataError(f"no export has the hash {export_sha256}")
        return dict(found)

    def erased_among(self, ids: Sequence[str]) -> int:
        """How many of some judgements have been erased."""
        with self.database.reading() as connection:
            return _erased(connection, ids)

    def erase(self, *, annotator: str | None = None, ids: Sequence[str] = ()) -> list[str]:
        """Delete what was said, and leave that something was: answers go, events and hashes stay.

        A conversation that a user gave loses its words with the last thing that was said of it.

        Args:
            annotator: everything of theirs, answers of qualification rounds too.
            ids: or these judgements.

        Returns:
            hashes of the exports that hold some of it: they, and what was trained on them, are for
            whoever asked for the erasure to know of.
        """
        with self.database.writing() as connection:
            self.database.chain_alone(connection)  # nobody says something of what loses its words
            wanted = _ids_of(connection, annotator, ids)  # with what was said till now
            if annotator is not None:
                forget_answers(connection, annotator_id(connection, annotator))
            for start in range(0, len(wanted), _PIECE):
                connection.execute(
                    update(judgements)
                    .where(
                        judgements.c.id.in_(wanted[start : start + _PIECE]),
                        judgements.c.erased_at.is_(None),
                    )
                    .values(answer=None, erased_at=self.now())
                )
            forget_words(connection, wanted)
        return self.exports_with(wanted)

    def ids_of(self, *, annotator: str | None = None, ids: Sequence[str] = ()) -> list[str]:
        """Ids of all events of an annotator, and of those that are named, oldest first.

        Raises:
            DataError: there is no such annotator, or no such judgement.
        """
        with self.database.reading() as connection:
            return _ids_of(connection, annotator, ids)

    def exports_with(self, ids: Sequence[str]) -> list[str]:
        """Hashes of the exports that hold some of these judgements."""
        touched: set[str] = set()
        with self.database.reading() as connection:
            for start in range(0, len(ids), _PIECE):
                touched |= set(_exports_with(connection, ids[start : start + _PIECE]))
        return sorted(touched)


def _exports_with(connection: Connection, ids: Sequence[str]) -> Iterable[str]:
    query = (
        select(exports.c.sha256)
        .join(exported_judgements, exported_judgements.c.export_id == exports.c.id)
        .where(exported_judgements.c.judgement_id.in_(ids))
        .distinct()
    )
    return connection.execute(query).scalars()


def read_standing(
    connection: Connection,
    *conditions: ColumnElement[bool],
    last: int | None = None,
    is_superseded: bool = False,
) -> list[Standing]:
    """Judgements that stand (or that something superseded), oldest first.

    Args:
        connection: to read with.
        conditions: on `judgements`, `tasks` and `annotators`.
        last: only so many, the newest.
        is_superseded: those that no longer stand instead.
    """
    later = judgements.alias()
    query = (
        select(judgements, tasks, annotators.c.name, annotators.c.kind.label("annotator_kind"))
        .join(tasks, tasks.c.id == judgements.c.task_id)
        .join(annotators, annotators.c.id == judgements.c.annotator_id)
        .outerjoin(later, later.c.supersedes == judgements.c.id)
        .where(
            judgements.c.action != "undo",
            later.c.id.is_not(None) if is_superseded else later.c.id.is_(None),
            *conditions,
        )
        .order_by(judgements.c.sequence.desc())
        .limit(last)
    )
    return [_as_standing(row) for row in connection.execute(query).all()[::-1]]


def _as_standing(row: Any) -> Standing:
    said = row._mapping
    return Standing(
        id=said[judgements.c.id],
        task=task_of(_TaskColumns(said)),
        annotator=said[annotators.c.name],
        annotator_kind=said["annotator_kind"],
        action=said[judgements.c.action],
        answer=said[judgements.c.answer],
        order=tuple(said[judgements.c.display_order]),
        seed=said[judgements.c.display_seed],
        guideline_version=said[judgements.c.guideline_version],
        time_on_task_s=said[judgements.c.time_on_task_s],
        is_surplus=said[judgements.c.is_surplus],
        created_at=said[judgements.c.created_at],
    )


class _TaskColumns:
    """The columns of `tasks` in a joined row, by name."""

    def __init__(self, said: Any) -> None:
        self._said = said

    def __getattr__(self, name: str) -> Any:
        return self._said[tasks.c[name]]


def _ids_of(connection: Connection, annotator: str | None, ids: Sequence[str]) -> list[str]:
    known: dict[str, None] = {}
    if annotator is not None:
        who = connection.execute(
            select(annotators.c.id).where(annotators.c.name == annotator)
        ).scalar()
        if who is None:
            raise DataError(f"nobody is known as annotator {annotator!r}")
        query = select(judgements.c.id).where(judgements.c.annotator_id == who)
        known |= dict.fromkeys(connection.execute(query.order_by(judgements.c.sequence)).scalars())
    for start in range(0, len(ids), _PIECE):
        named = select(judgements.c.id).where(judgements.c.id.in_(ids[start : start + _PIECE]))
        known |= dict.fromkeys(connection.execute(named).scalars())
    missing = [name for name in ids if name not in known]
    if missing:
        raise DataError(f"there is no judgement {missing[0]!r}")
    return list(known)


def _erased(connection: Connection, ids: Sequence[str]) -> int:
    total = 0
    for start in range(0, len(ids), _PIECE):
        query = select(func.count()).where(
            judgements.c.id.in_(ids[start : start + _PIECE]), judgements.c.erased_at.is_not(None)
        )
        total += int(connection.execute(query).scalar_one())
    return total
