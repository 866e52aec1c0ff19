"""The REST API under /api/v1: all that the pages do, for programs."""

from fastapi import APIRouter

from accord.web.api import assistance, members, membership, projects, qualification, review, work

router = APIRouter(prefix="/api/v1")
for part in (work, review, assistance, projects, members, membership, qualification):
    router.include_router(part.router)
