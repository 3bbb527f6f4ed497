"""Who: recipients."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body as Sent
from pydantic import BaseModel, Field

from hark.access.audit import Act
from hark.access.keys import Scope
from hark.audience import Recipient, put_recipients
from hark.doors import profiles
from hark.doors.api.door import Visiting, guarded
from hark.doors.api.fields import AT_ONCE, Address, Body, Document, Flag, LocalTime, Name, Weekday, Word
from hark.doors.api.problems import not_found
from hark.doors.profiles import Profile

router = guarded(Scope.SUBSCRIBE, "who and what")
reading = guarded(Scope.READ, "who and what")

_EXAMPLE = {
    "recipients": [
        {
            "id": "bob",
            "user_type": "Students",
            "address": "bob@school.example",
            "confirmed": True,
            "zone": "Europe/Berlin",
            "attributes": {"team": "Blue"},
            "digest_at": "07:30",
            "digest_weekday": "friday",
        }
    ]
}


class Person(Body):
    """A recipient; what is left out gets its default, also where it was something else before."""

    id: Word = Field(description="What the product calls them.")
    user_type: Word = Field(description="As the catalogue names it.")
    address: Address | None = Field(default=None, description="Where e-mail goes.")
    confirmed: Flag = Field(default=False, description="The address is theirs.")
    opted_in: Flag = Field(default=True, description="They agreed to be written to.")
    active: Flag = Field(default=True, description="They may be told at all.")
    zone: Word = Field(default="UTC", description="Their time zone, an IANA name.")
    locale: Word = Field(default="en", description="Their language, as de-AT.")
    attributes: Document = Field(default={}, description="What templates may want to know of them.")
    digest_at: LocalTime | None = Field(
        default=None, description="When their daily and weekly messages come, as 07:30; null: as the catalogue says."
    )
    digest_weekday: Weekday | None = Field(
        default=None, description="On which day their weekly ones come, as friday; null: as the catalogue says."
    )


class People(Body):
    """Recipients to write."""

    recipients: list[Person] = Field(min_length=1, max_length=AT_ONCE, description="One or more of them.")


class Written(BaseModel):
    """How many recipients were written."""

    written: int


@router.put("/v1/recipients")
async def put(visit: Visiting, people: Annotated[People, Sent(examples=[_EXAMPLE])]) -> Written:
    """Create or replace recipients: up to 1,000, all or none. Of two with the same id the later one holds."""
    given = [Recipient(**dict(person)) for person in people.recipients]
    async with visit.database.as_one() as one:
        written = await put_recipients(one, given, visit.now())
        target = f"recipient:{given[0].id}" if len(given) == 1 else f"{len(given)} recipients"
        await visit.note(one, Act.RECIPIENTS_PUT, target, {"written": written})
    return Written(written=written)


@reading.get("/v1/recipients/{recipient:segment}")
async def known(visit: Visiting, recipient: Name) -> Profile:
    """One recipient, with what stands in the way of e-mail (`reach`)."""
    found = await profiles.profile(visit.database, recipient)
    if found is None:
        raise not_found("no recipient has this id; PUT /v1/recipients makes one")
    return found
