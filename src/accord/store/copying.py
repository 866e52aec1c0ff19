"""A whole store into another database, checked before it counts; and a copy while others write."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select, text

from accord.core.errors import ConfigError, ConflictError, DataError
from accord.core.files import storage_errors
from accord.store.chain import START, broken_at
from accord.store.database import Database
from accord.store.location import shown
from accord.store.schema import judgements, metadata

_PIECE = 500
"""Rows that are read and written together."""


@dataclass(frozen=True)
class Copied:
    """Rows by table, and the hash of the last event of the log, the same in both databases."""

    rows: dict[str, int]
    last_sha256: str


def migrate(source: Database, target: Database) -> Copied:
    """Copy everything into an empty store, in one transaction that ends only if both are equal.

    Equal are the rows of every table by number and by hash, and the target's log is whole.

    Raises:
        ConflictError: something is in the target already.
        ConfigError: both are the same database.
        DataError: the source's log was tampered with, or what arrived is not what was sent; the
            target is left as it was.
    """
    if shown(source) == shown(target):
        raise ConfigError(f"{shown(source)}: a database cannot be copied onto itself")
    with _snapshot(source) as old, target.writing() as new:
        _refuse_full(new, target)
        _refuse_broken(old, source)
        rows = {table.name: _copy(table, old, new) for table in metadata.sorted_tables}
        if not target.is_sqlite:
            _count_on(new)
        _refuse_difference(old, new, target)
        _refuse_broken(new, target)
        last = new.execute(
            select(judgements.c.sha256).order_by(judgements.c.sequence.desc()).limit(1)
        ).scalar()
    return Copied(rows, last or START)


def backup(source: Database, path: Path) -> int:
    """Copy a SQLite store to a file while others write to it; returns how many events it holds.

    The copy is of one moment. It appears under its name only when it is complete, whole and on
    the disk.

    Raises:
        ConfigError: the store is no SQLite file.
        ConflictError: the file is there already.
        DataError: the log in the copy is not whole.
    """
    if not source.is_sqlite or not source.engine.url.database:
        raise ConfigError(
            f"{shown(source)}: accord backs up SQLite files; for PostgreSQL use pg_dump, or "
            "`accord data migrate` into a SQLite file"
        )
    if path.exists():
        raise ConflictError(f"{path} is there already; choose another name")
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            _backup(source.engine.url.database, temporary)
            count = _check_copy(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            for left in (temporary, *(Path(f"{temporary}{end}") for end in ("-wal", "-shm"))):
                left.unlink(missing_ok=True)
    return count


def _backup(source: str, target: Path) -> None:
    reader, writer = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reader.backup(writer)
    finally:
        writer.close()
        reader.close()


def _check_copy(path: Path) -> int:
    copy = Database.open(f"sqlite:///{path}")
    try:
        with copy.reading() as connection:
            _refuse_broken(connection, copy)
            count = int(connection.execute(select(func.count(judgements.c.id))).scalar_one())
    finally:
        copy.close()  # the last to leave: its log goes into the file
    return count


def _snapshot(source: Database) -> Any:
    """A transaction that sees one moment, however long it reads."""
    if not source.is_sqlite:
        repeatable = source.engine.execution_options(isolation_level="REPEATABLE READ")
        return repeatable.begin()
    return source.reading()


def _refuse_full(connection: Connection, target: Database) -> None:
    for table in metadata.sorted_tables:
        if not target.is_sqlite:  # nobody else may write before this ends
            connection.execute(text(f"lock table {table.name} in exclusive mode"))
        if connection.execute(select(table).limit(1)).first() is not None:
            raise ConflictError(
                f"{shown(target)}: its table {table.name!r} is not empty; migrate into a new "
                "database"
            )


def _refuse_broken(connection: Connection, database: Database) -> None:
    place = broken_at(connection)
    if place is not None:
        raise DataError(
            f"{shown(database)}: event {place} of the log is not what was written; restore a "
            "backup from before it was changed"
        )


def _copy(table: Table, old: Connection, new: Connection) -> int:
    count = 0
    for piece in _pieces(table, old):
        new.execute(table.insert(), piece)
        count += len(piece)
    return count


def _pieces(table: Table, connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """Rows in the order of their keys, so that what an event supersedes is there before it."""
    found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
    for piece in found.partitions(_PIECE):
        yield [dict(row) for row in piece]


def _refuse_difference(old: Connection, new: Connection, target: Database) -> None:
    for table in metadata.sorted_tables:
        sent, arrived = _digest(table, old), _digest(table, new)
        if sent != arrived:
            raise DataError(
                f"{shown(target)}: table {table.name!r} has {arrived[0]} rows, hash "
                f"{arrived[1][:12]}; sent were {sent[0]}, hash {sent[1][:12]}; nothing was kept"
            )


def _digest(table: Table, connection: Connection) -> tuple[int, str]:
    count, digest = 0, hashlib.sha256()
    for piece in _pieces(table, connection):
        for row in piece:
            # SQLite keeps no sign of a zero: the rank of a task with priority 0 is -0.0 elsewhere.
            plain = {k: v + 0.0 if isinstance(v, float) else v for k, v in row.items()}
            digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
        count += len(piece)
    return count, digest.hexdigest()


def _count_on(connection: Connection) -> None:
    """PostgreSQL numbers rows by sequences, which rows that came with a number do not move."""
    for table in metadata.sorted_tables:
        for column in table.primary_key.columns:
            name = connection.execute(
                text("select pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            ).scalar()
            last = connection.execute(select(func.max(column))).scalar() if name else None
            if last is not None:
                connection.execute(
                    text("select setval(:name, :last)"), {"name": name, "last": last}
                )
