"""What recipients chose: by which channels and how often, for each reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Body as Sent
from fastapi import Response
from pydantic import BaseModel, Field, model_validator

from hark import preferences
from hark.access.audit import Act
from hark.access.keys import Scope
from hark.catalogue import Channel, Frequency
from hark.doors import profiles
from hark.doors.api.door import Visit, Visiting, guarded
from hark.doors.api.fields import Body, Name, fault
from hark.doors.api.problems import not_found, responses
from hark.doors.profiles import Choice
from hark.errors import UnknownReason

router = guarded(Scope.SUBSCRIBE, "who and what")
reading = guarded(Scope.READ, "who and what")

_ONE = "/v1/recipients/{recipient:segment}/preferences/{reason:segment}"
_NOT_FOUND = responses(HTTPStatus.NOT_FOUND)
_EXAMPLE = {"channels": ["email", "in_app"], "frequency": "daily"}


class Choosing(Body):
    """A choice. What is left out stays as it is."""

    channels: list[Channel] | None = Field(default=None, max_length=len(Channel), description="[]: by none of them.")
    frequency: Frequency | None = Field(default=None, description="How often.")

    @model_validator(mode="after")
    def _something(self) -> Choosing:
        if self.channels is None and self.frequency is None:
            raise fault("chooses nothing; give channels, a frequency, or both")
        if self.channels is not None and len(set(self.channels)) < len(self.channels):
            raise fault("names a channel twice")
        return self


class Choices(BaseModel):
    """How every reason stands for one recipient."""

    recipient: str
    choices: list[Choice]


@reading.get("/v1/recipients/{recipient:segment}/preferences")
async def choices(visit: Visiting, recipient: Name) -> Choices:
    """What a recipient chose for each reason, and what they are told by in the end, and why."""
    return Choices(recipient=recipient, choices=await profiles.choices(visit.database, recipient))


@reading.get(_ONE, responses=_NOT_FOUND)
async def choice(visit: Visiting, recipient: Name, reason: Name) -> Choice:
    """The same for one reason."""
    return await _choice(visit, recipient, reason)


@router.put(_ONE, responses=_NOT_FOUND)
async def choose(
    visit: Visiting,
    recipient: Name,
    reason: Name,
    wish: Annotated[Choosing, Sent(examples=[_EXAMPLE])],
) -> Choice:
    """Store a recipient's own choice for a reason."""
    async with visit.database.as_one() as one:
        try:
            await preferences.choose(
                one, recipient, reason, visit.now(), channels=wish.channels, frequency=wish.frequency
            )
        except UnknownReason as error:
            raise not_found(str(error)) from None
        detail = {"reason": reason, **wish.model_dump(exclude_none=True)}
        await visit.note(one, Act.PREFERENCE_SET, f"recipient:{recipient}", detail)
    return await _choice(visit, recipient, reason)


@router.delete(
    _ONE,
    status_code=HTTPStatus.NO_CONTENT,
    responses=_NOT_FOUND,
)
async def unchoose(visit: Visiting, recipient: Name, reason: Name) -> Response:
    """Forget a recipient's own choice for a reason: the catalogue's defaults hold again."""
    await _choice(visit, recipient, reason)
    async with visit.database.as_one() as one:
        await preferences.unchoose(one, recipient, reason, visit.now())
        await visit.note(one, Act.PREFERENCE_RESET, f"recipient:{recipient}", {"reason": reason})
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _choice(visit: Visit, recipient: str, reason: str) -> Choice:
    found = await profiles.choices(visit.database, recipient, reason=reason)
    if not found:
        raise not_found("the catalogue has no such reason; GET /v1/recipients/ID/preferences lists all")
    return found[0]
