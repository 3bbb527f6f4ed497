"""For whoever watches the process: does it live, can it serve?"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel

from hark.doors import reports
from hark.doors.api.door import Here
from hark.doors.api.problems import responses, unavailable
from hark.postgres.migrate import migrations

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/healthz")
async def alive() -> Health:
    """The process lives."""
    return Health()


@router.get("/readyz", responses=responses(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(door: Here) -> Health:
    """The database answers, and its tables are those of this Hark."""
    missing = {each.name for each in migrations()} - await reports.applied_migrations(door.database)
    if missing:
        raise unavailable(f"the tables are not up to date (missing: {', '.join(sorted(missing))}); run hark migrate")
    return Health()
