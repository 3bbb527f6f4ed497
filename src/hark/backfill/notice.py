"""Who is told when a run ends or stalls: an event through Hark itself, and a webhook.

The event is published in the transaction that ends the run, under a key of its own: told once, or not at all when the
run did not end after all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import psycopg

from hark.backfill.kind import Connection
from hark.backfill.steering import Obstacle
from hark.backfill.throttle import Why
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

STALLED_AFTER = timedelta(minutes=10)
"""A run that is not held up on purpose and has done nothing for so long has stalled: somebody is told."""

_MEANT = frozenset((Why.WINDOW, Why.STOPPED, Why.RATE))
"""To wait for these is what was asked for."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a webhook is told.

    Attributes:
        id: of the message: the same for the same end, or the same standstill.
        what: `ended` or `stalled`.
        at: when it ended; since when nothing was done.
        why: in words, or what it stalls on; empty: nothing stands out.
    """

    id: str
    what: str
    at: datetime
    backfill: int
    kind: str
    undoes: int | None
    state: str
    why: str
    members: int
    to_change: int
    applied: int
    drifted: int
    quarantined: int


class Webhook(Protocol):
    """Calls out to whoever wants to know."""

    def tell(self, told: Told) -> None:
        """Send it in the background: nobody waits for it, and nothing fails for it."""
        ...


@dataclass(frozen=True, slots=True)
class _Published:
    id: int | None


async def ended(connection: Connection, backfill: int, now: datetime) -> None:
    """Publish that a run ended, if it says to whom; in the caller's transaction. Never in the way of the end itself."""
    try:
        async with connection.transaction():
            await connection.execute(_SQL["publish_end"].text(), {"backfill": backfill, "now": now})
    except psycopg.Error as error:
        _log.warning("backfill_end_not_told", backfill=backfill, error=type(error).__name__, sqlstate=error.sqlstate)


async def stalled(
    database: Database,
    webhook: Webhook | None,
    backfill: int,
    obstacle: Obstacle,
    now: datetime,
    *,
    turns: timedelta = timedelta(0),
    opened: datetime | None = None,
) -> None:
    """Tell that a run, or its planning, has done nothing for so long, once for each time that it stalls.

    Time that it was asked to wait does not count: in a pause, by its rate, outside its window, by the stop-all switch.

    Args:
        turns: so long others had their turns meanwhile; that does not count.
        opened: when its window opened; None: it has none.
    """
    if obstacle.why in _MEANT:
        return
    before = now - STALLED_AFTER - turns
    given = {"backfill": backfill, "now": now, "before": before, "obstacle": str(obstacle.why), "opened": opened}
    try:
        await database.fetch(_SQL["publish_stall"], _Published, given)
        if webhook is not None:
            for told in await database.fetch(_SQL["mark_stall"], Told, given):
                webhook.tell(told)
    except psycopg.Error as error:
        _log.warning("backfill_stall_not_told", backfill=backfill, error=type(error).__name__)


async def call(webhook: Webhook | None, database: Database, backfill: int) -> None:
    """Tell a webhook that a run ended."""
    if webhook is None:
        return
    try:
        webhook.tell(await database.one(_SQL["end"], Told, {"backfill": backfill}))
    except psycopg.Error as error:
        _log.warning("backfill_webhook_not_called", backfill=backfill, error=type(error).__name__)
