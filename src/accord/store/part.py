"""What the store's parts have in common: a database, and a clock."""

import time
from collections.abc import Callable

from accord.store.database import Database


class Part:
    """A part of the store; each of its calls is a transaction of its own.

    Args:
        database: where.
        now: the clock, in seconds since 1970.
    """

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self.database = database
        self.now = now
