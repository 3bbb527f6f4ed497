"""Proof of what digests cover: each item in exactly one sent digest. And a new start after a restored dump."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from hark.postgres.database import Database, rows_of
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

OPEN_FOR = timedelta(days=1)
"""How long a digest may be open before that is a fault."""

_AT_ONCE = 500


class Base(StrEnum):
    """Why a digest does not begin where the one before it ended."""

    FIRST = "first"
    RETURNED = "returned"
    REBASED = "rebased"


class Wrong(StrEnum):
    """What can be wrong with a digest."""

    NO_BEGINNING = "no_beginning"
    GAP = "gap"
    OVERLAP = "overlap"
    TOLD_TWICE = "told_twice"
    UNSAID = "unsaid"
    NO_DELIVERY = "no_delivery"
    STILL_OPEN = "still_open"

    def sentence(self, about: str) -> str:
        """For people."""
        return {
            Wrong.NO_BEGINNING: "says that it follows a sent digest, and there is none",
            Wrong.GAP: "begins after the end of the sent one before it: what was committed between is in none",
            Wrong.OVERLAP: "begins before the end of the sent one before it",
            Wrong.TOLD_TWICE: f"has item {about}, which another sent one had too",
            Wrong.UNSAID: f"counts as sent though all that it lists was left out: {about} behind them are in no digest",
            Wrong.NO_DELIVERY: f"belongs to delivery {about}, which is not there",
            Wrong.STILL_OPEN: f"waits in delivery {about} for more than a day, and keeps the next from being planned",
        }[self]


@dataclass(frozen=True, slots=True)
class CoverageFault:
    """One digest that is not as it must be; `about` is the key or the delivery that it is about."""

    recipient_id: str
    reason: str
    period: date
    fault: str
    about: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.recipient_id}'s {self.reason} of {self.period} {Wrong(self.fault).sentence(self.about)}"


@dataclass(frozen=True, slots=True)
class Compared:
    """How many digests were looked at: of them `sent`, with so many `keys`, and `canceled`, which cover nothing:
    their message was canceled, or says nothing of them."""

    digests: int
    sent: int
    canceled: int
    keys: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether transaction ids went back: the newest moment knows of those up to `known_to`, the server is `now_at`."""

    at: datetime
    known_to: str
    now_at: str
    gone_back: bool
    digests: int


async def compared(database: Database) -> Compared:
    """How much there is to compare."""
    return await database.one(_SQL["compared"], Compared)


async def faults(database: Database, now: datetime) -> AsyncIterator[CoverageFault]:
    """All that is wrong, as it is found: read from a cursor, however much there is."""
    async with (
        database.transaction() as connection,
        connection.cursor("faults", row_factory=rows_of(CoverageFault)) as cursor,
    ):
        await cursor.execute(_SQL["faults"].text(database.schema), {"open_since": now - OPEN_FOR})
        while found := await cursor.fetchmany(_AT_ONCE):
            for fault in found:
                yield fault


async def standing(database: Database) -> Standing:
    """Whether what digests cover can still be told."""
    return await database.one(_SQL["standing"], Standing)


async def rebase(database: Database, now: datetime) -> None:
    """Begin coverage anew: whatever was committed up to now is news to nobody, and every next digest begins here."""
    await database.execute(_SQL["rebase"], {"now": now})
