"""A project's webhooks on its lead's page: new ones, how far each has been told, its switch."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from accord.web.pages.managing import Lead, Text
from accord.web.services import Given
from accord.web.templating import page

router = APIRouter()


@router.post("/lead/project/webhooks")
def add(
    request: Request,
    _: Lead,
    services: Given,
    name: Text,
    url: Text,
    event: Annotated[list[str] | None, Form()] = None,
) -> HTMLResponse:
    """Tell an address of events; the secret that signs them is shown this once."""
    made = services.webhooks.add(name, url.strip(), event or [])
    return page(request, "webhook_made.html.jinja", project=name, hook=made)


@router.post("/lead/project/webhook")
def change(
    _: Lead,
    services: Given,
    name: Text,
    webhook: Annotated[int, Form()],
    change: Annotated[Literal["on", "off", "remove"], Form()],
) -> RedirectResponse:
    """Off; on, and told at once of what waits for it; or told of nothing more."""
    if change == "remove":
        services.webhooks.remove(name, webhook)
    else:
        services.webhooks.change(name, webhook, is_on=change == "on")
    return RedirectResponse(f"/lead/project?name={quote(name, safe='')}#webhooks-heading", 303)
