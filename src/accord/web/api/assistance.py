"""Models' opinions: critiques that are given and read, votes after them, and what both do."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from accord.core.types import Submission, Task
from accord.store.answers import critique_of
from accord.store.assistance_report import assistance_report
from accord.store.hints import RECORDS, Critique
from accord.store.revising import Pending
from accord.web.api.bodies import NewCritique, Revision, may
from accord.web.identity import ROLES, Identity
from accord.web.services import Given

router = APIRouter(tags=["assistance"])

Worker = Annotated[Identity, Depends(may("annotate", *ROLES))]
Anyone = Annotated[Identity, Depends(may("read", *ROLES))]
Reader = Annotated[Identity, Depends(may("read", "lead", "reviewer"))]
Critic = Annotated[Identity, Depends(may("annotate", "lead", "machine"))]
CriticsReader = Annotated[Identity, Depends(may("read", "lead", "machine"))]


@router.get("/projects/{name}/uncritiqued")
def uncritiqued(
    name: str, who: CriticsReader, services: Given, limit: int = 50
) -> list[dict[str, Any]]:
    """Tasks that have no critique yet, with what annotators see of them and no more."""
    services.membership.check(who.name, name)
    return [_asked(task) for task in services.critiques.wanted(name, limit=limit)]


@router.post("/projects/{name}/critiques", status_code=201)
def give_critique(name: str, body: NewCritique, who: Critic, services: Given) -> dict[str, bool]:
    """Put a critique to a task, under one's own name; a task has one, and keeps it."""
    services.membership.check(who.name, name)
    critique = Critique(who.name, body.text, body.answer)
    return {"is_new": services.critiques.give(name, body.task_id, critique)}


@router.get("/projects/{name}/unrevised")
def unrevised(name: str, who: Anyone, services: Given) -> list[dict[str, Any]]:
    """One's own first votes that wait to be confirmed or revised, with the critique to read."""
    services.membership.check(who.name, name)
    return [_waiting(pending) for pending in services.revisions.pending(who.name, name)]


@router.post("/judgements/{judgement_id}/revise")
def revise(judgement_id: str, body: Revision, who: Worker, services: Given) -> dict[str, Any]:
    """Keep the vote after the critique, the same or another: it takes the first one's place. The
    same request again gets the same receipt.
    """
    receipt = services.revisions.revise(who.name, judgement_id, Submission(**body.model_dump()))
    return dataclasses.asdict(receipt)


@router.get("/projects/{name}/assistance")
def assistance(name: str, _: Reader, services: Given) -> dict[str, Any]:
    """What suggestions and critiques do to the votes; null of what was never shown."""
    services.projects.get(name)
    votes = services.revisions.first_votes(name)
    return assistance_report(services.judgements.current(name), votes).as_json()


def critique_after(task: Task, submission: Submission) -> dict[str, Any] | None:
    """What is shown after a first vote; None after any other."""
    critique = critique_of(task)
    is_first = (submission.answer.get("oversight") or {}).get("phase") == "first"
    return _shown(critique) if critique is not None and is_first else None


def without_records(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as its annotator gave it: which model was beside it is not for him to know."""
    return {name: value for name, value in answer.items() if name not in RECORDS}


def _waiting(pending: Pending) -> dict[str, Any]:
    first = pending.first
    assert first.answer is not None
    return {
        "judgement_id": first.id,
        "answer": without_records(first.answer),
        "order": list(first.order),
        "task": _asked(first.task),
        "critique": _shown(pending.critique),
    }


def _shown(critique: Critique) -> dict[str, Any]:
    answer = None if critique.answer is None else dict(critique.answer)
    return {"text": critique.text, "answer": answer}


def _asked(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "kind": task.kind,
        "prompt": list(task.prompt),
        "responses": list(task.responses),
    }
