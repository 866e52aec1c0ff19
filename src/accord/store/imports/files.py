"""From a file to entries: which format it is, and all of its rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accord.core.errors import ConfigError, DataError, describe_choice
from accord.corpora.readers import read_rows
from accord.store.imports import argilla, columns, label_studio
from accord.store.imports.entries import Entry, Options

FORMATS: dict[str, Callable[[dict[str, Any], str, Options], list[Entry]]] = {
    "judgements": columns.judgement,
    "votes": columns.vote,
    "pairs": columns.pair,
    "rankings": columns.ranking,
    "ratings": columns.rating,
    "labels": columns.label,
    "argilla": argilla.record,
    "label_studio": label_studio.task,
}


def read_entries(
    reference: str, project: str, *, format: str, options: Options, max_bad_rows: int
) -> tuple[list[Entry], int]:
    """All entries of a file, checked, and how many rows were left out.

    Args:
        reference: `.jsonl(.gz)`, `.parquet`, `.json` with a list, or a dataset's name.
        project: where they would go.
        format: a key of `FORMATS`, or "auto".
        options: what the file does not say.
        max_bad_rows: rows that may be unusable.

    Raises:
        DataError: more rows than that are; it names the last of them.
        ConfigError: there is no such format.
    """
    rows = _rows(reference)
    if format == "auto":
        format = guess(rows[0], reference)
    if format not in FORMATS:
        raise ConfigError(f"no format {describe_choice(format, [*FORMATS, 'auto'])}")
    entries, bad = [], 0
    for number, row in enumerate(rows, start=1):
        try:
            found = FORMATS[format](row, f"{reference}, row {number}", options)
            for entry in found:
                entry.check(project)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            bad += 1
            if bad > max_bad_rows:
                raise DataError(
                    f"{reference}, row {number}: not a row of {format} ({error!r})"
                ) from error
        except DataError:
            bad += 1
            if bad > max_bad_rows:
                raise
        else:
            entries += found
    return entries, bad


def guess(row: dict[str, Any], reference: str) -> str:
    """The format of a file by the columns of its first row.

    Raises:
        DataError: they tell nothing.
    """
    has = row.keys()
    signs = {
        "label_studio": "data" in has and bool({"annotations", "completions"} & has),
        "argilla": isinstance(row.get("fields"), dict)
        or any(k.endswith(".responses") for k in has),
        "judgements": {"kind", "responses", "answer"} <= has,
        "votes": {"response_a", "response_b", "verdict"} <= has,
        "ratings": {"completions", "ratings"} <= has,
        "rankings": "completions" in has,
        "pairs": {"chosen", "rejected"} <= has,
        "labels": {"completion", "label"} <= has,
    }
    for name, is_it in signs.items():
        if is_it:
            return name
    raise DataError(
        f"{reference}: which format is it? Found {', '.join(row)}; expected chosen and rejected, "
        "completions and ranks or ratings, completion and label, an export of Argilla or Label "
        f"Studio, or judgements; or name one: {', '.join(FORMATS)}"
    )


def _rows(reference: str) -> list[dict[str, Any]]:
    path = Path(reference)
    if path.suffix != ".json" or not path.is_file():
        return read_rows(reference)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{reference}: not valid JSON: {error}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{reference}: expected a list of objects")
    return rows
