"""What a plan will cost: one of its batches applied for real, in a transaction that is rolled back."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from hark.backfill.bisect import apply_whole_or_in_halves, be_patient
from hark.backfill.kind import Batch
from hark.backfill.kinds import KINDS
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


_IDLE = timedelta(seconds=30)
"""How long its transaction may stand idle before the server ends it."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What one batch took.

    Attributes:
        users: how many it changes.
        seconds: from its first statement to where it would have been committed: how long its rows are locked.
        wal_bytes: what the server wrote to its log meanwhile; whatever else it did meanwhile included.
    """

    users: int
    seconds: float
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class _Fullest:
    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class _Wal:
    bytes: int


async def rehearse(database: Database, backfill: int, now: datetime) -> Rehearsal | None:
    """Apply the fullest batch and take it back at once; kept with the plan.

    None: there is nothing to apply, or what takes its time is done outside of transactions.
    """
    found = await database.fetch(_SQL["fullest"], _Fullest, {"backfill": backfill})
    if not found:
        return None
    if KINDS[found[0].kind].goes_outside:
        await leave_unmeasured(database, backfill)
        return None
    async with database.connection() as connection, connection.transaction(force_rollback=True):
        await be_patient(connection, idle=_IDLE)
        begun = time.perf_counter()
        (before,) = await fetch(connection, _SQL["wal"], _Wal)
        batch = Batch(backfill, found[0].number)
        tally = await apply_whole_or_in_halves(connection, KINDS[found[0].kind], batch, now, last=True)
        (after,) = await fetch(connection, _SQL["wal"], _Wal)
        seen = Rehearsal(tally.users, round(time.perf_counter() - begun, 4), after.bytes - before.bytes)
    await _keep(database, backfill, seen)
    return seen


async def leave_unmeasured(database: Database, backfill: int) -> None:
    """It cannot be measured, and no longer is to be: it has no estimate."""
    await _keep(database, backfill, Rehearsal(0, 0.0, 0))


async def _keep(database: Database, backfill: int, seen: Rehearsal) -> None:
    await database.execute(_SQL["keep"], {"backfill": backfill, "rehearsal": Jsonb(asdict(seen))})
