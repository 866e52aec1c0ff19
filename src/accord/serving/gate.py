"""The gate before every route: who asks, how often, with how much, and under which name of ours."""

from collections.abc import Callable, Collection

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from accord.serving.keys import Caller, Keys
from accord.serving.refusals import answer, error_body
from accord.web.limits import RateLimiter, limited

OPEN_PATHS = ("/health", "/ready")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class Gate:
    """Sets `request.state.caller`, and turns away what may not in.

    Without keys everybody who reaches this server may use it, so it answers to loopback's names
    only: a web page that has its own name lead here (DNS rebinding) is refused.

    Args:
        app: what answers.
        keys: who may in; none lets everybody in.
        limiter: of requests, by caller.
        most_bytes: of a request's body.
        hosts: names of this server, where there are no keys.
        is_page: of a path, whether anybody may see what is there, and as often as he likes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        limiter: RateLimiter,
        most_bytes: int,
        hosts: Collection[str] = LOCAL_HOSTS,
        is_page: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.app = app
        self.keys, self.limiter = keys, limiter
        self.most_bytes = most_bytes
        self.hosts = hosts
        self.is_page = is_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        status, message = self._refusal(request)
        if status:
            code = "invalid_api_key" if status == 401 else None
            await answer(status, error_body(status, message, code))(scope, receive, send)
            return
        await self.app(scope, limited(receive, self.most_bytes), send)

    def _refusal(self, request: Request) -> tuple[int, str]:
        if not self.keys and (request.url.hostname or "") not in self.hosts:
            return 403, "this server has no keys, and answers to loopback's names only"
        if self.is_page(request.url.path):
            return 0, ""
        caller = self._caller(request)
        if caller is None:
            return 401, "wrong or no API key; send it as `Authorization: Bearer KEY`"
        wait_s = self.limiter.wait_s(caller.name)
        if wait_s:
            return 429, f"too many requests; come back in {wait_s:.1f} s"
        size = request.headers.get("Content-Length", "0")
        if not size.isdecimal() or int(size) > self.most_bytes:
            return 413, f"a body has at most {self.most_bytes} bytes"
        if request.url.path.startswith("/admin/") and not caller.is_admin:
            return 403, "this needs an admin's key"
        request.state.caller = caller
        return 0, ""

    def _caller(self, request: Request) -> Caller | None:
        if not self.keys:
            return Caller("local", is_admin=True)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return self.keys.who(key.strip()) if scheme.lower() == "bearer" else None
