"""The window: the day from which facts count, stored, and rolled on every night.

What leaves it changes what its user's facts amount to, so they are moved on like by any other change. Who is still to
be moved on is known by their oldest fact that counts: whoever is stopped half-way goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from hark.history import people
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

LOOK_BACK = timedelta(days=365)
"""How far back facts count, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """The window's start, how many users were looked at, how many of their facts left it, and whether to go on."""

    starts_at: datetime
    users: int
    facts: int
    more: bool


@dataclass(frozen=True, slots=True)
class _Start:
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class _User:
    user_id: str


@dataclass(frozen=True, slots=True)
class _Left:
    facts: int


def start_of(now: datetime, look_back: timedelta = LOOK_BACK) -> datetime:
    """The start of a window that reaches back from `now`: of a day, by UTC, so that it moves once a day."""
    return datetime.combine((now - look_back).astimezone(UTC).date(), time(0), UTC)


async def starts_at(database: Database) -> datetime:
    """From when on facts count."""
    return (await database.one(_SQL["starts_at"], _Start)).starts_at


async def roll(database: Database, *, now: datetime, look_back: timedelta = LOOK_BACK, limit: int) -> Rolled:
    """Move the window on to where it is to begin by now, and then the next users of whose facts some have left it.

    It only ever moves on: a longer look-back has an effect as the days go by.

    Args:
        limit: how many users one call looks at.
    """
    start = (await database.one(_SQL["roll"], _Start, {"start": start_of(now, look_back)})).starts_at
    async with database.transaction() as connection:
        given = {"start": start, "limit": limit, "now": now}
        found = await fetch(connection, _SQL["left_behind"], _User, given, schema=database.schema)
        users = await people.lock(connection, [row.user_id for row in found], schema=database.schema)
        (left,) = await fetch(connection, _SQL["move_on"], _Left, {**given, "users": users}, schema=database.schema)
    return Rolled(start, len(users), left.facts, more=len(users) == limit)
