"""Who may work in a project that is not open to everybody."""

from typing import Annotated

from fastapi import APIRouter, Depends

from accord.web.api.bodies import may
from accord.web.identity import Identity
from accord.web.services import Given

router = APIRouter(prefix="/projects", tags=["members"])

Reader = Annotated[Identity, Depends(may("read", "lead", "reviewer"))]
Lead = Annotated[Identity, Depends(may("manage", "lead"))]


@router.get("/{name}/members")
def list_members(name: str, _: Reader, services: Given) -> list[str]:
    """Who was let in, by name; it counts where the project's `is_open` is false."""
    return services.membership.members(name)


@router.put("/{name}/members/{annotator:path}", status_code=204)
def add_member(name: str, annotator: str, _: Lead, services: Given) -> None:
    """Let somebody in."""
    services.membership.add(name, annotator)


@router.delete("/{name}/members/{annotator:path}", status_code=204)
def remove_member(name: str, annotator: str, _: Lead, services: Given) -> None:
    """Take somebody off the list; what he has judged stays."""
    services.membership.remove(name, annotator)
