"""What the throttle decides by, read from the database itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from hark.backfill.throttle import Readings
from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

_PATIENCE_S = 10.0
_LATE = timedelta(seconds=5)
"""What the live pipeline has not dealt with for so long is late."""
_BOUND = 10_000


class Probes(Protocol):
    """Reads how the database is."""

    async def read(self, now: datetime) -> Readings:
        """One reading. Never raises: what cannot be read is named in `unreadable`."""
        ...


@dataclass(frozen=True, slots=True)
class _Count:
    count: int


@dataclass(frozen=True, slots=True)
class _Rate:
    rate: float


@dataclass(frozen=True, slots=True)
class _Lag:
    seconds: float
    hidden: int
    unknown: int


@dataclass(slots=True)
class DatabaseProbes:
    """The probes of a run in production."""

    database: Database
    _unreadable: list[str] = field(default_factory=list)

    async def read(self, now: datetime) -> Readings:
        """See `Probes`."""
        self._unreadable = []
        begun = time.perf_counter()
        await self._count("probe", _SQL["probe"])
        probe = timedelta(seconds=time.perf_counter() - begun)
        lag = await self._lag()
        waits = await self._count("lock waits", _SQL["lock_waits"])
        live = await self._count("live pipeline", _SQL["live"], {"before": now - _LATE, "bound": _BOUND})
        return Readings(
            probe=probe,
            replica_lag=lag,
            lock_waits=waits,
            live=live,
            traffic=await self._traffic(now),
            unreadable=tuple(self._unreadable),
        )

    async def _traffic(self, now: datetime) -> float:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return (await self.database.one(_SQL["traffic"], _Rate, {"now": now})).rate
        except Exception:
            self._unreadable.append("live traffic")
            return 0.0

    async def _count(self, what: str, query: Query, given: dict[str, object] | None = None) -> int:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return (await self.database.one(query, _Count, given)).count
        except Exception:
            self._unreadable.append(what)
            return 0

    async def _lag(self) -> timedelta:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await self.database.one(_SQL["replica_lag"], _Lag)
        except Exception:
            self._unreadable.append("replica lag")
            return timedelta(0)
        if found.hidden:
            self._unreadable.append("replica lag (grant pg_monitor to Hark's role)")
        if found.unknown:
            self._unreadable.append("replica lag (a replica is behind, and nobody knows how long)")
        return timedelta(seconds=found.seconds)
