"""An annotator's work: lease, submit, release, undo."""

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from accord.core.errors import ConflictError
from accord.core.types import Lease, Submission
from accord.store.categories import warning_of
from accord.store.judgements import Standing
from accord.web.api.assistance import critique_after, without_records
from accord.web.api.bodies import LeaseName, NewJudgement, Undo, may
from accord.web.identity import ROLES, Identity
from accord.web.services import Given, Services

router = APIRouter(tags=["work"])

Worker = Annotated[Identity, Depends(may("annotate", *ROLES))]


@router.post("/projects/{name}/lease")
def lease(
    name: str, who: Worker, services: Given, beside: str | None = None
) -> dict[str, Any] | None:
    """The task that one holds already, or the next one; null when nothing is left. 409 where one
    has yet to qualify. `beside` is a task that one is at: another is then held, too, but no third
    one.
    """
    services.membership.check(who.name, name)
    version = services.projects.guidelines(name).version
    found = services.queue.lease(who.name, project=name, beside=beside)
    if found is None and services.qualification.is_barred(who.name, name):
        raise ConflictError(f"project {name!r}: answer its qualification questions first")
    return None if found is None else _shown(services, found, version)


@router.post("/release", status_code=204)
def release(body: LeaseName, who: Worker, services: Given) -> None:
    """Give a task back undone."""
    services.queue.release(services.leases.find(body.lease, body.task_id, who.name))


@router.post("/judgements")
def submit(body: NewJudgement, who: Worker, services: Given) -> dict[str, Any]:
    """Keep what was said. The same again gets the same receipt; another body under the key, 409.
    Where the project shows critiques after the first vote, `critique` is the one to be read before
    the judgement is revised or confirmed.
    """
    found = services.leases.find(body.lease, body.task_id, who.name)
    submission = Submission(
        key=body.key,
        answer=body.answer,
        action=body.action,
        time_on_task_s=body.time_on_task_s,
        guideline_version=body.guideline_version,
    )
    submission = services.assistance.recorded(found, submission, saw=body.saw_suggestion)
    receipt = services.queue.submit(found, submission)
    return {**dataclasses.asdict(receipt), "critique": critique_after(found.task, submission)}


@router.post("/judgements/{judgement_id}/undo")
def undo(judgement_id: str, body: Undo, who: Worker, services: Given) -> dict[str, Any]:
    """Take a judgement of one's own back; its task is held again."""
    found = services.queue.undo(who.name, judgement_id, key=body.key)
    return _shown(services, found, services.projects.guidelines(found.task.project).version)


@router.get("/judgements/mine")
def mine(who: Annotated[Identity, Depends(may("read", *ROLES))], services: Given) -> list[Any]:
    """One's own last ten judgements that stand, the newest first: what can be undone."""
    hidden = services.membership.hidden_from(who.name)
    found = services.judgements.of(who.name)
    return [_said(standing) for standing in found if standing.task.project not in hidden]


def _shown(services: Services, found: Lease, version: int) -> dict[str, Any]:
    """A lease without what would tell of the responses' writers, or of the answer."""
    task, suggestion = found.task, services.assistance.suggestion(found.task)
    settings = services.projects.get(task.project).settings
    return {
        "lease": services.leases.name(found),
        "until": found.until,
        "order": list(found.order),
        "seed": found.seed,
        "guideline_version": version,
        "task": {
            "id": task.id,
            "project": task.project,
            "kind": task.kind,
            "prompt": list(task.prompt),
            "responses": list(task.responses),
        },
        "warning": warning_of(task, settings),
        "suggestion": None if suggestion is None else dict(suggestion.answer),
    }


def _said(standing: Standing) -> dict[str, Any]:
    return {
        "id": standing.id,
        "task_id": standing.task.id,
        "project": standing.task.project,
        "kind": standing.task.kind,
        "action": standing.action,
        "answer": None if standing.answer is None else without_records(standing.answer),
        "created_at": standing.created_at,
    }
