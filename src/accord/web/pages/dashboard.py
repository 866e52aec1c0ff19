"""The lead's page: how a project goes, and whose work and which tasks want a look."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from accord.core.errors import DataError
from accord.store.assistance_report import assistance_report
from accord.store.judgements import Standing
from accord.web.identity import Identity, only
from accord.web.pages import plots
from accord.web.pages.admitting import admission
from accord.web.pages.managing import KINDS
from accord.web.pages.overview import Overview, overview
from accord.web.pages.templating import page
from accord.web.services import Given, Services

router = APIRouter()

Lead = Annotated[Identity, Depends(only("lead", "reviewer"))]
Plot = Literal["throughput", "gold", "left"]


@router.get("/lead")
def projects(request: Request, _: Lead, services: Given) -> HTMLResponse:
    """Every project, and how far it has come."""
    rows = [(p.name, services.queue.progress(p.name)) for p in services.projects.all()]
    return page(request, "lead.html.jinja", projects=rows)


@router.get("/lead/project")
def project(request: Request, _: Lead, services: Given, name: str) -> HTMLResponse:
    """One project's figures."""
    try:
        standing = services.judgements.current(name)
        votes = services.revisions.first_votes(name)
        revised = [vote.first for vote in votes if vote.after is not None]
        found = _overview(services, name, standing, revised)
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
        webhooks=services.webhooks.of(name),
        kinds=KINDS,
        assistance=assistance,
        assisted=assistance_report(standing, votes),
        keys=[uuid.uuid4().hex for _ in found.disputes],
        **admission(services, name),
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
        people = _overview(services, name, services.judgements.current(name)).people
        if of == "gold":
            rows = [(person.name, person.gold) for person in people]
            drawn = plots.shares(rows, label="right answers to gold questions", expected=None)
        else:
            rows = [(person.name, person.left) for person in people]
            drawn = plots.shares(rows, label="left response chosen", expected=0.5)
    return Response(drawn, media_type="image/svg+xml")


def _overview(
    services: Services, name: str, standing: Sequence[Standing], revised: Sequence[Standing] = ()
) -> Overview:
    rate = services.projects.get(name).settings.get("hourly_rate")
    return overview(
        standing,
        revised=revised,
        hourly_rate=float(rate) if isinstance(rate, int | float) else None,
        qualified=services.qualification.accuracies(name),
    )
