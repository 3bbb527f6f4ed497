"""Who is told when a run ends or stalls: an event through Hark itself, and a webhook.

The event is published in the transaction that ends the run, under a key of its own: told once, or not at all when the
run did not end after all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
import structlog

from hark.backfill.kind import Connection
from hark.backfill.steering import Obstacle
from hark.backfill.throttle import Why
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = structlog.get_logger(__name__)

_MEANT = frozenset((Why.WINDOW, Why.STOPPED, Why.RATE))
"""To wait for these is what was asked for."""


class Webhook(Protocol):
    """Calls out to whoever wants to know; guarded, and never inside a transaction."""

    async def tell(self, what: Mapping[str, object]) -> None:
        """Send what happened, as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class _Told:
    id: int | None


async def ended(connection: Connection, backfill: int, now: datetime) -> None:
    """Publish that a run ended, if it says to whom; in the caller's transaction. Never in the way of the end itself."""
    try:
        async with connection.transaction():
            await connection.execute(_SQL["publish_end"].text(), {"backfill": backfill, "now": now})
    except psycopg.Error as error:
        _log.warning("backfill_end_not_told", backfill=backfill, error=type(error).__name__, sqlstate=error.sqlstate)


async def stalled(database: Database, backfill: int, obstacle: Obstacle, now: datetime, after: timedelta) -> None:
    """Publish that a run has done nothing for so long, once for each time that it stalls."""
    if obstacle.why in _MEANT:
        return
    given = {"backfill": backfill, "now": now, "before": now - after, "obstacle": str(obstacle.why)}
    try:
        async with database.connection() as connection:
            await fetch(connection, _SQL["publish_stall"], _Told, given)
    except psycopg.Error as error:
        _log.warning("backfill_stall_not_told", backfill=backfill, error=type(error).__name__)


async def call(webhook: Webhook | None, backfill: int, state: str) -> None:
    """Tell a webhook that a run ended; what it answers is logged and no more."""
    if webhook is None:
        return
    try:
        await webhook.tell({"backfill": backfill, "state": state})
    except Exception as error:
        _log.warning("backfill_webhook_failed", backfill=backfill, error=type(error).__name__)
