"""Errors as OpenAI's clients read them: {"error": {"message", "type", "param", "code"}}."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from accord.core.errors import AccordError, DataError, NotFoundError
from accord.serving.tickets import Busy, EngineFailed, Stopped

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_STATUS: list[tuple[type[AccordError], int]] = [
    (Busy, 429),
    (Stopped, 503),
    (EngineFailed, 500),
    (NotFoundError, 404),
    (DataError, 400),
]

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Told(BaseModel):
    """What is wrong; `param` names the field."""

    message: str
    type: str
    param: str | None
    code: str | None


class Refusal(BaseModel):
    """The body of every refusal."""

    error: Told


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": said}
    for status, said in (("4XX", "A refusal"), ("5XX", "A failure of the server"))
}
"""As the OpenAPI document describes them."""


class ApiError(AccordError):
    """A refusal with its status; `param` is the field that it is about."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> Any:
    """The one shape."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def body_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of an exception; what is unforeseen is logged, and not shown."""
    if isinstance(error, ApiError):
        return error.status, error_body(error.status, str(error), error.code, error.param)
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status, error_body(status, str(error))
    if isinstance(error, AccordError):
        return 400, error_body(400, str(error))
    logging.getLogger(__name__).error("unforeseen", exc_info=error)
    return 500, error_body(500, "something went wrong here; the server's log says what")


def answer(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A refusal as a response; who came too early is told when to come again."""
    after = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse(dict(body), status, {**after, **(headers or {})})


async def refuse_half_characters(request: Request) -> None:
    """Refuse JSON that escapes half of a character, which no text and no answer can hold.

    Raises:
        ApiError: the body does.
    """
    if request.method != "POST" or not _SURROGATE.search(await request.body()):
        return
    try:
        json.dumps(await request.json(), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ApiError(400, "the body holds half of a character (a lone surrogate)") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except ValueError:
        return  # no JSON, which whoever reads it will say


def add_refusals(app: FastAPI) -> None:
    """Turn every exception of a route into an answer of this shape."""

    def foreseen(_: Request, error: Any) -> JSONResponse:
        return answer(*body_of(error))

    def http_error(_: Request, error: Any) -> JSONResponse:
        body = error_body(error.status_code, str(error.detail))
        return answer(error.status_code, body, error.headers)

    def invalid(_: Request, error: Any) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return answer(400, error_body(400, "the body is not JSON"))
        # Where and what, but not the value: prompts are nobody's business.
        found = [f"{_place(e)}: {e['msg']}" for e in error.errors()[:5]]
        return answer(422, error_body(422, "; ".join(found), param=_place(first)))

    app.add_exception_handler(AccordError, foreseen)
    app.add_exception_handler(StarletteHTTPException, http_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))
    app.add_exception_handler(Exception, foreseen)


def _place(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error["loc"] if part != "body") or "body"
