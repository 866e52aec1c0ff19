"""Rows from JSONL(.gz), Parquet, or a `datasets` name; every error names the file and the row."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accord.core.errors import DataError

_REFERENCE = re.compile(r"(?P<name>[^@:]+)(@(?P<data_dir>[^:]+))?(:(?P<split>.+))?")


def read_rows(reference: str) -> list[dict[str, Any]]:
    """All rows of a data source.

    Args:
        reference: a local `.jsonl`, `.jsonl.gz` or `.parquet` file; or a `datasets` name or local
            dataset directory, written `NAME[@DATA_DIR][:SPLIT]` (split "train" unless told),
            for example `Anthropic/hh-rlhf@harmless-base:test`.

    Raises:
        DataError: the source does not exist, cannot be parsed, or has no rows.
    """
    path = Path(reference)
    if path.is_file():
        rows = list(_read_file(path))
    elif re.search(r"\.(jsonl|jsonl\.gz|parquet|json|csv)$", reference):
        raise DataError(f"{reference}: no such file")
    else:
        rows = _read_dataset(reference)
    if not rows:
        raise DataError(f"{reference}: no rows")
    return rows


def _read_file(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        yield from parquet.read_table(path).to_pylist()
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: expected .jsonl, .jsonl.gz or .parquet")
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{path}, row {number}: expected a JSON object")
                    yield row
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, row {number}: not valid JSON: {error}") from None
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path}: unreadable after row {number}: {error}") from None


def _read_dataset(reference: str) -> list[dict[str, Any]]:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise DataError(f"{reference}: expected a file or NAME[@DATA_DIR][:SPLIT]")
    import datasets

    try:
        table = datasets.load_dataset(
            match["name"], data_dir=match["data_dir"], split=match["split"] or "train"
        )
    except Exception as error:
        raise DataError(
            f"{reference}: neither a local file nor a dataset that can be loaded ({error})"
        ) from error
    return [dict(row) for row in table]
