"""Exports as files: rows by what is asked for, recorded in the store, with a note beside them."""

import gzip
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from accord.core import files
from accord.core.errors import ConfigError, ConflictError, DataError
from accord.core.types import Aggregation
from accord.store import exporting, foreign
from accord.store.database import Database
from accord.store.exporting import Exported
from accord.store.judgements import SqlJudgements, Standing
from accord.store.location import shown
from accord.store.revising import SqlRevisions

What = Literal[
    "comparisons", "rankings", "demonstrations", "ratings", "labels", "judgements", "first_votes",
    "argilla", "label_studio",
]  # fmt: skip


def export_file(
    database: Database,
    project: str,
    output: Path,
    *,
    what: What,
    aggregation: Aggregation,
    seed: int = 0,
) -> tuple[str, int, int]:
    """Write an export; beside it, in `OUTPUT.export.json`, what leads back to its judgements.

    Returns:
        the hash under which the store remembers it, and how many rows and judgements are in it.

    Raises:
        DataError: nothing of that kind was judged.
        ConfigError: the file's name is of another kind.
    """
    writer = _writer(output)
    log = SqlJudgements(database)
    if what == "first_votes":
        exported = exporting.first_vote_rows(SqlRevisions(database).first_votes(project))
    else:
        exported = _rows(log.current(project), what, aggregation, seed)
    if not exported.rows:
        raise DataError(f"{shown(database)}, project {project!r}: there are no {what} to export")
    query = {
        "what": what,
        "project": project,
        "aggregation": aggregation,
        "seed": seed,
        "file": str(output.resolve()),
    }
    # The file first: what is recorded exists.
    writer(output, exported.rows)
    try:
        sha256 = log.record_export(exported.rows, exported.judgement_ids, query)
    except ConflictError:
        output.unlink(missing_ok=True)  # it holds what was erased
        raise
    files.write_json(
        output.with_name(f"{output.name}.export.json"),
        {
            "export_sha256": sha256,
            "file_sha256": files.hash_path(output),
            "store": shown(database),
            "query": query,
            "rows": len(exported.rows),
            "judgements": len(exported.judgement_ids),
        },
    )
    return sha256, len(exported.rows), len(exported.judgement_ids)


def _rows(
    standing: Sequence[Standing], what: What, aggregation: Aggregation, seed: int
) -> Exported:
    ids = [s.id for s in standing if s.answer is not None]
    ways: Mapping[What, Callable[[], Exported]] = {
        "comparisons": lambda: exporting.comparisons(standing, aggregation=aggregation, seed=seed),
        "rankings": lambda: exporting.rankings(standing),
        "demonstrations": lambda: exporting.demonstrations(standing),
        "ratings": lambda: exporting.ratings(standing),
        "labels": lambda: exporting.successes(standing),
        "judgements": lambda: Exported(exporting.judgement_rows(standing), ids),
        "argilla": lambda: Exported(foreign.argilla(standing), ids),
        "label_studio": lambda: Exported(foreign.label_studio(standing), ids),
    }
    return ways[what]()


def _writer(output: Path) -> Callable[[Path, list[dict[str, Any]]], None]:
    """What writes a file of that name.

    Raises:
        ConfigError: nothing does.
    """
    if output.name.endswith(".jsonl.gz"):
        return _write_gzip
    known = {".jsonl": files.write_jsonl, ".json": files.write_json, ".parquet": _write_parquet}
    if output.suffix not in known:
        raise ConfigError(f"{output}: expected .jsonl, .jsonl.gz, .json or .parquet")
    return known[output.suffix]


def _write_gzip(output: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    _write_bytes(output, gzip.compress(text.encode(), mtime=0))


def _write_parquet(output: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    # Objects whose keys differ from row to row are no columns of one type: they become text.
    plain = [
        {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    names = dict.fromkeys(name for row in plain for name in row)
    buffer = io.BytesIO()
    try:
        columns = {name: [row.get(name) for row in plain] for name in names}
        parquet.write_table(pyarrow.table(columns), buffer)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise DataError(
            f"{output}: a column has values of several types, which Parquet cannot hold ({error}); "
            "write .jsonl"
        ) from None
    _write_bytes(output, buffer.getvalue())


def _write_bytes(output: Path, content: bytes) -> None:
    """As `files.write_text` writes: whole, or not at all."""
    temporary = output.with_name(f".{output.name}.tmp")
    with files.storage_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(output)
        finally:
            temporary.unlink(missing_ok=True)
