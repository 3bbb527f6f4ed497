"""The distinct mornings of all recipients. A trigger keeps them; they are polled, not the recipients.

A slot is one morning (zone, local time, weekday) and a frequency. When it comes within the lead, a walk opens for each
reason with a feed, for the slot's latest morning: whoever slept through several plans one digest, not one for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.catalogue import Catalogue
from hark.errors import HarkError
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

OPENED_AT_ONCE = 200
"""How many slots one statement opens."""

MOMENTS_KEPT = timedelta(days=15)
"""How long what was committed is remembered: two weeks, so that a first weekly digest finds its beginning."""


class CoverageLost(HarkError):
    """Transaction ids went back: this database was restored from a dump, and what digests cover cannot be told."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """When planners have something to do: `slot_at` to open a slot, `walk_at` to go on with a walk."""

    slot_at: datetime | None
    walk_at: datetime | None
    gone_back: bool

    @property
    def at(self) -> datetime | None:
        """The earlier of the two."""
        return min((at for at in (self.slot_at, self.walk_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Opened:
    """How many slots were opened with how many walks; `missed`: the most mornings that one of them was late."""

    slots: int
    walks: int
    missed: int


async def look(database: Database, reasons: list[str], now: datetime, lead: timedelta) -> Ahead:
    """What is ahead: two index look-ups, whatever the number of recipients.

    Raises:
        CoverageLost: transaction ids went back.
    """
    ahead = await database.one(_SQL["look"], Ahead, {"reasons": reasons, "now": now, "lead": lead})
    if ahead.gone_back:
        raise CoverageLost(
            "transaction ids went back: this database was restored from a dump, so what digests cover cannot be told;"
            " hark digests rebase says what to do"
        )
    return ahead


async def open_slots(
    database: Database, catalogue: Catalogue, reasons: list[str], now: datetime, lead: timedelta
) -> Opened:
    """Open the walks of all slots whose morning is at most `lead` away, up to `OPENED_AT_ONCE`."""
    calendar = catalogue.calendar
    await database.execute(_SQL["timed"], {"now": now, "at": calendar.at, "weekday": calendar.weekday})
    return await database.one(
        _SQL["opened"],
        Opened,
        {
            "reasons": reasons,
            "now": now,
            "horizon": now + lead,
            "kept_since": now - MOMENTS_KEPT,
            "limit": OPENED_AT_ONCE,
        },
    )


async def declare(database: Database, catalogue: Catalogue) -> None:
    """Make the database know which reasons have feeds, and keep to the catalogue's calendar."""
    feeds = {reason.name: reason.feed for reason in catalogue.reasons.values() if reason.feed is not None}
    await database.execute(
        _SQL["declared"],
        {
            "reasons": list(feeds),
            "caps": [feed.cap for feed in feeds.values()],
            "overlaps": [feed.overlap for feed in feeds.values()],
        },
    )
    calendar = catalogue.calendar
    await database.execute(_SQL["calendar_kept"], {"at": calendar.at, "weekday": calendar.weekday})
