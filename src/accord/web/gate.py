"""The gate before every route: who asks, from which site, how often, and with how much."""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from accord.core.errors import ConfigError
from accord.store.access import Admitted, SqlAccess
from accord.web.identity import Identity
from accord.web.limits import RateLimiter, limited
from accord.web.refusals import refuse

COOKIE = "accord_session"
SAFE = ("GET", "HEAD", "OPTIONS")
STRANGERS_BYTES = 2**16
MEMBERS_BYTES = 2**24
"""A request's body: of somebody unknown, and of one with an account."""


@dataclass(frozen=True)
class Site:
    """Where people reach this server.

    `public_url` is its address behind a proxy; None takes the address that the request names.
    """

    public_url: str | None = None

    def __post_init__(self) -> None:
        if self.public_url is None:
            return
        parts = urlsplit(self.public_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
            raise ConfigError(f"public_url: expected https://HOST, got {self.public_url!r}")

    def origin(self, request: Request) -> str:
        """Scheme, host and port, as a browser writes them."""
        parts = urlsplit(self.public_url or str(request.base_url))
        default = {"http": ":80", "https": ":443"}[parts.scheme]
        return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"

    def is_https(self, request: Request) -> bool:
        """Whether cookies may be kept from plain http."""
        return self.origin(request).startswith("https:")


class Gate:
    """Sets `request.state.identity` and `request.state.csrf`, and turns away what may not in.

    A bearer token counts under /api/ only, and then the cookie does not: such a request has no
    CSRF token, and may come from anywhere.
    """

    def __init__(
        self, app: ASGIApp, *, access: SqlAccess, site: Site, limiter: RateLimiter
    ) -> None:
        self.app = app
        self.access = access
        self.site = site
        self.limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        token = _bearer(request)
        identity, csrf = await self._who(request, token)
        request.state.identity, request.state.csrf = identity, csrf
        refusal = self._refusal(request, identity, has_token=token is not None)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        most = STRANGERS_BYTES if identity is None else MEMBERS_BYTES
        await self.app(scope, limited(receive, most), send)

    async def _who(self, request: Request, token: str | None) -> tuple[Identity | None, str | None]:
        if token is not None:
            return _identity(await run_in_threadpool(self.access.by_token, token)), None
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            return None, None
        identity = _identity(await run_in_threadpool(self.access.by_session, cookie))
        return identity, None if identity is None else csrf_token(cookie)

    def _refusal(
        self, request: Request, identity: Identity | None, *, has_token: bool
    ) -> Response | None:
        address = request.client.host if request.client else ""
        key = ("name", identity.name) if identity else ("address", address)
        wait_s = self.limiter.wait_s(key)
        if wait_s:
            after = {"Retry-After": str(int(wait_s) + 1)}
            return refuse(request, 429, "too many requests; wait a little", after)
        if request.method in SAFE or has_token:
            return None
        if _comes_from_elsewhere(request, self.site.origin(request)):
            return refuse(request, 403, "this came from another site, and was not done")
        return None


def csrf_token(session: str) -> str:
    """A session's CSRF token: it can be told from the cookie, and the cookie not from it."""
    return hmac.new(session.encode(), b"csrf", hashlib.sha256).hexdigest()


async def check_csrf(request: Request) -> None:
    """A dependency of every route: what changes something carries the session's token.

    Raises:
        HTTPException: 403, it does not.
    """
    expected: str | None = request.state.csrf
    if request.method in SAFE or expected is None:
        return
    given = request.headers.get("X-CSRF-Token")
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if given is None and kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        field = (await request.form()).get("csrf")
        given = field if isinstance(field, str) else None
    if given is None or not hmac.compare_digest(given.encode(), expected.encode()):
        raise HTTPException(403, "the page is too old, or came from elsewhere; load it again")


def _bearer(request: Request) -> str | None:
    """The token; another scheme is a proxy's business. Pages take no tokens."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_api = request.url.path.startswith("/api/")
    return token.strip() if is_api and scheme.lower() == "bearer" else None


def _comes_from_elsewhere(request: Request, own: str) -> bool:
    """A browser names the site that a request comes from; other programs name none."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
    return origin.lower() != own


def _identity(found: Admitted | None) -> Identity | None:
    return None if found is None else Identity(found.name, found.role, found.scopes)
