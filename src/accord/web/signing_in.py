"""Signing in: by name and password, or by a link that works once."""

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from accord.core.errors import DataError
from accord.store.access import SESSION_S, Invitation
from accord.web.gate import COOKIE
from accord.web.services import Given, Services
from accord.web.templating import plain_page

router = APIRouter(include_in_schema=False)

_WRONG = "The name or the password is wrong."


@router.get("/login")
def login_page(next: str = "/") -> HTMLResponse:
    """Ask for name and password."""
    return _login_page(next)


@router.post("/login")
def login(
    request: Request,
    services: Given,
    name: Annotated[str, Form()],
    password: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Start a session."""
    address = request.client.host if request.client else ""
    if not services.passwords.is_right(name, password, address=address):
        return _login_page(next, name=name, message=_WRONG, status=401)
    return _signed_in(request, services, name, _own_path(next))


@router.post("/logout")
def logout(request: Request, services: Given) -> Response:
    """End the session."""
    secret = request.cookies.get(COOKIE)
    if secret and request.state.identity is not None:
        services.access.end_session(secret)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/join/{secret}")
def join_page(secret: str, services: Given) -> HTMLResponse:
    """Show whom a link is for; it is used up by the button, not by programs that look ahead."""
    return _join_page(services.access.invitation(secret))


@router.post("/join/{secret}")
def join(
    secret: str, request: Request, services: Given, password: Annotated[str, Form()] = ""
) -> Response:
    """Use a link up: keep the new password, and start a session."""
    found = services.access.invitation(secret)
    if found.sets_password:
        try:
            services.passwords.check_new(found.name, password)
        except DataError as error:
            return _join_page(found, message=str(error), status=400)
    services.access.use_invitation(secret)
    if found.sets_password:
        services.passwords.set(found.name, password)
    return _signed_in(request, services, found.name, "/")


def _login_page(next: str, *, name: str = "", message: str = "", status: int = 200) -> HTMLResponse:
    name = name if name.isprintable() else ""
    shown = {"title": "Sign in", "message": message, "name": name, "next": _own_path(next)}
    return plain_page("login.html.jinja", shown, status=status)


def _join_page(found: Invitation, *, message: str = "", status: int = 200) -> HTMLResponse:
    shown = {"title": "Welcome", "message": message, **dataclasses.asdict(found)}
    return plain_page("join.html.jinja", shown, status=status)


def _signed_in(request: Request, services: Services, name: str, to: str) -> Response:
    response = RedirectResponse(to, 303)
    response.set_cookie(
        COOKIE,
        services.access.start_session(name),
        max_age=int(SESSION_S),
        httponly=True,
        samesite="lax",
        secure=services.site.is_https(request),
    )
    return response


def _own_path(path: str) -> str:
    """A path on this site, or the start: `//host` and `/\\host` lead elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"
