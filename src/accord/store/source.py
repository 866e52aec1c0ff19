"""A project of the store as training sees it: filled with pairs, read as comparisons."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import (
    Aggregation,
    Answered,
    ExportedComparisons,
    Judgement,
    Task,
    ValueRule,
    Verdict,
)
from accord.store.accounts import SqlAccounts
from accord.store.board import SqlTaskBoard, all_tasks, unfilled_slots
from accord.store.conversations import said_before
from accord.store.database import Database
from accord.store.exporting import (
    comparisons,
    counts,
    demonstrations,
    is_final,
    judgement_rows,
    people_first,
    rankings,
    share_for_first,
    successes,
    verdict_of,
)
from accord.store.importing import SqlImporter
from accord.store.imports.entries import Options
from accord.store.judgements import SqlJudgements, Standing
from accord.store.location import open_database, refuse_password, shown
from accord.store.replacing import Replaces
from accord.store.ruling import ruled
from accord.store.schema import tasks
from accord.store.taking import answer_entry, pair_entry


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
        refuse_password(reference)
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

    def take(self, judgements: Sequence[Judgement], *, replaces: Replaces = "nothing") -> None:
        """Keep judgements; those on the same two responses meet in one task, whatever their order.

        A task keeps the columns on which all of them agree. `replaces` tells what of their
        annotators' earlier words they take the place of.

        Raises:
            DataError: somebody said two different things of one pair.
        """
        groups: dict[Any, list[Judgement]] = defaultdict(list)
        for judgement in judgements:
            prompt = tuple((m["role"], m["content"]) for m in judgement.prompt)
            sides = frozenset((judgement.response_a, judgement.response_b))
            groups[judgement.task_id, prompt, sides].append(judgement)
        with self._open() as database:
            SqlImporter(database, self.project, Options(replaces=replaces)).add(
                list(map(pair_entry, groups.values()))
            )

    def take_answers(self, answers: Sequence[Answered], *, replaces: Replaces = "nothing") -> None:
        """Keep answers to tasks of any kind; a task's responses have an order of their own.

        `replaces` is as in `take`.

        Raises:
            DataError: no such answer is possible, or somebody gave two to one task.
        """
        entries = list(map(answer_entry, answers))
        for entry in entries:
            entry.check(self.project)
        with self._open() as database:
            SqlImporter(database, self.project, Options(replaces=replaces)).add(entries)

    def erase(self, annotator: str) -> list[str]:
        """Erase what somebody said, as `SqlJudgements.erase`; hashes of the exports that hold it.

        Raises:
            DataError: nobody is known by that name.
        """
        with self._open() as database:
            return SqlJudgements(database).erase(annotator=annotator)

    def forget(self, *, before: float) -> tuple[int, list[str]]:
        """Erase what users of a served model said before a time; how many judgements, and exports.

        What annotators of the same project judged stays.
        """
        with self._open() as database:
            ids = said_before(database, self.project, before)
            return len(ids), SqlJudgements(database).erase(ids=ids)

    def tasks(self) -> list[Task]:
        """All of the project, in the order in which they were put up."""
        with self._open() as database:
            return all_tasks(database, self.project)

    def by_people(self) -> dict[str, float]:
        """By task, the share of people's votes for the first response; a tie is half.

        Who is simulated counts as a person; what a reviewer decided stands in place of the votes.
        """
        with self._open() as database:
            standing = SqlJudgements(database).current(self.project)
        said: dict[str, list[Standing]] = defaultdict(list)
        for s in standing:
            if counts(s, "pairwise") and s.annotator_kind != "model":
                said[s.task.id].append(s)
        decided = {s.task.id: [s] for s in standing if is_final(s)}
        return {name: share_for_first(votes) for name, votes in {**said, **decided}.items()}

    def ask_people(self, wanted: Sequence[Task]) -> None:
        """Put tasks up; where models have filled their places, there are more for people."""
        with self._open() as database:
            SqlTaskBoard(database).ask_people(wanted)

    def said(self) -> frozenset[tuple[str, str]]:
        """Task id and annotator of every standing judgement."""
        with self._open() as database:
            standing = SqlJudgements(database).current(self.project)
        return frozenset((s.task.id, s.annotator) for s in standing)

    def unfilled(self, task_ids: Collection[str]) -> int:
        """Slots of those tasks that no judgement fills."""
        with self._open() as database:
            return unfilled_slots(database, self.project, task_ids)

    def export(
        self,
        *,
        aggregation: Aggregation,
        rule: ValueRule | None,
        seed: int,
        run: str,
        only: Collection[str] | None = None,
        calibrated: Mapping[str, float] | None = None,
    ) -> ExportedComparisons:
        """Pairs as comparisons, rankings as they were given, attempts as labels and rewritten
        responses as demonstrations, recorded as one export.

        With `calibrated`, probabilities by task, these stand in place of what models said; and of
        what people judged, models are not heard.

        Raises:
            DataError: there is no such project, or nothing in it can be trained on.
        """
        with self._open() as database:
            log = SqlJudgements(database)
            standing = log.current(self.project)
            if only is not None:
                standing = [s for s in standing if s.task.id in only]
            if calibrated is not None:
                standing = people_first(standing)
            pairs = [s for s in standing if counts(s, "pairwise")]
            ranked, labelled = rankings(standing), successes(standing)
            rewritten = demonstrations(standing)
            has_pairs = bool(pairs) or any(map(is_final, standing))
            if not (has_pairs or ranked.rows or labelled.rows or rewritten.rows):
                raise DataError(self._nothing(database, standing))
            rows, ids = list(ranked.rows), list(ranked.judgement_ids)
            if has_pairs:
                by_rule = None if rule is None else self._ruled(database, standing, rule)
                exported = comparisons(
                    standing,
                    aggregation=aggregation,
                    seed=seed,
                    ruled=by_rule,
                    calibrated=calibrated,
                )
                rows, ids = exported.rows + rows, exported.judgement_ids + ids
            parts = {"comparisons": rows, "labels": labelled.rows, "demonstrations": rewritten.rows}
            ids += labelled.judgement_ids + rewritten.judgement_ids
            query = {
                "what": ", ".join(name for name, part in parts.items() if part),
                "project": self.project,
                "aggregation": aggregation,
                "rule": None if rule is None else asdict(rule),
                "seed": seed,
                "run": run,
            }
            sha256 = log.record_export([row for part in parts.values() for row in part], ids, query)
        verdicts: dict[str, list[Verdict]] = {}
        for s in pairs:
            verdicts.setdefault(s.task.id, []).append(verdict_of(s))
        said, votes = _rows_of(standing, ids), list(verdicts.values())
        return ExportedComparisons(rows, said, ids, votes, sha256, labelled.rows, rewritten.rows)

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
            f"{where}: none of {len(standing)} standing judgements compares, labels or rewrites "
            "responses; `accord data export` has ratings"
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[Database]:
        database = open_database(self.reference, may_be_new=self.may_be_new)
        try:
            yield database
        finally:
            database.close()


def _rows_of(standing: list[Standing], ids: Collection[str]) -> list[dict[str, Any]]:
    used = set(ids)
    return judgement_rows([s for s in standing if s.id in used])
