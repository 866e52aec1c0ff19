"""Routes for whoever runs the server; they need an admin's key."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from accord.serving.policies import Alias, Policies

router = APIRouter(prefix="/admin")


async def _policies(request: Request) -> Policies:
    found: Policies = request.app.state.services.policies
    return found


Given = Annotated[Policies, Depends(_policies)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Swap(_Body):
    """Another model's directory for a name that is served."""

    name: str
    model: str


class Rollback(_Body):
    """A name that was swapped."""

    name: str


class NewAlias(_Body):
    """Shares by arm, in any unit."""

    name: str = Field(min_length=1, max_length=200)
    arms: dict[str, float]
    shadow: str | None = None


@router.get("/policies")
async def shown(policies: Given) -> dict[str, Any]:
    """What is served, and to whom."""
    return policies.shown()


@router.post("/swap")
async def swap(asked: Swap, policies: Given) -> dict[str, Any]:
    """Serve another model under a name; nobody who has asked is dropped."""
    found = await policies.swap(asked.name, asked.model)
    return {"name": found.name, "version": found.version}


@router.post("/rollback")
async def rollback(asked: Rollback, policies: Given) -> dict[str, Any]:
    """Serve what was served before the last swap."""
    found = await policies.rollback(asked.name)
    return {"name": found.name, "version": found.version}


@router.post("/aliases")
async def alias(asked: NewAlias, policies: Given) -> dict[str, Any]:
    """Set shares (A/B, canary) and the shadow of a name."""
    policies.set_alias(asked.name, Alias.of(asked.arms, asked.shadow))
    return policies.shown()["aliases"][asked.name]  # type: ignore[no-any-return]
