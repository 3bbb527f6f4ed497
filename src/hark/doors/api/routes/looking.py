"""To look at: deliveries, why someone was told or not, who changed what."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query
from pydantic import Field

from hark.access import audit
from hark.access.audit import Act, Entry
from hark.access.keys import Scope
from hark.delivery.states import Result, State
from hark.doors import reports
from hark.doors.api.door import Visiting, guarded
from hark.doors.api.fields import LARGEST, Before, Body, Limit, Moment, Name, Number
from hark.doors.api.pages import Page
from hark.doors.api.problems import not_found, responses
from hark.doors.explain import Explanation
from hark.doors.explain import explain as answer
from hark.doors.reports import DeliveryFilter, DeliveryLine
from hark.errors import BadInput

router = guarded(Scope.READ, "to look at")
auditing = guarded(Scope.AUDIT, "to look at")


class WhichDeliveries(Body):
    """Which deliveries to list."""

    recipient: Name | None = Field(default=None, description="Only those to this user.")
    state: State | None = Field(default=None, description="Only those in this state.")
    outcome: Result | None = Field(default=None, description="Only those with this outcome.")
    since: Moment | None = Field(default=None, description="Only those created since.")
    before: Before = None
    limit: Limit = 50


class WhichChanges(Body):
    """Which changes to list."""

    who: Name | None = Field(default=None, description="Only those of this key.")
    what: Act | None = Field(default=None, description="Only this kind of change.")
    before: Before = None
    limit: Limit = 50


@router.get("/v1/deliveries")
async def deliveries(visit: Visiting, which: Annotated[WhichDeliveries, Query()]) -> Page[DeliveryLine]:
    """List messages, newest first: to whom, in which state, and why."""
    filters = DeliveryFilter(which.recipient, which.state, which.outcome, which.since)
    page = await reports.deliveries(visit.database, filters, before=which.before or LARGEST, limit=which.limit)
    return Page(items=page, next=page[-1].id if len(page) == which.limit else None)


@router.get("/v1/explain/{user:segment}/{event:segment}", responses=responses(HTTPStatus.NOT_FOUND))
async def explain(visit: Visiting, user: Name, event: Number) -> Explanation:
    """Why was a user told of an event, or not, or not yet?"""
    try:
        return await answer(visit.database, user, event, visit.now())
    except BadInput as error:
        raise not_found(str(error)) from None


@auditing.get("/v1/audit")
async def changes(visit: Visiting, which: Annotated[WhichChanges, Query()]) -> Page[Entry]:
    """List who changed what, newest first."""
    page = await audit.listed(
        visit.database, who=which.who, what=which.what, before=which.before or LARGEST, limit=which.limit
    )
    return Page(items=page, next=page[-1].id if len(page) == which.limit else None)
