"""Benchmark files: every error names the file, the line and the field."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.assets import ASSETS
from accord.core.errors import DataError

Kind = type | tuple[type, ...]

NUMBER: Kind = (int, float)
_SUFFIXES = (".jsonl", ".json", ".csv")


@dataclass(frozen=True)
class Record:
    """A row of a benchmark file, and where it stands."""

    values: Mapping[str, Any]
    where: str
    """file and line"""

    def get(self, field: str, kind: Kind, *, default: Any = None) -> Any:
        """A field that has to be there (unless there is a default), and of that type.

        Raises:
            DataError: it is missing, null, or of another type.
        """
        value = self.values.get(field)
        if value is None:
            if default is not None:
                return default
            found = ", ".join(map(str, self.values)) or "none"
            raise DataError(f"{self.where}: field {field!r} is missing; found {found}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise DataError(
                f"{self.where}: field {field!r} is {value!r:.60}; expected {_name(kind)}"
            )
        return value

    def text(self, field: str) -> str:
        """A field that has to be a string."""
        return str(self.get(field, str))

    def number(self, field: str) -> float:
        """A field that has to be a number; a table's are written as text."""
        value = self.get(field, (int, float, str))
        try:
            return float(value)
        except ValueError:
            raise DataError(
                f"{self.where}: field {field!r} is {value!r:.60}; expected a number"
            ) from None

    def texts(self, field: str) -> list[str]:
        """A field that has to be a non-empty list of strings."""
        value = self.get(field, list)
        if not value or not all(isinstance(one, str) for one in value):
            raise DataError(
                f"{self.where}: field {field!r} is {value!r:.60}; expected a list of texts"
            )
        return list(value)


def read_records(path: str | Path) -> list[Record]:
    """All rows of a .jsonl, a .json list, or a .csv with a header; each may be gzipped.

    Raises:
        DataError: no such file, it cannot be parsed, or it has no rows.
    """
    path = Path(path)
    kind = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if kind not in _SUFFIXES:
        raise DataError(f"{path}: expected {', '.join(_SUFFIXES)}, or one of them with .gz")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="" if kind == ".csv" else None) as file:
            rows = {".jsonl": _lines, ".json": _list, ".csv": _table}[kind](file, str(path))
            records = [Record(values, where) for values, where in rows]
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise DataError(f"{path}: unreadable: {error}") from None
    if not records:
        raise DataError(f"{path}: no rows")
    return records


def shipped(name: str) -> list[Record]:
    """The rows of a file of our own that is part of the package."""
    return read_records(ASSETS / "suites" / name)


def find_file(folder: str | Path, name: str) -> Path | None:
    """The file of that name in a folder, whatever of the readable endings it has.

    Raises:
        DataError: there is no such folder, or two such files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    endings = [ending + packed for ending in _SUFFIXES for packed in ("", ".gz")]
    found = [path for ending in endings if (path := folder / f"{name}{ending}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder}: both {found[0].name} and {found[1].name}; keep one of them")
    return found[0] if found else None


def _lines(file: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield _object(json.loads(line), where), where
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: not valid JSON: {error}") from None


def _list(file: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    try:
        rows = json.load(file)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of objects, got {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        yield _object(row, where), where


def _table(file: Any, path: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    reader = csv.DictReader(file)
    for row in reader:
        # An empty cell is a missing field, and so is one that a short line does not have.
        cells = {name: cell for name, cell in row.items() if cell not in (None, "")}
        yield cells, f"{path}, line {reader.line_num}"


def _object(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row


def _name(kind: Kind) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = {"str": "text", "list": "a list", "int": "a number", "float": "a number"}
    return " or ".join(dict.fromkeys(names.get(k.__name__, k.__name__) for k in kinds))
