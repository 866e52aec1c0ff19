"""API keys: who may come in. Files hold hashes; a key itself is shown once, when it is made.

A key has 256 random bits, so a plain SHA-256 of it tells nobody anything; a password would need a
slow hash.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accord.core.errors import ConfigError

KEY, ADMIN_KEY = "ACCORD_API_KEY", "ACCORD_ADMIN_KEY"
"""Names of environment variables with one plain key each."""
_PREFIX = "sk-accord-"
_SHORTEST = 16


@dataclass(frozen=True)
class Caller:
    """Who asks; an admin may also change what is served."""

    name: str
    is_admin: bool = False


class Keys:
    """Callers by the hashes of their keys."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._callers = dict(callers)

    @classmethod
    def read(cls, path: Path | None, environ: Mapping[str, str]) -> "Keys":
        """Keys of a file of lines `NAME user|admin SHA256`, and of the environment.

        Raises:
            ConfigError: the file cannot be read, a line is none, or a key is too short.
        """
        found: dict[str, Caller] = {}
        for variable, is_admin in ((KEY, False), (ADMIN_KEY, True)):
            key = environ.get(variable)
            if key is not None:
                if len(key) < _SHORTEST:
                    raise ConfigError(f"{variable} has less than {_SHORTEST} characters")
                found[hash_key(key)] = Caller("admin" if is_admin else "default", is_admin)
        if path is not None:
            found |= _read_file(path)
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self._callers)

    def who(self, key: str) -> Caller | None:
        """The caller with this key."""
        given = hash_key(key)
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, given):
                found = caller
        return found


def hash_key(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def new_key(name: str, *, is_admin: bool = False) -> tuple[str, str]:
    """A fresh key, and its line for the file.

    Raises:
        ConfigError: the name has spaces or a colon, or is none.
    """
    _check_name(name)
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, f"{name} {'admin' if is_admin else 'user'} {hash_key(key)}"


def _read_file(path: Path) -> dict[str, Caller]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a file of keys") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        is_hash = (
            len(words) == 3 and len(words[2]) == 64 and set(words[2]) <= set("0123456789abcdef")
        )
        if not is_hash or words[1] not in ("user", "admin"):
            raise ConfigError(
                f"{path}, line {number}: expected NAME user|admin SHA256 (of the key)"
            )
        _check_name(words[0])
        found[words[2]] = Caller(words[0], words[1] == "admin")
    return found


def _check_name(name: str) -> None:
    if not name or name.split() != [name] or ":" in name:  # users are known as KEY:USER
        raise ConfigError(f"a key's name is one word without a colon, got {name!r}")
