"""Who asks: what pages and API routes know of the person or program behind a request."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import HTTPException, Request

from accord.core.types import Role

__all__ = ["ROLES", "Identity", "Role", "current", "only"]

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Identity:
    """An account that has shown who it is: by a session's cookie, or by a token with its scopes."""

    name: str
    """the annotator's name in the store"""
    role: Role
    scopes: frozenset[str] | None = None
    """what a token may do; None is a session, which may do all that its role may"""


def current(request: Request) -> Identity:
    """Who asks, as the app's middleware found it.

    Raises:
        HTTPException: 401, nobody has shown who he is.
    """
    found: Identity | None = getattr(request.state, "identity", None)
    if found is None:
        raise HTTPException(401, "sign in first")
    return found


def only(*roles: Role) -> Callable[[Request], Coroutine[Any, Any, Identity]]:
    """A dependency that lets these roles in, and answers others with 403."""

    async def check(request: Request) -> Identity:
        identity = current(request)
        if identity.role not in roles:
            raise HTTPException(403, f"this is for: {', '.join(roles)}")
        return identity

    check.roles = roles  # type: ignore[attr-defined]
    return check
