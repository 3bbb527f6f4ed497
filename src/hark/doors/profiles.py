"""What is known of one recipient, whichever door asks: who they are, what they chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from hark.catalogue import Channel
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_BITS = {1: Channel.EMAIL, 2: Channel.IN_APP, 4: Channel.PUSH}


@dataclass(frozen=True, slots=True)
class Profile:
    """A recipient as stored. `reach` is the first thing that stands in the way of e-mail, or `ok`.

    `digest_at` and `digest_weekday` are as they are written: `07:30`, `friday`.
    """

    id: str
    user_type: str
    address: str | None
    confirmed: bool
    opted_in: bool
    active: bool
    zone: str
    locale: str
    attributes: Mapping[str, object]
    digest_at: str | None
    digest_weekday: str | None
    suppressed: str | None
    reach: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Chosen:
    """A recipient's own choice; None: that half follows the catalogue. `malformed`: what is stored cannot be read."""

    channels: list[Channel] | None
    frequency: str | None
    malformed: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """One reason as it stands for one recipient: what they chose, and what they are told by in the end, and why."""

    reason: str
    title: str
    chosen: Chosen
    told_by: list[Channel]
    frequency: str
    why: str


@dataclass(frozen=True, slots=True)
class _Row:
    reason: str
    title: str
    chosen_channels: int | None
    chosen_frequency: str | None
    email: bool
    in_app: bool
    frequency: str
    why: str


async def profile(database: Database, recipient: str) -> Profile | None:
    """A recipient; None: there is none of this id."""
    found = await database.fetch(_SQL["recipient"], Profile, {"recipient": recipient})
    return found[0] if found else None


async def choices(database: Database, recipient: str, *, reason: str | None = None) -> list[Choice]:
    """How every reason (or one) stands for a recipient, in the catalogue's order; of a reason nobody knows: nothing."""
    rows = await database.fetch(_SQL["choices"], _Row, {"recipient": recipient, "reason": reason})
    return [_choice(row) for row in rows]


def _choice(row: _Row) -> Choice:
    malformed = row.chosen_channels == -2 or row.chosen_frequency == "malformed"
    channels = None if row.chosen_channels in (None, -2) else list(_channels(row.chosen_channels or 0))
    frequency = None if row.chosen_frequency == "malformed" else row.chosen_frequency
    told_by = list(_channels(row.email + 2 * row.in_app))
    return Choice(row.reason, row.title, Chosen(channels, frequency, malformed), told_by, row.frequency, row.why)


def _channels(code: int) -> Iterator[Channel]:
    return (channel for bit, channel in _BITS.items() if code & bit)
