"""Passwords: argon2, how often one may be tried, and what a new one must be."""

import functools
import threading
import time
from collections.abc import Callable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from fastapi import HTTPException

from accord.core.errors import DataError
from accord.store.accounts import SqlAccounts
from accord.web.limits import RateLimiter

MIN_LENGTH, MAX_LENGTH = 12, 1000
PER_NAME, PER_ADDRESS, WITHIN_S = 10, 50, 900.0
"""Tries to sign in, within a quarter of an hour."""
_AT_ONCE = 2
"""Hashes under way: each takes 64 MiB and a core for a moment."""


class Passwords:
    """Checks and sets the passwords of accounts.

    Args:
        accounts: whose.
        now: the clock of the limits, in seconds.
    """

    def __init__(self, accounts: SqlAccounts, *, now: Callable[[], float] = time.monotonic) -> None:
        self.accounts = accounts
        self._hasher = PasswordHasher()
        self._turn = threading.BoundedSemaphore(_AT_ONCE)
        self._by_name = RateLimiter(PER_NAME, WITHIN_S, now=now)
        self._by_address = RateLimiter(PER_ADDRESS, WITHIN_S, now=now)
        self._nobody = _nobody()

    def is_right(self, name: str, password: str, *, address: str) -> bool:
        """Whether this is the password of an active account.

        Raises:
            HTTPException: 429, it was tried too often under this name or from this address.
        """
        wait_s = max(self._by_address.wait_s(address), self._by_name.wait_s(name[:MAX_LENGTH]))
        if wait_s:
            raise HTTPException(
                429,
                f"too many tries; come back in {wait_s / 60:.0f} minutes",
                {"Retry-After": str(int(wait_s) + 1)},
            )
        known = self.accounts.password_hash(name) if _is_text(name) else None
        if not self._verify(known or self._nobody, password[:MAX_LENGTH]) or known is None:
            return False
        self._by_name.forget(name)
        return True

    def set(self, name: str, password: str) -> None:
        """Give an account a new password; it is signed out everywhere.

        Raises:
            DataError: as `check_new`.
        """
        self.check_new(name, password)
        with self._turn:
            hashed = self._hasher.hash(password.encode("utf-8", "replace"))
        self.accounts.set_password_hash(name, hashed)

    def check_new(self, name: str, password: str) -> None:
        """Refuse a password that is none.

        Raises:
            DataError: it is too short or too long, or is the name.
        """
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH or password == name:
            raise DataError(
                f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters and is not the name; a "
                "sentence is easy to remember"
            )

    def _verify(self, known: str, password: str) -> bool:
        with self._turn:
            try:
                return self._hasher.verify(known, password.encode("utf-8", "replace"))
            except (VerifyMismatchError, InvalidHashError):
                return False


@functools.cache
def _nobody() -> str:
    """What is checked for a name that nobody has: to refuse it takes as long as a wrong password's
    refusal. Once a process, because a hash is made to be slow."""
    return PasswordHasher().hash("nobody has this password")


def _is_text(name: str) -> bool:
    return "\0" not in name and name.isprintable()
