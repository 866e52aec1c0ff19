"""Accounts: annotators who may sign in, what they may do, and what they said of themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, delete, select, update

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Role
from accord.store.board import SqlTaskBoard
from accord.store.part import Part
from accord.store.schema import accounts, annotators, sessions, tokens
from accord.store.text import check_name

Kind = Literal["person", "model", "simulated"]


@dataclass(frozen=True)
class Account:
    """An annotator who may sign in; `groups` is None where none were declared."""

    name: str
    kind: Kind
    role: Role
    is_active: bool
    has_password: bool
    groups: Mapping[str, str] | None
    opted_out: tuple[str, ...]
    created_at: float


class SqlAccounts(Part):
    """The accounts of one database."""

    def create(self, name: str, role: Role, *, kind: Kind | None = None) -> Account:
        """A new account; an annotator who is known by name already gets one.

        Args:
            name: of the annotator, as it will stand in judgements.
            role: what the account may do.
            kind: who is behind it; None is a model for a machine, and else a person.

        Raises:
            DataError: the name cannot be one, or there is no such role or kind.
            ConflictError: the name has an account, or belongs to another kind of annotator.
        """
        check_name(name, "an account's name")
        _check_choice(role, get_args(Role), "role")
        kind = kind or ("model" if role == "machine" else "person")
        _check_choice(kind, get_args(Kind), "kind")
        SqlTaskBoard(self.database, now=self.now).register(name, kind=kind)
        with self.database.writing() as connection:
            who = _lock_annotator(connection, name, is_sqlite=self.database.is_sqlite)
            known = select(accounts.c.role).where(accounts.c.annotator_id == who)
            if connection.execute(known).first() is not None:
                raise ConflictError(f"{name!r} has an account already")
            connection.execute(
                accounts.insert().values(
                    annotator_id=who,
                    role=role,
                    is_active=True,
                    opted_out=[],
                    created_at=self.now(),
                )
            )
        return self.get(name)

    def get(self, name: str) -> Account:
        """The account of that name.

        Raises:
            NotFoundError: there is none.
        """
        with self.database.reading() as connection:
            row = connection.execute(_ALL.where(annotators.c.name == name)).first()
        if row is None:
            raise NotFoundError(f"there is no account {name!r}")
        return _account(row)

    def all(self) -> list[Account]:
        """Every account, by name."""
        with self.database.reading() as connection:
            return [_account(row) for row in connection.execute(_ALL.order_by(annotators.c.name))]

    def change(
        self, name: str, *, role: Role | None = None, is_active: bool | None = None
    ) -> Account:
        """Give an account another role, or switch it off or on.

        Whoever is switched off is signed out at once, and the tokens are revoked for good.

        Raises:
            NotFoundError: there is no such account.
            ConflictError: nobody would be left who is an active lead.
        """
        if role is not None:
            _check_choice(role, get_args(Role), "role")
        with self.database.writing() as connection:
            leads = select(accounts.c.annotator_id).where(
                accounts.c.role == "lead", accounts.c.is_active
            )
            if not self.database.is_sqlite:  # two leads must not switch off each other
                leads = leads.with_for_update()
            active_leads = set(connection.execute(leads).scalars())
            who = _account_id(connection, name)
            stays_lead = role in (None, "lead") and is_active is not False
            if active_leads == {who} and not stays_lead:
                raise ConflictError(f"{name!r} is the only lead; make another one first")
            values = {"role": role, "is_active": is_active}
            changed = {key: value for key, value in values.items() if value is not None}
            if changed:
                _update(connection, who, changed)
            if is_active is False:
                connection.execute(delete(sessions).where(sessions.c.annotator_id == who))
                connection.execute(
                    update(tokens)
                    .where(tokens.c.annotator_id == who, tokens.c.revoked_at.is_(None))
                    .values(revoked_at=self.now())
                )
        return self.get(name)

    def declare(self, name: str, groups: Mapping[str, str] | None) -> Account:
        """Keep what somebody says of himself, such as {"language": "Finnish"}; None forgets it.

        Declaring is consenting: nothing is kept that was not handed in here.
        """
        for key, value in (groups or {}).items():
            check_name(key, "a group's name")
            check_name(value, f"group {key!r}")
        kept = dict(groups) if groups else None
        consented_at = self.now() if kept else None
        return self._set(name, groups=kept, consented_at=consented_at)

    def opt_out(self, name: str, categories: Sequence[str]) -> Account:
        """From now on hand out no task whose column `category` is one of these."""
        for category in categories:
            check_name(category, "a category")
        return self._set(name, opted_out=sorted(set(categories)))

    def password_hash(self, name: str) -> str | None:
        """Of an active account; None where there is none, or it has no password."""
        query = _IDS.where(annotators.c.name == name, accounts.c.is_active)
        with self.database.reading() as connection:
            row = connection.execute(query.add_columns(accounts.c.password_hash)).first()
        return None if row is None else row.password_hash

    def set_password_hash(self, name: str, password_hash: str) -> None:
        """Take a new password; whoever was signed in by the old one no longer is."""
        with self.database.writing() as connection:
            who = _account_id(connection, name)
            _update(connection, who, {"password_hash": password_hash})
            connection.execute(delete(sessions).where(sessions.c.annotator_id == who))

    def _set(self, name: str, **values: Any) -> Account:
        with self.database.writing() as connection:
            _update(connection, _account_id(connection, name), values)
        return self.get(name)


_ALL = select(accounts, annotators.c.name, annotators.c.kind).join(
    annotators, annotators.c.id == accounts.c.annotator_id
)
_IDS = select(accounts.c.annotator_id).join(annotators, annotators.c.id == accounts.c.annotator_id)


def _account(row: Any) -> Account:
    return Account(
        name=row.name,
        kind=row.kind,
        role=row.role,
        is_active=row.is_active,
        has_password=row.password_hash is not None,
        groups=row.groups,
        opted_out=tuple(row.opted_out),
        created_at=row.created_at,
    )


def _account_id(connection: Connection, name: str) -> int:
    found = connection.execute(_IDS.where(annotators.c.name == name)).scalar()
    if found is None:
        raise NotFoundError(f"there is no account {name!r}")
    return int(found)


def _lock_annotator(connection: Connection, name: str, *, is_sqlite: bool) -> int:
    query = select(annotators.c.id).where(annotators.c.name == name)
    return int(connection.execute(query if is_sqlite else query.with_for_update()).scalar_one())


def _update(connection: Connection, who: int, values: Mapping[str, Any]) -> None:
    connection.execute(update(accounts).where(accounts.c.annotator_id == who).values(**values))


def _check_choice(value: str, known: Sequence[str], what: str) -> None:
    if value not in known:
        raise DataError(f"{what} must be one of {', '.join(known)}; got {value!r}")
