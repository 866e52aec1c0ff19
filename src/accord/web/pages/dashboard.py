"""The lead's page: how a project goes, and whose work and which tasks want a look."""

import uuid
from typing import Annotated, Literal, get_args
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from accord.core.errors import DataError
from accord.core.types import TaskKind
from accord.store.assistance_report import assistance_report
from accord.store.categories import categories
from accord.store.search import State, search_tasks
from accord.store.webhooks import EVENTS
from accord.web.identity import Identity, only
from accord.web.overview import project_overview
from accord.web.pages import plots
from accord.web.pages.admitting import admission
from accord.web.pages.managing import KINDS
from accord.web.services import Given
from accord.web.templating import page

router = APIRouter()

Lead = Annotated[Identity, Depends(only("lead", "reviewer"))]
Plot = Literal["throughput", "gold", "left"]
_TASKS = 20
"""On one page."""


@router.get("/lead")
def projects(request: Request, _: Lead, services: Given) -> HTMLResponse:
    """Every project, and how far it has come."""
    rows = [(p, services.queue.progress(p.name)) for p in services.projects.all()]
    return page(request, "lead.html.jinja", projects=rows)


@router.get("/lead/project")
def project(request: Request, _: Lead, services: Given, name: str) -> HTMLResponse:
    """One project's figures."""
    try:
        votes = services.revisions.first_votes(name)
        found = project_overview(services, name, votes)
        assistance = services.assistance.settings(name)
    except DataError as error:
        return page(request, "refused.html.jinja", status=404, reason=str(error))
    progress = services.queue.progress(name)
    return page(
        request,
        "project.html.jinja",
        project=name,
        found=found,
        progress=progress,
        guidelines=services.projects.guidelines(name),
        about=services.projects.get(name),
        categories=categories(services.database).get(name, {}),
        webhooks=services.webhooks.of(name),
        events=EVENTS,
        kinds=KINDS,
        assistance=assistance,
        assisted=assistance_report(services.judgements.current(name), votes),
        keys=[uuid.uuid4().hex for _ in found.disputes],
        **admission(services, name),
    )


@router.get("/lead/tasks")
def tasks(
    request: Request,
    _: Lead,
    services: Given,
    name: str,
    text: str = "",
    kind: TaskKind | Literal[""] = "",
    state: State | Literal[""] = "",
    start: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """A project's tasks by text, kind and state, a page at a time."""
    services.projects.get(name)
    found = search_tasks(
        services.database,
        name,
        text=text,
        kind=kind or None,
        state=state or None,
        limit=_TASKS,
        offset=start,
    )
    chosen = {"name": name, "text": text, "kind": kind, "state": state}
    starts = {"Earlier": start - _TASKS, "Later": start + _TASKS}
    ways = {
        word: urlencode({**chosen, "start": at})
        for word, at in starts.items()
        if 0 <= at < found.total
    }
    return page(
        request,
        "tasks.html.jinja",
        found=found,
        start=start,
        chosen=chosen,
        kinds=KINDS,
        states=get_args(State),
        ways=ways,
    )


@router.post("/lead/decide")
def decide(
    who: Lead,
    services: Given,
    name: Annotated[str, Form()],
    task: Annotated[str, Form()],
    verdict: Annotated[str, Form()],
    key: Annotated[str, Form()],
) -> RedirectResponse:
    """The last word on a pair that annotators are split on."""
    services.adjudication.decide(who.name, task, verdict, key=key)
    return RedirectResponse(f"/lead/project?name={quote(name, safe='')}#disputes-heading", 303)


@router.get("/lead/plot")
def plot(_: Lead, services: Given, name: str, of: Plot) -> Response:
    """One of the page's plots."""
    if of == "throughput":
        drawn = plots.throughput(services.judgements.current(name))
    else:
        people = project_overview(services, name, ()).people
        if of == "gold":
            rows = [(person.name, person.gold) for person in people]
            drawn = plots.shares(rows, label="right answers to gold questions", expected=None)
        else:
            rows = [(person.name, person.left) for person in people]
            drawn = plots.shares(rows, label="left response chosen", expected=0.5)
    return Response(drawn, media_type="image/svg+xml")
