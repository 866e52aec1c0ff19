"""What somebody sees when it does not work: JSON for programs, a plain page for browsers."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import DataError as UnstorableError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from accord.core.errors import AccordError, ConflictError, NotFoundError, StorageError
from accord.web.templating import plain_page

_STATUS: list[tuple[type[AccordError], int]] = [
    (NotFoundError, 404),
    (ConflictError, 409),
    (StorageError, 503),
    (AccordError, 400),
]
_TITLES = {401: "Sign in first", 403: "Not for you", 404: "Not found", 429: "Too many requests"}


def refuse(
    request: Request, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Say what is wrong, as whoever asks can read it."""
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message}, status, dict(headers or {}))
    if status == 401 and request.method == "GET":
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        to = f"/login?next={quote(there, safe='')}"
        if request.headers.get("HX-Request") == "true":  # a script follows no redirect to a page
            return Response(status_code=401, headers={"HX-Redirect": to})
        return RedirectResponse(to, 303)
    title = _TITLES.get(status, "That did not work")
    shown = {"title": title, "message": message}
    return plain_page("plain_refused.html.jinja", shown, status=status, headers=headers)


def add_refusals(app: FastAPI) -> None:
    """Turn every exception into an answer; what is unforeseen is logged, and not shown."""

    def accord_error(request: Request, error: Any) -> Response:
        status = next(number for kind, number in _STATUS if isinstance(error, kind))
        return refuse(request, status, str(error))

    def http_error(request: Request, error: Any) -> Response:
        return refuse(request, error.status_code, str(error.detail), error.headers)

    def invalid(request: Request, error: Any) -> Response:
        # Where and what, but not the value: it may be a secret.
        found = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
        return refuse(request, 422, "; ".join(found))

    def database_error(request: Request, error: Any) -> Response:
        logging.getLogger(__name__).error("the database refused: %s", error.orig)
        return refuse(request, 503, "the database is busy; nothing was stored, try again soon")

    def unstorable(request: Request, _: Any) -> Response:
        return refuse(request, 400, "this holds what no database keeps, such as NUL")

    def left(_: Request, __: Any) -> Response:
        return Response(status_code=400)  # nobody is there to read it, and nothing was done

    def unforeseen(request: Request, _: Any) -> Response:
        return refuse(request, 500, "something went wrong here; nothing of this was stored")

    app.add_exception_handler(AccordError, accord_error)
    app.add_exception_handler(StarletteHTTPException, http_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(OperationalError, database_error)
    app.add_exception_handler(UnstorableError, unstorable)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, unforeseen)
