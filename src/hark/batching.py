"""Stage 4 of 7: batching. Together with what, due when? In: Decision. Out: Batch.

A batch is a delivery that still gathers: one per recipient, channel and group. It closes a cool-down after its newest
event, or max stale after its oldest, whichever comes first (`closes_at`); an event at that very instant still joins.
In truth it closes when a worker claims it, so that a late worker gathers more instead of sending more.

Fan-out is one statement a chunk: events picked, audience matched, preferences decided, batches opened or joined,
notifications and unread counts written, progress kept. It happens whole or not at all, so a fan-out that dies goes on
where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hark.audience import MATCHED
from hark.catalogue import Windows
from hark.events import PICKED_BEGUN, PICKED_FRESH, PROGRESSED
from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query, chain
from hark.preferences import DECIDED, RULES_BY_REASON, RULES_BY_ROW

_SQL = Queries.beside(__file__)


def _fan_out(picked: Query, rules: Query) -> Query:
    wanted, gathered, told, counted = (_SQL[part] for part in ("wanted", "gathered", "told", "counted"))
    return chain(picked, MATCHED, rules, DECIDED, wanted, gathered, told, counted, PROGRESSED, end=_SQL["fan_out"])


FAN_OUT_FRESH = _fan_out(PICKED_FRESH, RULES_BY_ROW)
FAN_OUT_BEGUN = _fan_out(PICKED_BEGUN, RULES_BY_REASON)


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How much one fan-out statement takes on: `events` new events of up to `fresh` recipients each, or the next
    `begun` recipients of one event whose audience is larger."""

    events: int = 500
    fresh: int = 100
    begun: int = 20_000


@dataclass(frozen=True, slots=True)
class FannedOut:
    """What one fan-out statement did.

    `events` it worked on, of which `begun` have more recipients to come; `notifications` written, of which `messages`
    were opened or joined and `inboxes` counted; `next_due` is when the first of those messages is due.
    """

    events: int
    begun: int
    notifications: int
    messages: int
    inboxes: int
    next_due: datetime | None


def closes_at(oldest: datetime, newest: datetime, windows: Windows) -> datetime:
    """When a batch with these events closes: `min(newest + cooldown, oldest + max_stale)`."""
    quiet = newest + windows.cooldown
    return quiet if windows.max_stale is None else min(quiet, oldest + windows.max_stale)


async def fan_out_fresh(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    """Fan out the next events that nobody has touched yet."""
    return await database.one(FAN_OUT_FRESH, FannedOut, {"events": size.events, "pairs": size.fresh, "now": now})


async def fan_out_begun(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    """Fan out the next chunk of one event whose audience was too large for one statement."""
    # Planned anew each time: the chunk's size decides whether look-ups or whole-table joins are the cheaper.
    rows = await database.fetch(FAN_OUT_BEGUN, FannedOut, {"pairs": size.begun, "now": now}, prepare=False)
    return rows[0]
