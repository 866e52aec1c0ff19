"""The lead's forms for who may work in a project: its members, and its qualification round."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, UploadFile
from fastapi.responses import RedirectResponse

from accord.core.types import TaskKind
from accord.store.membership import TRUSTED
from accord.store.questions import GRADED
from accord.web.pages.managing import Lead, Text, json_lines, to_project
from accord.web.services import Given, Services

router = APIRouter()

Ticked = Annotated[bool, Form()]


def admission(services: Services, name: str) -> dict[str, Any]:
    """What a project's page shows of it."""
    members = services.membership.members(name)
    could_be = [a.name for a in services.accounts.all() if a.is_active and a.role not in TRUSTED]
    return {
        "is_open": services.projects.get(name).is_open,
        "members": members,
        "others": [name for name in could_be if name not in members],
        "rule": services.qualification.get(name),
        "questions": services.qualification.questions(name),
        "attempts": services.qualification.people(name),
        "graded": GRADED,
    }


@router.post("/lead/project/access")
def open_or_close(
    _: Lead, services: Given, name: Text, is_open: Annotated[bool, Form()]
) -> RedirectResponse:
    """Open a project to every annotator, or to its members only."""
    services.projects.update(name, is_open=is_open)
    return to_project(name)


@router.post("/lead/project/members")
def change_members(
    _: Lead,
    services: Given,
    name: Text,
    annotator: Text,
    change: Annotated[Literal["add", "remove"], Form()],
) -> RedirectResponse:
    """Let somebody in, or take him off the list."""
    if change == "add":
        services.membership.add(name, annotator.strip())
    else:
        services.membership.remove(name, annotator)
    return to_project(name)


@router.post("/lead/project/qualification")
def change_qualification(
    _: Lead,
    services: Given,
    name: Text,
    pass_percent: Annotated[float, Form(gt=0, le=100)],
    is_required: Ticked = False,
) -> RedirectResponse:
    """Switch the round on or off, and set how much of it has to be right."""
    share = pass_percent / 100
    services.qualification.change(name, is_required=is_required, pass_share=share)
    return to_project(name)


@router.post("/lead/project/questions")
def ask(
    _: Lead, services: Given, name: Text, kind: Annotated[TaskKind, Form()], rows: UploadFile
) -> RedirectResponse:
    """Ask the rows of a JSONL file in place of what was asked."""
    services.projects.get(name)
    where = rows.filename or "the file"
    found = json_lines(rows.file.read(), where)
    services.qualification.ask(name, found, kind=kind, where=where)
    return to_project(name)


@router.post("/lead/project/questions/shipped")
def ask_shipped(_: Lead, services: Given, name: Text) -> RedirectResponse:
    """Ask the set that ships in place of what was asked."""
    services.qualification.ask(name, None)
    return to_project(name)


@router.post("/lead/project/attempts")
def decide(
    who: Lead,
    services: Given,
    name: Text,
    annotator: Text,
    decision: Annotated[Literal["pass", "again"], Form()],
) -> RedirectResponse:
    """Let somebody pass by hand; or let somebody who failed try again."""
    if decision == "pass":
        services.qualification.let_pass(name, annotator, by=who.name)
    else:
        services.qualification.let_try_again(name, annotator)
    return to_project(name)
