"""Opening a store that is named by a file, a URL, or the environment."""

import os
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from accord.core.errors import ConfigError, DataError
from accord.store.database import URL, Database


def open_database(reference: str | None = None, *, may_be_new: bool = False) -> Database:
    """The database that a flag or a config field names.

    Args:
        reference: a SQLite file or an SQLAlchemy URL; None reads ACCORD_DATABASE_URL.
        may_be_new: make a SQLite file that is not there.

    Raises:
        ConfigError: nothing is named, or what is named is no store of this version.
        DataError: there is no such file, or it is no database.
        StorageError: it cannot be reached or written.
    """
    reference = reference or os.environ.get(URL)
    if not reference:
        raise ConfigError(f"no database: give a file or a URL (--database), or set {URL}")
    url = reference if "://" in reference else f"sqlite:///{reference}"
    file = _sqlite_file(url)
    if file is not None:
        if not file.exists() and not may_be_new:
            raise DataError(f"{file}: there is no such database")
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Database.open(url)
    except OperationalError:
        raise
    except DatabaseError as error:
        raise DataError(f"{reference}: not a database of Accord ({error.orig})") from error


def refuse_password(reference: str | None) -> None:
    """For references in configs, which are written to disk.

    Raises:
        ConfigError: the URL holds one.
    """
    if reference is not None and _has_password(reference):
        raise ConfigError(
            f"database: the URL holds a password, and configs lie on disk; set {URL} instead"
        )


def _has_password(reference: str) -> bool:
    try:
        return "://" in reference and make_url(reference).password is not None
    except ArgumentError:
        return False


def shown(database: Database) -> str:
    """The database as it may be written down: a whole path, and no password."""
    url = database.engine.url
    if database.is_sqlite and url.database:
        url = url.set(database=str(Path(url.database).resolve()))
    return url.render_as_string(hide_password=True)


def _sqlite_file(url: str) -> Path | None:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"{URL}: not a database URL ({error})") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)
