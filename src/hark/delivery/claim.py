"""Claim what is due: PENDING → SENDING, for this worker alone, until its lease runs out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.catalogue import Channel
from hark.delivery.gcra import LONG_AGO, Gcra
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


@dataclass(frozen=True, slots=True)
class _Rate:
    tat: datetime


async def claim_due(
    database: Database,
    channel: Channel,
    now: datetime,
    *,
    worker: str,
    lease: timedelta,
    limit: int,
    rate: Gcra | None = None,
) -> list[Claimed]:
    """Take up to `limit` deliveries of a channel that are due, oldest due first, none that another worker holds.

    Args:
        rate: what all workers together keep to; what is claimed is counted by the same statement.
    """
    given = {"channel": channel, "now": now, "lease_until": now + lease, "worker": worker, "limit": limit}
    if rate is None:
        return await database.fetch(_SQL["claim_due"], Claimed, given)
    return await database.fetch(
        _SQL["claim_within"], Claimed, {**given, "burst": rate.burst, "interval_us": rate.interval_us}
    )


async def next_due(database: Database, channel: Channel) -> datetime | None:
    """When the next delivery of a channel is due; None when nothing waits."""
    return (await database.one(_SQL["next_due"], _NextDue, {"channel": channel})).due_at


async def next_free(database: Database, channel: Channel, rate: Gcra) -> datetime:
    """From when on the rate that all workers share lets at least one go."""
    rows = await database.fetch(_SQL["rate"], _Rate, {"channel": channel})
    return rate.next_free(rows[0].tat if rows else LONG_AGO)
