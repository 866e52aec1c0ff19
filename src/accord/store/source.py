"""A project of the store as training reads it: what stands, aggregated, and remembered."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict

from sqlalchemy import select

from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json
from accord.core.types import Aggregation, ExportedComparisons, ValueRule, Verdict
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.exporting import (
    comparisons,
    counts,
    is_final,
    judgement_rows,
    rankings,
    verdict_of,
)
from accord.store.judgements import SqlJudgements, Standing
from accord.store.location import has_password, open_database, shown
from accord.store.ruling import ruled
from accord.store.schema import tasks


class StoredPreferences:
    """`PreferenceSource` over the database; it is open only while it is asked something.

    Args:
        project: whose judgements.
        reference: a SQLite file or a URL; None reads ACCORD_DATABASE_URL.

    Raises:
        ConfigError: the URL holds a password, which would be written into the run's files.
    """

    def __init__(self, project: str, reference: str | None) -> None:
        if reference is not None and has_password(reference):
            raise ConfigError(
                "database: the URL holds a password, and configs are written to disk; set "
                "ACCORD_DATABASE_URL instead"
            )
        self.project = project
        self.reference = reference

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

    def export(
        self, *, aggregation: Aggregation, rule: ValueRule | None, seed: int, run: str
    ) -> ExportedComparisons:
        """Pairs as comparisons and rankings as they were given, recorded as one export.

        Raises:
            DataError: there is no such project, or nothing in it can train a reward model.
        """
        with self._open() as database:
            log = SqlJudgements(database)
            standing = log.current(self.project)
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
        database = open_database(self.reference)
        try:
            yield database
        finally:
            database.close()
