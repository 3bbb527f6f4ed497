"""Enlist: stage the cohort of a backfill that was asked for where nobody can wait for it, as over HTTP.

Whichever worker comes first does it. It holds a lock of its session meanwhile, and no transaction, for a list may take
minutes to read: a worker that dies lets go of it, and another begins anew. The cohort becomes the backfill's only if
it still waits for one; else it is forgotten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hark.backfill.cohort import Cohort, FileReach, Staged, cohort_from_json, forget, stage
from hark.backfill.kind import Json
from hark.errors import BadInput, Unreachable
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class ToStage:
    """A cohort that is still to be staged; `user_types`: only users of these; `strangers`: see `cohort.stage`."""

    cohort: Cohort
    user_types: Sequence[str] | None
    strangers: bool = False

    def to_json(self) -> Json:
        """As it is stored."""
        return {
            "cohort": self.cohort.as_json(),
            "user_types": self.user_types and list(self.user_types),
            "strangers": self.strangers,
        }

    @classmethod
    def from_json(cls, stored: Json) -> ToStage:
        """As it was stored."""
        return cls(cohort_from_json(stored["cohort"]), stored["user_types"], stored.get("strangers", False))


@dataclass(frozen=True, slots=True)
class _Held:
    held: bool


@dataclass(frozen=True, slots=True)
class _Waiting:
    to_stage: dict[str, Any]


async def enlist(database: Database, backfill: int, *, reach: FileReach, now: datetime) -> bool:
    """Stage what a backfill waits for.

    Args:
        reach: from where its files may be read.

    Returns:
        Whether something was done; not, when another worker is at it just now.

    Raises:
        BadInput: what `cohort.stage` refuses, or a store does not answer.
    """
    async with _alone(database, backfill) as mine:
        waiting = await database.fetch(_SQL["waiting"], _Waiting, {"backfill": backfill}) if mine else []
        if not waiting:
            return False
        wanted = ToStage.from_json(waiting[0].to_stage)
        await _give(database, backfill, await _staged(database, wanted, reach, now))
        return True


async def _staged(database: Database, wanted: ToStage, reach: FileReach, now: datetime) -> Staged:
    try:
        return await stage(
            database, wanted.cohort, user_types=wanted.user_types, now=now, reach=reach, strangers=wanted.strangers
        )
    except Unreachable as error:
        raise BadInput(f"{error}; ask for it again once it answers") from None


async def _give(database: Database, backfill: int, staged: Staged) -> None:
    """It may have been called off meanwhile."""
    if not await database.execute(_SQL["give"], {"backfill": backfill, "cohort": staged.cohort_id}):
        await forget(database, staged.cohort_id)


@asynccontextmanager
async def _alone(database: Database, backfill: int) -> AsyncIterator[bool]:
    """Whether no other worker stages for this backfill, for the time of a block."""
    given = {"backfill": backfill}
    async with database.connection() as connection:
        (lock,) = await fetch(connection, _SQL["hold"], _Held, given)
        try:
            yield lock.held
        finally:
            if lock.held:
                await fetch(connection, _SQL["let_go"], _Held, given)
