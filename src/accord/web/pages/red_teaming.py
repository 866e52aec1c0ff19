"""The red-teamer's page: a warning, a chat with the target turn by turn, and what came of it."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from accord.core.errors import AccordError, ConflictError, DataError, NotFoundError
from accord.core.types import Submission
from accord.store.display import lease_of
from accord.web.identity import Identity
from accord.web.pages.labelling import Person, Posted
from accord.web.red_team_desk import CATEGORY, MOST_TURNS, RedTeamDesk
from accord.web.services import Given, Services
from accord.web.templating import page

router = APIRouter()

PAGE = "/red-team"


async def _desk(services: Given) -> RedTeamDesk | None:
    return services.red_team


Desk = Annotated[RedTeamDesk | None, Depends(_desk)]


@router.get(PAGE)
def red_team(request: Request, who: Person, services: Given, desk: Desk) -> HTMLResponse:
    """The chat that somebody is in, or the warning that comes before one."""
    try:
        return _show(request, who, _open_to(who, services, desk))
    except AccordError as error:
        return _refuse(request, error)


@router.post(f"{PAGE}/begin")
def begin(request: Request, who: Person, services: Given, desk: Desk, posted: Posted) -> Response:
    """A new chat, once the warning was read."""
    try:
        found = _open_to(who, services, desk)
        if posted.get("warned") != "yes":
            raise DataError("read the warning first, and say that you did")
        found.begin(who.name, posted.get("wanted", ""))
    except AccordError as error:
        return _refuse(request, error)
    return RedirectResponse(PAGE, 303)


@router.post(f"{PAGE}/say")
def say(request: Request, who: Person, services: Given, desk: Desk, posted: Posted) -> Response:
    """One turn; the page that it leads to has the reply."""
    try:
        _open_to(who, services, desk).say(who.name, posted.get("text", ""))
    except AccordError as error:
        return _refuse(request, error)
    return RedirectResponse(PAGE, 303)


@router.post(f"{PAGE}/rate")
def rate(request: Request, who: Person, services: Given, desk: Desk, posted: Posted) -> Response:
    """Keep the chat as a task with its judgement; the same again changes nothing."""
    try:
        found = _open_to(who, services, desk)
        chat = found.of(who.name)
        if chat is None:
            raise NotFoundError("this chat is over; begin another one")
        if posted.get("shown") not in ("yes", "no"):
            raise DataError("choose whether the model did what you wanted")
        task = found.task_of(chat)
        services.queue.add([task])
        comment = posted.get("comment", "").replace("\r\n", "\n").strip()
        answer = {"success": posted["shown"] == "yes", **({"reason": comment} if comment else {})}
        version = services.projects.guidelines(found.project).version
        services.queue.submit(
            lease_of(uuid.uuid4().hex, task, who.name, 0.0),
            Submission(key=chat.id, answer=answer, guideline_version=version),
        )
        found.end(who.name, chat)
    except AccordError as error:
        return _refuse(request, error)
    return RedirectResponse(f"{PAGE}?saved=1", 303)


def _open_to(who: Identity, services: Services, desk: RedTeamDesk | None) -> RedTeamDesk:
    """The desk, for somebody who may and wants to be at it."""
    if desk is None:
        raise NotFoundError("no model is set up to be red-teamed: accord label --red_team PROJECT")
    services.membership.check(who.name, desk.project)
    if CATEGORY in services.accounts.get(who.name).opted_out:
        raise ConflictError(
            f"you opted out of what is marked {CATEGORY!r}, and nobody asks you to read it"
        )
    return desk


def _show(request: Request, who: Identity, desk: RedTeamDesk) -> HTMLResponse:
    return page(
        request,
        "red_team.html.jinja",
        project=desk.project,
        target=desk.target.name,
        chat=desk.of(who.name),
        most_turns=MOST_TURNS,
        was_saved=request.query_params.get("saved") == "1",
    )


_STATUS = {ConflictError: 409, NotFoundError: 404}


def _refuse(request: Request, error: AccordError) -> HTMLResponse:
    status = next((n for kind, n in _STATUS.items() if isinstance(error, kind)), 422)
    return page(request, "refused.html.jinja", status=status, reason=str(error))
