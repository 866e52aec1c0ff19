"""What opens a door: sessions, invitations, tokens. The database holds only their hashes."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import delete, select, update

from accord.core.errors import DataError, NotFoundError
from accord.core.types import Role
from accord.store.part import Part
from accord.store.schema import accounts, annotators, invitations, sessions, tokens
from accord.store.text import check_name

SESSION_S = 14 * 86_400.0
INVITATION_S = 7 * 86_400.0
Scope = Literal["read", "annotate", "manage"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
TOKEN_PREFIX = "accord_"
"""So that a token that lies about in a file is found by those who look for such things."""


@dataclass(frozen=True)
class Admitted:
    """An active account whose session or token was shown; `scopes` are None for a session."""

    name: str
    role: Role
    scopes: frozenset[str] | None = None


@dataclass(frozen=True)
class Invitation:
    """A link that signs in once; one that `sets_password` asks for a password first."""

    name: str
    sets_password: bool


@dataclass(frozen=True)
class Token:
    """What may be known of a token; its secret was shown when it was issued, and never again."""

    id: int
    account: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class SqlAccess(Part):
    """Sessions, invitations and tokens of one database's accounts.

    Secrets have 256 random bits, so that a plain SHA-256 is hash enough.
    """

    def start_session(self, name: str) -> str:
        """Sign in; gives the secret for the cookie.

        Raises:
            NotFoundError: there is no active account of that name.
        """
        secret = secrets.token_urlsafe(32)
        with self.database.writing() as connection:
            now = self.now()
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            values = {"annotator_id": self._id(connection, name), "sha256": _hash(secret)}
            connection.execute(
                sessions.insert().values(**values, created_at=now, expires_at=now + SESSION_S)
            )
        return secret

    def by_session(self, secret: str) -> Admitted | None:
        """Whose session this is; None when it ended."""
        query = _WHO.join(sessions, sessions.c.annotator_id == accounts.c.annotator_id).where(
            sessions.c.sha256 == _hash(secret), sessions.c.expires_at > self.now()
        )
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Admitted(row.name, row.role)

    def end_session(self, secret: str) -> None:
        """Sign out."""
        with self.database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.sha256 == _hash(secret)))

    def invite(self, name: str, *, sets_password: bool) -> str:
        """A secret that signs in once, within a week.

        Raises:
            NotFoundError: there is no active account of that name.
        """
        secret = secrets.token_urlsafe(32)
        with self.database.writing() as connection:
            values = {"annotator_id": self._id(connection, name), "sha256": _hash(secret)}
            expires_at = self.now() + INVITATION_S
            connection.execute(
                invitations.insert().values(
                    **values, sets_password=sets_password, expires_at=expires_at
                )
            )
        return secret

    def invitation(self, secret: str) -> Invitation:
        """Whom a link is for.

        Raises:
            NotFoundError: it is none, was used, or is too old.
        """
        with self.database.reading() as connection:
            row = connection.execute(self._open_invitation(secret)).first()
        if row is None:
            raise NotFoundError(_NO_LINK)
        return Invitation(row.name, row.sets_password)

    def use_invitation(self, secret: str) -> Invitation:
        """Use a link up; of two who come at once, one gets in.

        Raises:
            NotFoundError: it is none, was used, or is too old.
        """
        found = self.invitation(secret)
        with self.database.writing() as connection:
            used = connection.execute(
                update(invitations)
                .where(invitations.c.sha256 == _hash(secret), invitations.c.used_at.is_(None))
                .values(used_at=self.now())
            )
        if used.rowcount != 1:
            raise NotFoundError(_NO_LINK)
        return found

    def issue_token(
        self, account: str, name: str, scopes: Sequence[str], *, expires_in_s: float | None = None
    ) -> tuple[Token, str]:
        """A new token, and its secret, which cannot be had again.

        Raises:
            DataError: no name, a scope that is none, or a time that is over before it starts.
            NotFoundError: there is no active account of that name.
        """
        check_name(name, "a token's name")
        if not scopes or not set(scopes) <= set(SCOPES):
            raise DataError(f"scopes: expected some of {', '.join(SCOPES)}; got {list(scopes)}")
        if expires_in_s is not None and not 0 < expires_in_s < 1e10:
            raise DataError(f"expires_in_s must be positive, got {expires_in_s}")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self.now()
        values = {
            "name": name,
            "scopes": sorted(set(scopes)),
            "created_at": now,
            "expires_at": None if expires_in_s is None else now + expires_in_s,
        }
        with self.database.writing() as connection:
            who = self._id(connection, account)
            row = {**values, "annotator_id": who, "sha256": _hash(secret)}
            made = connection.execute(tokens.insert().values(**row))
            assert made.inserted_primary_key is not None
            (number,) = made.inserted_primary_key
        found = next(token for token in self.tokens(account) if token.id == number)
        return found, secret

    def by_token(self, secret: str) -> Admitted | None:
        """Whose token this is, and what it may do; None when it expired or was revoked."""
        is_young = tokens.c.expires_at.is_(None) | (tokens.c.expires_at > self.now())
        query = (
            _WHO.add_columns(tokens.c.scopes)
            .join(tokens, tokens.c.annotator_id == accounts.c.annotator_id)
            .where(tokens.c.sha256 == _hash(secret), tokens.c.revoked_at.is_(None), is_young)
        )
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Admitted(row.name, row.role, frozenset(row.scopes))

    def tokens(self, account: str | None = None) -> list[Token]:
        """Tokens of one account, or of all; the oldest first."""
        query = select(tokens, annotators.c.name.label("account")).join(
            annotators, annotators.c.id == tokens.c.annotator_id
        )
        if account is not None:
            query = query.where(annotators.c.name == account)
        with self.database.reading() as connection:
            return [_token(row) for row in connection.execute(query.order_by(tokens.c.id))]

    def revoke_token(self, token_id: int, *, account: str | None = None) -> None:
        """End a token, of whomever or of this account only; once revoked is revoked.

        Raises:
            NotFoundError: there is no such token there.
        """
        mine = next((token for token in self.tokens(account) if token.id == token_id), None)
        if mine is None:
            raise NotFoundError(f"there is no token {token_id}")
        with self.database.writing() as connection:
            connection.execute(
                update(tokens)
                .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
                .values(revoked_at=self.now())
            )

    def _open_invitation(self, secret: str) -> Any:
        return (
            _WHO.add_columns(invitations.c.sets_password)
            .join(invitations, invitations.c.annotator_id == accounts.c.annotator_id)
            .where(
                invitations.c.sha256 == _hash(secret),
                invitations.c.used_at.is_(None),
                invitations.c.expires_at > self.now(),
            )
        )

    def _id(self, connection: Any, name: str) -> int:
        query = _WHO.where(annotators.c.name == name).add_columns(accounts.c.annotator_id)
        row = connection.execute(query).first()
        if row is None:
            raise NotFoundError(f"there is no active account {name!r}")
        return int(row.annotator_id)


_NO_LINK = "this link was used, is too old, or never was one; ask for a new one"
_WHO = (
    select(annotators.c.name, accounts.c.role)
    .select_from(accounts)
    .join(annotators, annotators.c.id == accounts.c.annotator_id)
    .where(accounts.c.is_active)
)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        account=row.account,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
