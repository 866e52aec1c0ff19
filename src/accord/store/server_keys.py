"""Keys that the server signs with: made when first asked for, the same after a restart."""

import secrets

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from accord.store.database import Database
from accord.store.schema import server_keys


def server_key(database: Database, name: str) -> bytes:
    """The key of that name, 32 random bytes."""
    query = select(server_keys.c.value).where(server_keys.c.name == name)
    with database.reading() as connection:
        found = connection.execute(query).scalar()
    if found is None:
        found = secrets.token_hex(32)
        try:
            with database.writing() as connection:
                connection.execute(server_keys.insert().values(name=name, value=found))
        except IntegrityError:  # another server was faster
            return server_key(database, name)
    return bytes.fromhex(found)
