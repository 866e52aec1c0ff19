"""Templates: everything is escaped, and a name that a template misspells is an error."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from accord import __version__
from accord.web.markdown import render

_TEMPLATES = Environment(
    loader=PackageLoader("accord.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _utc(at: float) -> str:
    """Seconds since 1970 as a date, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


_TEMPLATES.filters["markdown"] = render
_TEMPLATES.filters["utc"] = _utc
_TEMPLATES.globals["version"] = __version__


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """A page of somebody's; each knows who asks, the session's CSRF token, and `is_part`."""
    known = {"identity": request.state.identity, "csrf": request.state.csrf}
    fresh = {"Cache-Control": "no-store", **(headers or {})}  # a key is made for one display
    shown = {**known, "is_part": is_part(request), **context}
    return plain_page(template, shown, status=status, headers=fresh)


def plain_page(
    template: str,
    shown: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A page that needs no account: signing in, invitations, refusals, the API's listing."""
    html = _TEMPLATES.get_template(template).render(**shown)
    return HTMLResponse(html, status, dict(headers or {}))


def is_part(request: Request) -> bool:
    """Whether a script asks for a part of a page that is there already."""
    return request.headers.get("HX-Request") == "true"
