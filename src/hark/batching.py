"""Stage 4 of 7: batching. Together with what, due when? In: Decision. Out: Batch.

A batch is a delivery that still gathers: one per recipient, channel and group. It closes a cool-down after its newest
event, or max stale after its oldest, whichever comes first (`closes_at`); an event at that very instant still joins.
In truth it closes when a worker claims it, so that a late worker gathers more instead of sending more.

Fan-out is one statement a chunk: events picked, audience matched, preferences decided, batches opened or joined,
notifications and unread counts written, progress kept. It happens whole or not at all, so a fan-out that dies goes on
where it was. A chunk is many events of few recipients each, or a range of the recipients of one event of many.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, time, timedelta

import psycopg

from hark.audience import MATCHED, MATCHED_IN_RANGE
from hark.catalogue import Windows
from hark.events import (
    PICKED_AGAIN,
    PICKED_FRESH,
    PICKED_ONE,
    PROGRESSED,
    PROGRESSED_IN_RANGE,
    SET_ASIDE,
    WAITING_FRESH,
)
from hark.logs import Log
from hark.postgres.database import Database, is_of_the_data
from hark.postgres.queries import Queries, chain
from hark.preferences import (
    APPLYING,
    DECIDED_AS_ANY,
    DECIDED_AS_ONE,
    KNOWN_BY_KEY,
    KNOWN_IN_RANGE,
    RULES_OF_ANY,
    RULES_OF_ONE,
)

_SQL = Queries.beside(__file__)
_log = Log(__name__)


_WRITTEN = tuple(_SQL[part] for part in ("placed", "wanted", "gathered", "told", "counted"))
_WRITTEN_OF_ONE = tuple(_SQL[part] for part in ("placed", "wanted_by_one", "gathered", "told", "counted_by_one"))
_DECIDED = (KNOWN_BY_KEY, APPLYING, DECIDED_AS_ANY)

FAN_OUT_FRESH = chain(PICKED_FRESH, MATCHED, *_DECIDED, *_WRITTEN, PROGRESSED, end=_SQL["fan_out"])
FAN_OUT_ONE = chain(PICKED_ONE, MATCHED, *_DECIDED, *_WRITTEN, PROGRESSED, end=_SQL["fan_out"])
CHUNK_AHEAD = _SQL["chunk_ahead"]
GATHERED = _SQL["gathered"]
"""What puts messages that are `wanted` into those that gather; digests go the same way."""
FAN_OUT_BEGUN = chain(
    *(PICKED_AGAIN, MATCHED_IN_RANGE, KNOWN_IN_RANGE, RULES_OF_ONE, DECIDED_AS_ONE),
    *(*_WRITTEN_OF_ONE, PROGRESSED_IN_RANGE),
    end=_SQL["fan_out"],
)
FAN_OUT_BEGUN_NARROWER = chain(
    *(PICKED_AGAIN, MATCHED_IN_RANGE, KNOWN_IN_RANGE, RULES_OF_ANY, APPLYING, DECIDED_AS_ANY),
    *(*_WRITTEN_OF_ONE, PROGRESSED_IN_RANGE),
    end=_SQL["fan_out"],
)
"""The same for an event whose reason has narrower ones. Without them, nothing is paid for those."""


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

    def __add__(self, other: FannedOut) -> FannedOut:
        dues = [due for due in (self.next_due, other.next_due) if due is not None]
        return FannedOut(
            self.events + other.events,
            self.begun + other.begun,
            self.notifications + other.notifications,
            self.messages + other.messages,
            self.inboxes + other.inboxes,
            min(dues, default=None),
        )


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: int


@dataclass(frozen=True, slots=True)
class _Ahead:
    fresh: bool
    begun: bool


_NOTHING = FannedOut(events=0, begun=0, notifications=0, messages=0, inboxes=0, next_due=None)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The recipients of one event behind `after` up to `upto` (None: all that are left), by the order of their ids.

    With it comes what the fan-out has to know of the event and of its reason: given as values, the planner can weigh
    them.
    """

    event: int
    reason: str
    actor: str | None
    recipients: list[str]
    entities: list[str]
    published_at: datetime
    batch_group: str
    cooldown: timedelta
    max_stale: timedelta | None
    due_time: time
    due_weekday: int
    at_least_once: bool
    has_narrower: bool
    after: str
    upto: str | None


def closes_at(oldest: datetime, newest: datetime, windows: Windows) -> datetime:
    """When a batch with these events closes: `min(newest + cooldown, oldest + max_stale)`."""
    quiet = newest + windows.cooldown
    return quiet if windows.max_stale is None else min(quiet, oldest + windows.max_stale)


async def fan_out_next(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    """Fan out a chunk of new events and one of a begun event; where there are none, that costs one look."""
    ahead, done = await database.one(_SQL["ahead"], _Ahead), _NOTHING
    if ahead.fresh:
        done += await fan_out_fresh(database, now, size)
    if ahead.begun:
        done += await fan_out_begun(database, now, size)
    return done


async def fan_out_fresh(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    """Fan out the next events that nobody has touched yet.

    One whose own data stand in the way does not hold up the others: then each goes by itself, and that one is set
    aside, with the database's reason.
    """
    try:
        return await database.one(FAN_OUT_FRESH, FannedOut, {"events": size.events, "pairs": size.fresh, "now": now})
    except psycopg.Error as error:
        if not is_of_the_data(error):
            raise
        return await _one_by_one(database, now, size)


async def fan_out_begun(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    """Fan out the next chunk of one event whose audience was too large for one statement."""
    chunk = await chunk_ahead(database, size)
    if chunk is None:
        return _NOTHING
    try:
        return await fan_out_chunk(database, chunk, now)
    except psycopg.Error as error:
        if not is_of_the_data(error):
            raise
        return await _set_aside(database, chunk.event, now, error)


async def _one_by_one(database: Database, now: datetime, size: ChunkSize) -> FannedOut:
    done = _NOTHING
    for waiting in await database.fetch(WAITING_FRESH, _Waiting, {"events": size.events}):
        given = {"event": waiting.event, "pairs": size.fresh, "now": now}
        try:
            done += await database.one(FAN_OUT_ONE, FannedOut, given)
        except psycopg.Error as error:
            if not is_of_the_data(error):
                raise
            done += await _set_aside(database, waiting.event, now, error)
    return done


async def _set_aside(database: Database, event: int, now: datetime, error: psycopg.Error) -> FannedOut:
    why = f"{type(error).__name__} ({error.sqlstate}): {error.diag.message_primary}"
    await database.execute(SET_ASIDE, {"event": event, "now": now, "why": why})
    _log.error("event_set_aside", event_id=event, error=type(error).__name__, sqlstate=error.sqlstate)
    return replace(_NOTHING, events=1)


async def chunk_ahead(database: Database, size: ChunkSize) -> Chunk | None:
    """Which chunk of a begun event comes next; None when there is no such event."""
    chunks = await database.fetch(CHUNK_AHEAD, Chunk, {"pairs": size.begun})
    return chunks[0] if chunks else None


async def fan_out_chunk(database: Database, chunk: Chunk, now: datetime) -> FannedOut:
    """Fan out one chunk; nothing happens when another worker has taken it on in the meantime."""
    # Planned anew each time: what the range holds decides whether reading it or looking each up is the cheaper.
    statement = FAN_OUT_BEGUN_NARROWER if chunk.has_narrower else FAN_OUT_BEGUN
    rows = await database.fetch(statement, FannedOut, {**asdict(chunk), "now": now}, prepare=False)
    return rows[0]
