"""What a reviewer sees and decides: a project's figures, its disputes, the last word on them."""

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from accord.store.figures import plain
from accord.web.api.bodies import Decision, may
from accord.web.identity import Identity
from accord.web.overview import project_overview
from accord.web.services import Given

router = APIRouter(tags=["review"])

Reader = Annotated[Identity, Depends(may("read", "lead", "reviewer"))]
Reviewer = Annotated[Identity, Depends(may("annotate", "lead", "reviewer"))]


@router.get("/projects/{name}/overview")
def overview(name: str, _: Reader, services: Given) -> dict[str, Any]:
    """Pace, agreement, gold questions, taste for a side, cost, flagged tasks and disputes; null of
    what nobody has done yet.
    """
    services.projects.get(name)
    found: dict[str, Any] = plain(
        project_overview(services, name, services.revisions.first_votes(name))
    )
    return found


@router.post("/decisions")
def decide(body: Decision, who: Reviewer, services: Given) -> dict[str, Any]:
    """The last word on a pair that annotators are split on, instead of their votes."""
    receipt = services.adjudication.decide(who.name, body.task_id, body.verdict, key=body.key)
    return dataclasses.asdict(receipt)
