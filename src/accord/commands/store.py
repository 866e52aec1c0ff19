"""accord data import, export, migrate, backup and erase: judgements in and out of stores."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from accord.core.errors import ConfigError
from accord.core.types import Aggregation


def import_(arguments: list[str]) -> int:
    """Put a file's tasks and judgements into a project."""
    parser = _parser("import", import_)
    parser.add_argument("file", help=".jsonl(.gz), .json, .parquet, or a dataset's name")
    _add_store(parser)
    parser.add_argument("--format", default="auto", help=_FORMATS)
    parser.add_argument("--annotator", default="imported", help="who judged rows that name nobody")
    parser.add_argument(
        "--annotator_kind", choices=["person", "model", "simulated"], default="person"
    )
    parser.add_argument("--overlap", type=int, default=1, help="annotators a task is for")
    parser.add_argument(
        "--unjudged", action="store_true", help="tasks alone: chosen or ranks are no judgement"
    )
    parser.add_argument("--prompt_field", help="the prompt, in Argilla's and Label Studio's files")
    parser.add_argument("--response_fields", default="", help="the responses there: A,B")
    parser.add_argument(
        "--suggestions", action="store_true", help="models' suggestions are judgements of theirs"
    )
    parser.add_argument(
        "--ranked_by_order", action="store_true", help="a ranking without ranks is best first"
    )
    parser.add_argument("--bucket", help="which bucket of a ranker is the ranking")
    parser.add_argument("--max_bad_rows", type=int, default=0, help="rows that may be left out")
    given = parser.parse_args(arguments)
    from accord.store.importing import SqlImporter
    from accord.store.imports.entries import Options
    from accord.store.imports.files import read_entries

    options = Options(
        annotator=given.annotator,
        annotator_kind=given.annotator_kind,
        is_judged=not given.unjudged,
        overlap=given.overlap,
        prompt_field=given.prompt_field,
        response_fields=tuple(filter(None, given.response_fields.split(","))),
        with_suggestions=given.suggestions,
        is_ranked_by_order=given.ranked_by_order,
        bucket=given.bucket,
    )
    entries, bad = read_entries(
        given.file,
        given.project,
        format=given.format,
        options=options,
        max_bad_rows=given.max_bad_rows,
    )
    with _opened(given.database, may_be_new=True) as database:
        added = SqlImporter(database, given.project, options).add(entries)
    print(
        f"{given.file}: {added.tasks} new tasks, {added.judgements} new judgements, "
        f"{added.known} there already, {bad} rows left out"
    )
    return 0


def export(arguments: list[str]) -> int:
    """Write what stands in a project to a file, and remember which judgements went in."""
    parser = _parser("export", export)
    _add_store(parser)
    parser.add_argument("--what", default="comparisons", choices=_WHAT, help="default: comparisons")
    parser.add_argument("--aggregation", default="majority", choices=get_args(Aggregation))
    parser.add_argument("--seed", type=int, default=0, help="of aggregations that draw")
    parser.add_argument("--output", type=Path, required=True, help=".jsonl(.gz), .json, .parquet")
    given = parser.parse_args(arguments)
    from accord.store.export_files import export_file

    with _opened(given.database) as database:
        sha256, rows, count = export_file(
            database,
            given.project,
            given.output,
            what=given.what,
            aggregation=given.aggregation,
            seed=given.seed,
        )
    print(f"{given.output}: {rows} rows from {count} judgements; export {sha256}")
    return 0


def migrate(arguments: list[str]) -> int:
    """Copy a whole store into an empty database, such as PostgreSQL, and check the copy."""
    parser = _parser("migrate", migrate)
    parser.add_argument("--from", dest="source", required=True, help="a SQLite file or a URL")
    parser.add_argument("--to", required=True, help="an empty database: a SQLite file or a URL")
    given = parser.parse_args(arguments)
    from accord.store import copying

    with _opened(given.source) as source, _opened(given.to, may_be_new=True) as target:
        copied = copying.migrate(source, target)
    for name, count in copied.rows.items():
        print(f"{name:<24}{count:>10}")
    print(f"counts and hashes are equal; the log is whole, its last event {copied.last_sha256}")
    return 0


def backup(arguments: list[str]) -> int:
    """Copy a SQLite store to a file while others write to it."""
    parser = _parser("backup", backup)
    parser.add_argument("--database", help="a SQLite file (default: ACCORD_DATABASE_URL)")
    parser.add_argument("--output", type=Path, required=True, help="a file that is not there yet")
    given = parser.parse_args(arguments)
    from accord.store import copying

    with _opened(given.database) as database:
        events = copying.backup(database, given.output)
    print(f"{given.output}: {events} events, the log is whole")
    return 0


def erase(arguments: list[str]) -> int:
    """Delete what an annotator said, or some judgements; name exports and runs that used it."""
    parser = _parser("erase", erase)
    parser.add_argument("--database", help="a SQLite file or a URL (default: ACCORD_DATABASE_URL)")
    parser.add_argument("--annotator", help="everything that they said")
    parser.add_argument("--ids", default="", help="these judgements: ID,ID")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where to look for runs")
    parser.add_argument("--yes", action="store_true", help="do it; without this, only say what for")
    given = parser.parse_args(arguments)
    ids = [name for name in given.ids.split(",") if name]
    if not given.annotator and not ids:
        raise ConfigError("accord data erase: give --annotator or --ids")
    from accord.reporting.usage import aliases_with, steps_with
    from accord.store.judgements import SqlJudgements

    with _opened(given.database) as database:
        log = SqlJudgements(database)
        wanted = log.ids_of(annotator=given.annotator, ids=ids)
        if given.yes:
            log.erase(annotator=given.annotator, ids=ids)
        exports = log.exports_with(wanted)
        queries = {sha256: log.query_of(sha256) for sha256 in exports}
    print(f"{len(wanted)} judgements {'are erased' if given.yes else 'would be erased'}")
    print(f"exports that hold some of them: {len(exports)}")
    for sha256 in exports:
        print(f"  {sha256}  {json.dumps(queries[sha256])}")
    steps = steps_with(exports, given.runs) if exports else []
    print(f"runs under {given.runs} that used them: {len(steps)}")
    for step in steps:
        print(f"  {step}")
    for (file, alias), is_live in aliases_with(steps).items():
        word = "leads to a model of theirs" if is_live else "would, after a rollback"
        print(f"alias {alias!r} of {file} {word}")
    if not given.yes:
        print("nothing was changed; say --yes to erase")
    elif steps:
        print("models among them were trained on what is gone: train them again, or retire them;")
        print("judgements.jsonl and exported files hold copies: delete them, or export anew")
    return 0


_FORMATS = (
    "judgements, votes, pairs, rankings, ratings, labels, argilla, label_studio; auto looks at the "
    "first row's columns"
)
_WHAT = [
    "comparisons", "rankings", "demonstrations", "ratings", "labels", "judgements", "first_votes",
    "argilla", "label_studio",
]  # fmt: skip


def _parser(action: str, function: Any) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"accord data {action}", description=function.__doc__, allow_abbrev=False
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", help="a SQLite file or a URL (default: ACCORD_DATABASE_URL)")
    parser.add_argument("--project", required=True)


@contextmanager
def _opened(reference: str | None, *, may_be_new: bool = False) -> Iterator[Any]:
    from accord.store.location import open_database

    database = open_database(reference, may_be_new=may_be_new)
    try:
        yield database
    finally:
        database.close()
