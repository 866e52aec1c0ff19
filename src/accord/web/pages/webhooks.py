"""A project's webhooks on its lead's page: how far each has been told, and its switch."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from fastapi.responses import RedirectResponse

from accord.web.identity import Identity, only
from accord.web.services import Given

router = APIRouter()

Lead = Annotated[Identity, Depends(only("lead"))]


@router.post("/lead/project/webhook")
def switch(
    _: Lead,
    services: Given,
    name: Annotated[str, Form()],
    webhook: Annotated[int, Form()],
    is_on: Annotated[bool, Form()],
) -> RedirectResponse:
    """Off; or on, and told at once of what waits for it."""
    services.webhooks.change(name, webhook, is_on=is_on)
    return RedirectResponse(f"/lead/project?name={quote(name, safe='')}#webhooks-heading", 303)
