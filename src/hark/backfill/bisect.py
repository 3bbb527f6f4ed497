"""A batch that fails is halved until those who make it fail are found: they are quarantined, the others are done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg

from hark.backfill.kind import Batch, Connection, Kind
from hark.postgres.database import fetch, is_passing
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

LOCK_PATIENCE = timedelta(milliseconds=250)
"""How long a batch waits for a row that another transaction holds, while it holds rows itself."""

_OF_SOMEBODY = ("40", "55P03", "57014")
"""SQLSTATEs that pass when the same is tried later, but that a few users can be the cause of each time: rolled back for
another's sake, a row that somebody holds, a statement that took too long."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the users of a batch."""

    applied: int = 0
    drifted: int = 0
    quarantined: int = 0

    @property
    def users(self) -> int:
        """All of them."""
        return self.applied + self.drifted + self.quarantined

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.applied + other.applied, self.drifted + other.drifted, self.quarantined + other.quarantined)


@dataclass(frozen=True, slots=True)
class _Member:
    id: str


def milliseconds(span: timedelta) -> str:
    """Whole ones, as Postgres wants them."""
    return str(max(1, round(span.total_seconds() * 1000)))


async def be_patient(connection: Connection, *, idle: timedelta) -> None:
    """In a transaction that applies a batch: no row is waited for for long, and it may stand idle for so long only."""
    given = {"patience": milliseconds(LOCK_PATIENCE), "idle": milliseconds(idle)}
    await connection.execute(_SQL["patient"].text(), given)


async def apply_whole_or_in_halves(
    connection: Connection, kind: Kind, batch: Batch, now: datetime, *, last: bool = False
) -> Tally:
    """Apply a batch inside the caller's transaction, whatever some of its users do to it.

    Args:
        last: this is its last attempt: also who makes it fail with what may pass is looked for.

    Raises:
        psycopg.Error: what would pass if the same was tried later (`is_passing`): then the whole batch is.
    """
    try:
        async with connection.transaction():
            done = await kind.apply(connection, batch, now)
            return Tally(done.applied, done.drifted, done.quarantined)
    except Exception as error:
        if is_passing(error) and not (last and _is_of_somebody(error)):
            raise
        return await _in_halves(connection, kind, batch, now, error, last)


def _is_of_somebody(error: Exception) -> bool:
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_OF_SOMEBODY)


async def _in_halves(
    connection: Connection, kind: Kind, batch: Batch, now: datetime, error: Exception, last: bool
) -> Tally:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        await connection.execute(_SQL["hurry"].text())
    members = batch.only if batch.only is not None else await _members(connection, batch)
    if len(members) <= 1:
        return await _quarantine(connection, batch, members, now, error)
    middle = len(members) // 2
    halves = [replace(batch, only=half) for half in (members[:middle], members[middle:])]
    first, second = [await apply_whole_or_in_halves(connection, kind, half, now, last=last) for half in halves]
    return first + second


async def _members(connection: Connection, batch: Batch) -> list[str]:
    given = {"backfill": batch.backfill, "batch": batch.number}
    return [row.id for row in await fetch(connection, _SQL["to_change"], _Member, given)]


async def _quarantine(
    connection: Connection, batch: Batch, members: Sequence[str], now: datetime, error: Exception
) -> Tally:
    given = {
        "backfill": batch.backfill,
        "batch": batch.number,
        "members": list(members),
        "why": _said(error),
        "now": now,
    }
    await connection.execute(_SQL["quarantine"].text(), given)
    return Tally(quarantined=len(members))


def _said(error: Exception) -> str:
    """In one line. What Postgres quotes of a row is left out: only its first sentence is kept."""
    if isinstance(error, psycopg.Error):
        return f"{error.diag.message_primary or type(error).__name__} ({error.sqlstate})"
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
