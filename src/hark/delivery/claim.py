"""Claim what is due: PENDING → SENDING, for this worker alone, until its lease runs out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.catalogue import Channel
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this worker holds. `attempt` fences it: whoever claims it later gets a higher one."""

    recipient_id: str
    id: int
    attempt: int
    at_least_once: bool


@dataclass(frozen=True, slots=True)
class _NextDue:
    due_at: datetime | None


async def claim_due(
    database: Database, channel: Channel, now: datetime, *, worker: str, lease: timedelta, limit: int
) -> list[Claimed]:
    """Take up to `limit` deliveries of a channel that are due, oldest due first, none that another worker holds."""
    return await database.fetch(
        _SQL["claim_due"],
        Claimed,
        {"channel": channel, "now": now, "lease_until": now + lease, "worker": worker, "limit": limit},
    )


async def next_due(database: Database, channel: Channel) -> datetime | None:
    """When the next delivery of a channel is due; None when nothing waits."""
    return (await database.one(_SQL["next_due"], _NextDue, {"channel": channel})).due_at
