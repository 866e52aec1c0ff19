"""The annotator's pages of a qualification round: a question, what was expected, the outcome."""

import uuid
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from accord.core.types import Row
from accord.store.answers import LIKERT
from accord.store.categories import warning_of
from accord.store.qualification import Asked
from accord.web.forms import Form
from accord.web.identity import Identity
from accord.web.pages.labelling import FLAG_REASONS, SKIP_REASONS, Person, Posted
from accord.web.services import Given, Services
from accord.web.templating import page

router = APIRouter()

_ASIDES = {"skip": "skip it", "flag": "flag it", "unsure": "unsure"}


@router.get("/qualify")
def qualify(
    request: Request, who: Person, services: Given, project: str, answered: str | None = None
) -> HTMLResponse:
    """The next question, or how the round ended; or, of a question that was answered, why."""
    services.membership.check(who.name, project)
    if answered is not None:
        return _tell(request, services, who, project, answered)
    attempt, asked = services.qualification.next(who.name, project)
    shown: dict[str, Any] = {"asked": asked, "told": None, "attempt": attempt}
    if asked is not None:
        shown |= {
            "form": _form(services, asked),
            "task": asked.question.task,
            "key": uuid.uuid4().hex,
            "warning": warning_of(asked.question.task, services.projects.get(project).settings),
            "filled": {},
            "ratings": range(LIKERT[0], LIKERT[1] + 1),
            "skip_reasons": SKIP_REASONS,
            "flag_reasons": FLAG_REASONS,
        }
    return _show(request, services, project, shown)


@router.post("/qualify/answers")
def answer(who: Person, services: Given, posted: Posted) -> RedirectResponse:
    """Keep an answer; the page that it leads to says what was expected."""
    project, question = posted.get("project", ""), posted.get("question", "")
    services.membership.check(who.name, project)
    asked = services.qualification.find(who.name, project, question)
    said = _form(services, asked).read(posted)
    services.qualification.answer(who.name, project, question, said)
    address = f"/qualify?project={quote(project, safe='')}&answered={quote(question, safe='')}"
    return RedirectResponse(address, 303)


def _tell(
    request: Request, services: Services, who: Identity, project: str, question: str
) -> HTMLResponse:
    told = services.qualification.feedback(who.name, project, question)
    form = _form(services, told.asked)
    shown = {
        "told": told,
        "asked": told.asked,
        "task": told.asked.question.task,
        "form": form,
        "said": "erased" if told.said is None else _words(form, told.said),
        "expected": _words(form, told.asked.question.expected),
        "attempt": services.qualification.next(who.name, project)[0],
    }
    return _show(request, services, project, shown)


def _show(
    request: Request, services: Services, project: str, shown: dict[str, Any]
) -> HTMLResponse:
    guidelines = services.projects.guidelines(project)
    return page(
        request,
        "qualify.html.jinja",
        project=project,
        rule=services.qualification.get(project),
        guideline_version=guidelines.version,
        guidelines=guidelines.text,
        **shown,
    )


def _form(services: Services, asked: Asked) -> Form:
    task = asked.question.task
    return Form(task, asked.order, services.projects.get(task.project).attributes)


def _words(form: Form, said: Row) -> str:
    """An answer, or what was done instead, in a few words."""
    action = said.get("action", "judge")
    if action != "judge":
        return _ASIDES[action]
    return form.gist({name: value for name, value in said.items() if name != "action"})
