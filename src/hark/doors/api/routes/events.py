"""What happened: publish."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Body as Sent
from pydantic import BaseModel, Field, model_validator

from hark.access.audit import Act
from hark.access.keys import Scope
from hark.doors.api.door import Visiting, guarded
from hark.doors.api.fields import Body, Document, Moment, Name, Text, fault
from hark.doors.api.problems import responses
from hark.events import apublish

router = guarded(Scope.PUBLISH, "what happened")

_EXAMPLE = {
    "reason": "app_shared",
    "to": ["bob"],
    "actor": "alice",
    "about": "app:42",
    "payload": {"app": "GitHub"},
    "key": "share:981",
}


class Event(Body):
    """Something that happened."""

    reason: Name = Field(description="What kind of thing, as the catalogue names it.")
    to: list[Name] = Field(default=[], max_length=10_000, description="Recipients to tell, by their ids.")
    entities: list[Name] = Field(default=[], max_length=1000, description="What it happened to: subscribers are told.")
    actor: Name | None = Field(default=None, description="Who did it.")
    about: Text | None = Field(default=None, description="What it is about, for templates and the inbox.")
    payload: Document = Field(default={}, description="What templates may want to know; at most 256 KiB.")
    key: Name | None = Field(default=None, description="Names this event for good: sent again, it is no new one.")
    occurred_at: Moment | None = Field(default=None, description="When it happened; left out: now.")

    @model_validator(mode="after")
    def _somebody(self) -> Event:
        if not self.to and not self.entities:
            raise fault("names nobody in to or entities, so nobody would hear of it")
        return self


class Published(BaseModel):
    """An event that is kept; it is told as soon as a worker comes to it."""

    event: int


@router.post("/v1/events", status_code=HTTPStatus.CREATED, responses=responses(HTTPStatus.CONFLICT))
async def publish(visit: Visiting, event: Annotated[Event, Sent(examples=[_EXAMPLE])]) -> Published:
    """Publish an event. With a `key` it can be sent again: the same content gives the same id, other content 409."""
    async with visit.database.as_one() as one, one.connection() as connection:
        number = await apublish(
            connection,
            event.reason,
            to=event.to,
            entities=event.entities,
            actor=event.actor,
            about=event.about,
            payload=event.payload,
            key=event.key,
            occurred_at=event.occurred_at,
        )
        await visit.note(one, Act.PUBLISH, f"event:{number}", {"reason": event.reason})
    return Published(event=number)
