"""The database behind the store: SQLite in one file, or PostgreSQL; migrated when it is opened."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from accord.core.errors import ConfigError, StorageError

URL = "ACCORD_DATABASE_URL"
_WAIT_MS = 30_000
"""How long a writer waits for another one."""
_CHAIN_LOCK = 7_219_113
"""Number of the PostgreSQL lock under which judgements are chained."""
_LEASE_LOCK = 7_219_114
"""And of those, one an annotator, under which tasks are leased."""


class Database:
    """Connections to one database; what is committed is on the disk.

    SQLite runs in WAL mode with `synchronous=FULL`, so that an acknowledged commit survives a crash
    of the machine, and a transaction that writes is the only one that does from its start.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # SQLite lets one writer in, and the others ask again after a sleep; of one process's
        # threads the next one is woken here instead.
        self._alone = threading.Lock() if self.is_sqlite else contextlib.nullcontext()

    @classmethod
    def open(cls, url: str | None = None, *, path: Path | None = None) -> Self:
        """Open and migrate to this version's schema.

        Args:
            url: of SQLAlchemy; None reads ACCORD_DATABASE_URL.
            path: a SQLite file, where there is no URL; it is made if it is not there.

        Raises:
            ConfigError: no URL and no path, a URL of another kind of database, or a database that a
                newer version has written.
            StorageError: it cannot be reached or written.
        """
        url = url or os.environ.get(URL)
        if url is None:
            if path is None:
                raise ConfigError(f"no database: give a file, or set {URL}")
            path.parent.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{path}"
        engine = _engine(url)
        database = cls(engine)
        try:
            database._migrate()
        except ConfigError:
            database.close()
            raise
        except OperationalError as error:
            database.close()
            shown = engine.url.render_as_string(hide_password=True)
            raise StorageError(
                f"{shown}: the database cannot be used ({error.orig}); is it there, and may this "
                "user write to it?"
            ) from error
        return database

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that changes something; an exception leaves everything as it was."""
        with self._alone, self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only looks, and waits for nobody."""
        connection = self.engine.connect().execution_options(accord_reads=True)
        if not self.is_sqlite:  # what several queries find is of one moment, as it is in SQLite
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection, connection.begin():
            yield connection

    def chain_alone(self, connection: Connection) -> None:
        """Let nobody else append judgements before this transaction ends."""
        if not self.is_sqlite:  # there a writer is alone anyway
            connection.execute(text(f"select pg_advisory_xact_lock({_CHAIN_LOCK})"))

    def lease_alone(self, connection: Connection, annotator_id: int) -> None:
        """Let nobody else lease for this annotator before this transaction ends."""
        if not self.is_sqlite:
            lock = text("select pg_advisory_xact_lock(:kind, :who)")
            connection.execute(lock, {"kind": _LEASE_LOCK, "who": annotator_id})

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        scripts = ScriptDirectory.from_config(config)
        with self.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            known = {script.revision for script in scripts.walk_revisions()}
            if current is not None and current not in known:
                shown = self.engine.url.render_as_string(hide_password=True)
                raise ConfigError(
                    f"{shown}: written by a newer version of Accord (schema {current}); upgrade "
                    "Accord, nothing was changed"
                )
            if current == scripts.get_current_head():
                return
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(f"{URL}: not a database URL ({error})") from None
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            return create_engine(
                parsed,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"PostgreSQL needs its driver ({error}): pip install 'accord[postgres]'"
            ) from error
    if kind != "sqlite":
        raise ConfigError(f"{URL}: expected sqlite or postgresql, got {kind}")
    # What is stored stays out of error messages, and so out of logs.
    engine = create_engine(parsed, connect_args={"timeout": _WAIT_MS / 1000}, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says
    cursor = connection.cursor()
    # secure_delete: what is erased is overwritten, on builds whose default is another, too.
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute(f"PRAGMA busy_timeout={_WAIT_MS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and then writes could find that another one wrote between.
    reads = connection.get_execution_options().get("accord_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
