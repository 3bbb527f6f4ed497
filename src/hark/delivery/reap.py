"""Take back what dead or stalled workers held: their leases ran out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.delivery.backoff import Backoff
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Reaped:
    """How many deliveries were taken back: `lost` before the hand-over, `unanswered` after it (at least once only)."""

    lost: int
    unanswered: int


async def reap(database: Database, now: datetime, *, backoff: Backoff, answer_wait: timedelta, limit: int) -> Reaped:
    """Give back up to `limit` deliveries of each kind.

    Args:
        answer_wait: how long after the hand-over an answer may still come; longer than any channel's own time-out.
    """
    given = {"now": now, "limit": limit, "max_attempts": backoff.max_attempts}
    lost = await database.execute(_SQL["reap_lost"], given)
    unanswered = await database.execute(_SQL["reap_unanswered"], {**given, "before": now - answer_wait})
    return Reaped(lost, unanswered)
