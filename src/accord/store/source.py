"""A project of the store as training sees it: filled with pairs, read as comparisons."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json
from accord.core.types import (
    Aggregation,
    ExportedComparisons,
    Judgement,
    Row,
    Task,
    ValueRule,
    Verdict,
)
from accord.store.accounts import SqlAccounts
from accord.store.board import SqlTaskBoard
from accord.store.database import Database
from accord.store.exporting import (
    comparisons,
    counts,
    is_final,
    judgement_rows,
    rankings,
    verdict_of,
)
from accord.store.importing import SqlImporter
from accord.store.imports.entries import Entry, Options, Said, in_task_order, without_order
from accord.store.judgements import SqlJudgements, Standing
from accord.store.location import has_password, open_database, shown
from accord.store.ruling import ruled
from accord.store.schema import slots, tasks


class StoredPreferences:
    """`PreferenceStore` over the database; it is open only while it is asked something.

    Args:
        project: whose judgements.
        reference: a SQLite file or a URL; None reads ACCORD_DATABASE_URL.
        may_be_new: make a SQLite file that is not there.

    Raises:
        ConfigError: the URL holds a password, which would be written into the run's files.
    """

    def __init__(self, project: str, reference: str | None, *, may_be_new: bool = False) -> None:
        if reference is not None and has_password(reference):
            raise ConfigError(
                "database: the URL holds a password, and configs are written to disk; set "
                "ACCORD_DATABASE_URL instead"
            )
        self.project = project
        self.reference = reference
        self.may_be_new = may_be_new

    @property
    def location(self) -> str:
        """Which database, without a password."""
        with self._open() as database:
            return shown(database)

    def state(self) -> str:
        """A hash of what stands: it changes with every judgement, undo and erasure."""
        with self._open() as database:
            standing = SqlJudgements(database).current(self.project)
        return hash_json([[s.id, s.answer is None] for s in standing])

    def put_up(self, new: Sequence[Task]) -> None:
        """Put those up that are not there; who judged a pair before is not asked again."""
        with self._open() as database:
            SqlTaskBoard(database).put_up(new)

    def take(self, judgements: Sequence[Judgement]) -> None:
        """Keep judgements; those on the same two responses meet in one task, whatever their order.

        A task keeps the columns on which all of them agree.

        Raises:
            DataError: somebody said two different things of one pair.
        """
        groups: dict[Any, list[Judgement]] = defaultdict(list)
        for judgement in judgements:
            prompt = tuple((m["role"], m["content"]) for m in judgement.prompt)
            groups[prompt, frozenset((judgement.response_a, judgement.response_b))].append(
                judgement
            )
        with self._open() as database:
            SqlImporter(database, self.project, Options()).add(list(map(_entry, groups.values())))

    def said(self) -> frozenset[tuple[str, str]]:
        """Task id and annotator of every standing judgement."""
        with self._open() as database:
            standing = SqlJudgements(database).current(self.project)
        return frozenset((s.task.id, s.annotator) for s in standing)

    def unfilled(self, task_ids: Collection[str]) -> int:
        """Slots of those tasks that no judgement fills."""
        with self._open() as database, database.reading() as connection:
            query = select(slots.c.task_id).where(
                slots.c.project == self.project, slots.c.judgement_id.is_(None)
            )
            return sum(name in task_ids for name in connection.execute(query).scalars())

    def export(
        self,
        *,
        aggregation: Aggregation,
        rule: ValueRule | None,
        seed: int,
        run: str,
        only: Collection[str] | None = None,
    ) -> ExportedComparisons:
        """Pairs as comparisons and rankings as they were given, recorded as one export.

        Raises:
            DataError: there is no such project, or nothing in it can train a reward model.
        """
        with self._open() as database:
            log = SqlJudgements(database)
            standing = log.current(self.project)
            if only is not None:
                standing = [s for s in standing if s.task.id in only]
            pairs = [s for s in standing if counts(s, "pairwise")]
            ranked = rankings(standing)
            has_pairs = bool(pairs) or any(map(is_final, standing))
            if not has_pairs and not ranked.rows:
                raise DataError(self._nothing(database, standing))
            rows, ids = list(ranked.rows), list(ranked.judgement_ids)
            if has_pairs:
                by_rule = None if rule is None else self._ruled(database, standing, rule)
                exported = comparisons(standing, aggregation=aggregation, seed=seed, ruled=by_rule)
                rows, ids = exported.rows + rows, exported.judgement_ids + ids
            query = {
                "what": "comparisons",
                "project": self.project,
                "aggregation": aggregation,
                "rule": None if rule is None else asdict(rule),
                "seed": seed,
                "run": run,
            }
            sha256 = log.record_export(rows, ids, query)
        verdicts: dict[str, list[Verdict]] = {}
        for s in pairs:
            verdicts.setdefault(s.task.id, []).append(verdict_of(s))
        used = set(ids)
        said = judgement_rows([s for s in standing if s.id in used])
        return ExportedComparisons(rows, said, ids, list(verdicts.values()), sha256)

    def _ruled(
        self, database: Database, standing: list[Standing], rule: ValueRule
    ) -> dict[str, float]:
        declared = {
            account.name: (account.groups or {}).get(rule.group_by)
            for account in SqlAccounts(database).all()
        }
        return ruled(standing, declared, rule)

    def _nothing(self, database: Database, standing: list[Standing]) -> str:
        with database.reading() as connection:
            known = list(connection.execute(select(tasks.c.project).distinct()).scalars())
        where = f"{shown(database)}, project {self.project!r}"
        if self.project not in known:
            return f"{where}: no such project; known: {', '.join(sorted(known)) or 'none'}"
        if not standing:
            return f"{where}: nobody has judged anything yet"
        return (
            f"{where}: none of {len(standing)} standing judgements compares responses; `accord "
            "data export` has demonstrations and ratings"
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[Database]:
        database = open_database(self.reference, may_be_new=self.may_be_new)
        try:
            yield database
        finally:
            database.close()


_SWAPPED: dict[Verdict, Verdict] = {"a": "b", "b": "a", "tie": "tie"}


def _entry(judgements: Sequence[Judgement]) -> Entry:
    """One pair and all that was said of it, in the task's order."""
    first = judgements[0]
    responses, _ = without_order([first.response_a, first.response_b])
    said, columns = [], []
    for judgement in judgements:
        is_swapped = judgement.response_a != responses[0]
        answer: dict[str, Any] = {"verdict": judgement.verdict}
        if is_swapped:
            answer = {"verdict": _SWAPPED[judgement.verdict]}
        if judgement.p_a is not None:
            answer["p_a"] = 1 - judgement.p_a if is_swapped else judgement.p_a
        order = (1, 0) if is_swapped else (0, 1)
        seed, kind = judgement.display_seed, judgement.annotator_kind
        said.append(Said(judgement.annotator, answer, kind, order=order, seed=seed))
        columns.append(in_task_order(judgement.columns, is_swapped=is_swapped))
    agreed: Row = {
        key: value
        for key, value in columns[0].items()
        if all(key in other and other[key] == value for other in columns)
    }
    return Entry(first.where, "pairwise", first.prompt, responses, tuple(said), columns=agreed)
