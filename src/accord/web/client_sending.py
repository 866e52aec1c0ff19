"""How the client speaks with the server: JSON over HTTP, under a token."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from accord.core.errors import AccordError, ConfigError, ConflictError, DataError, NotFoundError

_ERRORS: dict[int, type[AccordError]] = {
    400: DataError,
    404: NotFoundError,
    409: ConflictError,
    422: DataError,
}
Json = dict[str, Any]


class RefusedError(AccordError):
    """The server would not: no account, not allowed, too often, or out of order."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status = status


class Sender:
    """Requests to one server; arguments as of `Client`."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 30.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError(f"expected http(s)://HOST, got {url!r}")
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        self._token = token
        # A redirect would take the token elsewhere.
        self._opener = urllib.request.build_opener(_NoRedirects)

    def _get(self, path: str, **query: Any) -> Any:
        given = {key: value for key, value in query.items() if value is not None}
        return self._send("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        text, _ = self._text(method, path, body)
        return json.loads(text) if text else None

    def _text(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[str, Mapping[str, str]]:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=self.timeout_s) as answer:
                return answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None
        except OSError as error:
            raise RefusedError(0, f"{self.url} cannot be reached: {error}") from None


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _refusal(status: int, body: bytes) -> AccordError:
    try:
        message = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        message = "the server answered without a reason"
    return _ERRORS[status](message) if status in _ERRORS else RefusedError(status, message)
