"""Benchmark files: rows that have what a suite needs, or an error that names the row."""

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accord.core.assets import ASSETS
from accord.core.errors import DataError
from accord.corpora.readers import read_rows


def read_benchmark(path: Path | str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a JSONL, Parquet or CSV file (the first and last also gzipped).

    Raises:
        DataError: the file cannot be read, has no rows, or a row lacks one of the fields.
    """
    path = Path(path)
    rows = _read_csv(path) if path.name.endswith((".csv", ".csv.gz")) else read_rows(str(path))
    for number, row in enumerate(rows, start=1):
        missing = [name for name in fields if row.get(name) is None]
        if missing:
            raise DataError(
                f"{path}, row {number}: no field {missing[0]!r}; "
                f"expected {', '.join(fields)}, found {', '.join(row)}"
            )
    return rows


def shipped(name: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file of our own that is part of the package."""
    return read_benchmark(ASSETS / "suites" / name, fields)


def _read_csv(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            # Short rows get None for what they lack, long ones an entry without a name.
            rows = [
                {k: v for k, v in row.items() if isinstance(k, str)} for row in csv.DictReader(file)
            ]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"{path}: unreadable: {error}") from None
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows
