"""The few pages that need no account: signing in, invitations, refusals; and the API's listing."""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader("accord.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    template: str,
    shown: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """A template filled in with what is to be shown; everything is escaped."""
    html = _TEMPLATES.get_template(template).render(**shown)
    return HTMLResponse(html, status, dict(headers or {}))
