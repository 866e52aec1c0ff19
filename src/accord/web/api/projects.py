"""Projects: guidelines, tasks, progress, exports, webhooks."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from accord.store.exporting import (
    Exported,
    comparisons,
    demonstrations,
    first_vote_rows,
    rankings,
)
from accord.store.judgements import Standing
from accord.store.rows import tasks_of_rows
from accord.store.search import Found, State, search_tasks
from accord.store.webhooks import Webhook
from accord.web.api.bodies import (
    NewExport,
    NewGuidelines,
    NewProject,
    NewTasks,
    NewWebhook,
    ProjectChange,
    WebhookChange,
    may,
)
from accord.web.identity import ROLES, Identity
from accord.web.services import Given

router = APIRouter(prefix="/projects", tags=["projects"])

Anyone = Annotated[Identity, Depends(may("read", *ROLES))]
Reader = Annotated[Identity, Depends(may("read", "lead", "reviewer"))]
Lead = Annotated[Identity, Depends(may("manage", "lead"))]


@router.get("")
def list_projects(who: Anyone, services: Given) -> list[dict[str, Any]]:
    """All projects that one may see."""
    hidden = services.membership.hidden_from(who.name)
    return [dataclasses.asdict(p) for p in services.projects.all() if p.name not in hidden]


@router.post("", status_code=201)
def create_project(body: NewProject, _: Lead, services: Given) -> dict[str, Any]:
    """A new project with its first guidelines."""
    made = services.projects.create(
        body.name,
        title=body.title,
        attributes=body.attributes,
        settings=body.settings,
        text=body.guidelines,
        is_open=body.is_open,
    )
    return dataclasses.asdict(made)


@router.get("/{name}")
def get_project(name: str, who: Anyone, services: Given) -> dict[str, Any]:
    """One project."""
    services.membership.check(who.name, name)
    return dataclasses.asdict(services.projects.get(name))


@router.patch("/{name}")
def change_project(name: str, body: ProjectChange, _: Lead, services: Given) -> dict[str, Any]:
    """Change title, attributes, settings, or whether it is open to every annotator."""
    return dataclasses.asdict(services.projects.update(name, **body.model_dump()))


@router.get("/{name}/guidelines")
def get_guidelines(
    name: str,
    who: Anyone,
    services: Given,
    version: Annotated[int | None, Query(ge=1, le=10**6)] = None,
) -> dict[str, Any]:
    """The newest guidelines, or those of a version."""
    services.membership.check(who.name, name)
    return dataclasses.asdict(services.projects.guidelines(name, version))


@router.post("/{name}/guidelines", status_code=201)
def add_guidelines(name: str, body: NewGuidelines, _: Lead, services: Given) -> dict[str, Any]:
    """The next version; earlier ones stay."""
    added = services.projects.add_guidelines(name, body.text)
    if body.requalify:
        services.qualification.demand_again(name)
    return dataclasses.asdict(added)


@router.post("/{name}/tasks", status_code=201)
def add_tasks(name: str, body: NewTasks, _: Lead, services: Given) -> dict[str, int]:
    """Put tasks up; those that are there already stay as they are."""
    services.projects.get(name)
    new = tasks_of_rows(body.rows, project=name, kind=body.kind, overlap=body.overlap)
    added = services.queue.add(new)
    return {"added": added, "known": len(new) - added}


@router.get("/{name}/tasks")
def list_tasks(
    name: str,
    _: Reader,
    services: Given,
    text: str = "",
    kind: str | None = None,
    state: State | None = None,
    limit: int = 50,
    offset: int = 0,
) -> dict[str, Any]:
    """Tasks by text, kind and state (open, done, flagged), a page at a time."""
    services.projects.get(name)
    how: dict[str, Any] = {"text": text, "kind": kind, "limit": limit, "offset": offset}
    page = search_tasks(services.database, name, state=state, **how)
    return {"total": page.total, "tasks": [_listed(found) for found in page.tasks]}


@router.get("/{name}/progress")
def progress(name: str, who: Anyone, services: Given) -> dict[str, int]:
    """Counts of tasks, slots, and slots that are free, leased and done."""
    services.membership.check(who.name, name)
    return dict(services.queue.progress(name))


@router.get("/{name}/judgements")
def judgements(name: str, _: Reader, services: Given) -> StreamingResponse:
    """All judgements that stand, a JSON object a line; an erased one has the answer null."""
    services.projects.get(name)
    return _lines(_judged(standing) for standing in services.judgements.current(name))


@router.post("/{name}/exports")
def export(name: str, body: NewExport, _: Lead, services: Given) -> StreamingResponse:
    """What training reads, a row a line. The header Accord-Export has the hash of its content, by
    which the store knows the judgements that went in.
    """
    services.projects.get(name)
    if body.what == "first_votes":
        made = first_vote_rows(services.revisions.first_votes(name))
    else:
        made = _export(services.judgements.current(name), body)
    query = {"project": name, **body.model_dump()}
    digest = services.judgements.record_export(made.rows, made.judgement_ids, query)
    return _lines(made.rows, {"Accord-Export": digest})


@router.get("/{name}/webhooks")
def list_webhooks(name: str, _: Lead, services: Given) -> list[dict[str, Any]]:
    """A project's webhooks: what waits for each, and how the last tries went."""
    services.projects.get(name)
    return [_without_secret(hook) for hook in services.webhooks.of(name)]


@router.post("/{name}/webhooks", status_code=201)
def add_webhook(name: str, body: NewWebhook, _: Lead, services: Given) -> dict[str, Any]:
    """Tell an address of events; the secret is shown this once."""
    made = services.webhooks.add(name, body.url, body.events)
    return {**_without_secret(made), "secret": made.secret}


@router.patch("/{name}/webhooks/{webhook_id}")
def change_webhook(
    name: str, webhook_id: int, body: WebhookChange, _: Lead, services: Given
) -> dict[str, Any]:
    """Another address, or other events; off, or on again. The secret stays."""
    changed = services.webhooks.change(name, webhook_id, **body.model_dump())
    return _without_secret(changed)


@router.delete("/{name}/webhooks/{webhook_id}", status_code=204)
def remove_webhook(name: str, webhook_id: int, _: Lead, services: Given) -> None:
    """Tell it of nothing more."""
    services.webhooks.remove(name, webhook_id)


def _listed(found: Found) -> dict[str, Any]:
    return {**dataclasses.asdict(found.task), "done": found.done, "flags": found.flags}


def _judged(standing: Standing) -> dict[str, Any]:
    row = {field.name: getattr(standing, field.name) for field in dataclasses.fields(standing)}
    task = row.pop("task")
    return {**row, "task_id": task.id, **_about(dataclasses.asdict(task))}


def _about(task: dict[str, Any]) -> dict[str, Any]:
    """What a reader of a judgement wants to know of its task."""
    return {k: task[k] for k in ("project", "kind", "prompt", "responses", "policies", "columns")}


def _export(standing: list[Standing], body: NewExport) -> Exported:
    if body.what == "comparisons":
        return comparisons(standing, aggregation=body.aggregation, seed=body.seed)
    return rankings(standing) if body.what == "rankings" else demonstrations(standing)


def _lines(rows: Iterable[Any], headers: dict[str, str] | None = None) -> StreamingResponse:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return StreamingResponse(lines, headers=headers, media_type="application/x-ndjson")


def _without_secret(hook: Webhook) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(hook).items() if k != "secret"}
