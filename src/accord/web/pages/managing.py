"""The lead's forms: projects, tasks from a file, guidelines, and people."""

import json
from typing import Annotated, Any, get_args
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse

from accord.core.errors import DataError
from accord.core.types import Role, TaskKind
from accord.store.categories import UNWARNED, categories
from accord.store.rows import tasks_of_rows
from accord.web.identity import ROLES, Identity, only
from accord.web.services import Given, Services
from accord.web.templating import page

router = APIRouter()

Lead = Annotated[Identity, Depends(only("lead"))]
Text = Annotated[str, Form()]
KINDS: tuple[TaskKind, ...] = get_args(TaskKind)


@router.post("/lead/projects")
def create_project(_: Lead, services: Given, name: Text, title: Text = "") -> RedirectResponse:
    """A new project with the guidelines that ship."""
    made = services.projects.create(name.strip(), title=title.strip())
    return to_project(made.name)


@router.post("/lead/project/tasks")
def add_tasks(
    _: Lead,
    services: Given,
    name: Text,
    kind: Annotated[TaskKind, Form()],
    overlap: Annotated[int, Form()],
    rows: UploadFile,
) -> RedirectResponse:
    """Put the rows of a JSONL file up; all of them, or none where one is wrong."""
    services.projects.get(name)
    where = rows.filename or "the file"
    found = json_lines(rows.file.read(), where)
    tasks = tasks_of_rows(found, project=name, kind=kind, overlap=overlap, where=where)
    services.queue.add(tasks)
    return to_project(name)


@router.post("/lead/project/settings")
def change_settings(
    _: Lead,
    services: Given,
    name: Text,
    title: Text,
    attributes: Text,
    hourly_rate: Annotated[float | None, Form(ge=0)] = None,
    warned: Annotated[list[str] | None, Form()] = None,
) -> RedirectResponse:
    """Title, what is rated, what an hour costs, and which categories annotators are warned of."""
    settings = dict(services.projects.get(name).settings)
    marked = categories(services.database).get(name, {})
    settings |= {"hourly_rate": hourly_rate, UNWARNED: sorted(marked.keys() - (warned or []))}
    named = [attribute.strip() for attribute in attributes.split(",") if attribute.strip()]
    services.projects.update(name, title=title.strip(), attributes=named, settings=settings)
    return to_project(name)


@router.post("/lead/project/guidelines")
def add_guidelines(
    _: Lead,
    services: Given,
    name: Text,
    text: Text,
    requalify: Annotated[bool, Form()] = False,
) -> RedirectResponse:
    """The next version, beside every task from now on."""
    services.projects.add_guidelines(name, text.replace("\r\n", "\n"))
    if requalify:
        services.qualification.demand_again(name)
    return to_project(name)


@router.get("/lead/people")
def people(request: Request, _: Lead, services: Given) -> HTMLResponse:
    """Everybody with an account."""
    return _people(request, services)


@router.post("/lead/people")
def invite(
    request: Request, _: Lead, services: Given, name: Text, role: Annotated[Role, Form()]
) -> HTMLResponse:
    """A new account, and the link by which its owner sets a password."""
    made = services.accounts.create(name.strip(), role)
    return _people(request, services, link=services.link(request, made.name), name=made.name)


@router.post("/lead/people/link")
def renew(request: Request, _: Lead, services: Given, name: Text) -> HTMLResponse:
    """Another link, for somebody who lost the first one, or the password."""
    return _people(request, services, link=services.link(request, name), name=name)


@router.post("/lead/people/switch")
def switch(
    _: Lead, services: Given, name: Text, is_active: Annotated[bool, Form()]
) -> RedirectResponse:
    """Switch an account off (signed out at once) or on."""
    services.accounts.change(name, is_active=is_active)
    return RedirectResponse("/lead/people", 303)


def _people(
    request: Request, services: Services, *, link: str | None = None, name: str = ""
) -> HTMLResponse:
    everybody = services.accounts.all()
    return page(
        request, "people.html.jinja", people=everybody, roles=ROLES, link=link, name=name
    )  # fmt: skip


def json_lines(content: bytes, where: str) -> list[dict[str, Any]]:
    """JSON objects, one a line."""
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DataError(f"{where}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}, line {number}: expected an object, got {line[:40]!r}")
        found.append(row)
    if not found:
        raise DataError(f"{where}: holds no rows; expected a JSON object a line")
    return found


def to_project(name: str) -> RedirectResponse:
    """Back to a project's page."""
    return RedirectResponse(f"/lead/project?name={quote(name, safe='')}", 303)
