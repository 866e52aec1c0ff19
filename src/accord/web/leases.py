"""Leases over the network: by a signed name, so that late work is known to be on what was given."""

import hashlib
import hmac

from sqlalchemy import select

from accord.core.errors import DataError
from accord.core.types import Lease
from accord.store.board import task_of
from accord.store.database import Database
from accord.store.display import lease_of
from accord.store.schema import tasks
from accord.store.server_keys import server_key


class Leases:
    """Signs leases, and knows them again when the store has long given the slot to another."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._key = server_key(database, "leases")

    def name(self, lease: Lease) -> str:
        """What a client hands back with its work."""
        return f"{lease.id}.{self._sign(lease.id, lease.task.id, lease.annotator)}"

    def find(self, name: str, task_id: str, annotator: str) -> Lease:
        """The lease of that name, whether it ran out or not.

        Raises:
            DataError: this annotator was given no such lease.
        """
        lease, _, signature = name.partition(".")
        expected = self._sign(lease, task_id, annotator)
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
            raise DataError(f"this is no lease that {annotator!r} was given for task {task_id!r}")
        with self.database.reading() as connection:
            row = connection.execute(select(tasks).where(tasks.c.id == task_id)).first()
        if row is None:
            raise DataError(f"task {task_id!r} is no longer there")
        return lease_of(lease, task_of(row), annotator, 0.0)

    def _sign(self, *parts: str) -> str:
        # With lengths: ("a", "bc") and ("ab", "c") are two.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        signed = hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256)
        return signed.hexdigest()[:32]
