"""What the in-app channel shows, and what of it was seen, read, put away."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body as Sent
from fastapi import Query
from pydantic import BaseModel, Field, model_validator

from hark import inbox
from hark.access.audit import Act
from hark.access.keys import Scope
from hark.doors.api.door import Visit, Visiting, guarded
from hark.doors.api.fields import AT_ONCE, LARGEST, Before, Body, GivenEvent, Limit, Name, fault
from hark.inbox import InboxItem
from hark.postgres.database import Database

router = guarded(Scope.SUBSCRIBE, "the inbox")
reading = guarded(Scope.READ, "the inbox")

_EXAMPLE = {"events": [1093]}


class Which(Body):
    """Which notifications to list."""

    unread: bool = Field(default=False, description="Only those not read yet.")
    archived: bool = Field(default=False, description="Those put away too.")
    reason: Name | None = Field(default=None, description="Only those of this reason.")
    before: Before = None
    limit: Limit = 50


class Some(Body):
    """Some notifications, by their events."""

    events: list[GivenEvent] = Field(min_length=1, max_length=AT_ONCE, description="Their events.")


class SomeOrAll(Body):
    """Some notifications, or all up to one that was on the screen."""

    events: list[GivenEvent] | None = Field(default=None, min_length=1, max_length=AT_ONCE, description="These events.")
    up_to: GivenEvent | None = Field(default=None, description="All up to this event; what came later stays unread.")

    @model_validator(mode="after")
    def _either(self) -> SomeOrAll:
        if (self.events is None) == (self.up_to is None):
            raise fault("needs either events or up_to")
        return self


class Inbox(BaseModel):
    """A page of an inbox, newest first."""

    unread: int = Field(description="How many are neither read nor put away, on all pages.")
    items: list[InboxItem]
    next: int | None = Field(default=None, description="`before` of the next page; null: this is the last.")


class Unread(BaseModel):
    """How many notifications are neither read nor put away."""

    unread: int


class Marked(Unread):
    """How many were marked, and how many are unread now."""

    changed: int


@reading.get("/v1/recipients/{recipient:segment}/inbox")
async def listed(visit: Visiting, recipient: Name, which: Annotated[Which, Query()]) -> Inbox:
    """List a recipient's notifications, newest first."""
    page = await inbox.listed(
        visit.database,
        recipient,
        before=which.before or LARGEST,
        limit=which.limit,
        unread=which.unread,
        archived=which.archived,
        reason=which.reason,
    )
    following = page[-1].event_id if len(page) == which.limit else None
    return Inbox(unread=await inbox.unread(visit.database, recipient), items=page, next=following)


@reading.get("/v1/recipients/{recipient:segment}/inbox/unread")
async def unread(visit: Visiting, recipient: Name) -> Unread:
    """The number on the bell: exact, and cheap however many there are."""
    return Unread(unread=await inbox.unread(visit.database, recipient))


@router.post("/v1/recipients/{recipient:segment}/inbox/seen")
async def seen(visit: Visiting, recipient: Name, some: Annotated[Some, Sent(examples=[_EXAMPLE])]) -> Marked:
    """They saw these in a list. Seen is not read: they are still mailed."""
    async with visit.database.as_one() as one:
        changed = await inbox.mark_seen(one, recipient, some.events, visit.now())
        return await _marked(visit, one, Act.INBOX_SEEN, recipient, changed)


@router.post("/v1/recipients/{recipient:segment}/inbox/read")
async def read(visit: Visiting, recipient: Name, some: Annotated[SomeOrAll, Sent(examples=[_EXAMPLE])]) -> Marked:
    """They read these: what still waits to be mailed of them is not mailed."""
    async with visit.database.as_one() as one:
        if some.events is not None:
            changed = await inbox.mark_read(one, recipient, some.events, visit.now())
        else:
            changed = await inbox.mark_all_read(one, recipient, visit.now(), up_to=some.up_to or 0)
        return await _marked(visit, one, Act.INBOX_READ, recipient, changed)


@router.post("/v1/recipients/{recipient:segment}/inbox/archive")
async def archive(visit: Visiting, recipient: Name, some: Annotated[Some, Sent(examples=[_EXAMPLE])]) -> Marked:
    """Put these away."""
    async with visit.database.as_one() as one:
        changed = await inbox.archive(one, recipient, some.events, visit.now())
        return await _marked(visit, one, Act.INBOX_ARCHIVE, recipient, changed)


async def _marked(visit: Visit, database: Database, what: Act, recipient: str, changed: int) -> Marked:
    await visit.note(database, what, f"recipient:{recipient}", {"changed": changed})
    return Marked(changed=changed, unread=await inbox.unread(database, recipient))
