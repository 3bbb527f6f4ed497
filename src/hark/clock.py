"""The one clock: the database's in production, a virtual one in tests and replays."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Protocol

from hark.postgres.database import Database

_READINGS, _QUICK_S = 8, 0.0005


class Clock(Protocol):
    """Says what time it is; everything that needs the time is given it from here."""

    def now(self) -> datetime:
        """The present moment, with a zone."""
        ...


class DatabaseClock:
    """The database's time, read once and carried on by this machine's monotonic clock.

    So that all workers agree whatever their machines' clocks say, and nobody asks the database at every step.
    `follow` it now and then: monotonic clocks drift too.
    """

    def __init__(self, at: datetime, read_at: float) -> None:
        self._at = at
        self._read_at = read_at

    @classmethod
    async def start(cls, database: Database) -> DatabaseClock:
        """A clock set by the database."""
        at, read_at = await _read(database)
        return cls(at, read_at)

    async def follow(self, database: Database) -> None:
        """Set it again by the database."""
        self._at, self._read_at = await _read(database)

    def now(self) -> datetime:
        """The database's time, to a round trip's accuracy."""
        return self._at + timedelta(seconds=time.monotonic() - self._read_at)


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """The moment that it was last moved to."""
        return self._at

    def move_to(self, at: datetime) -> None:
        """Move it; never backwards.

        Raises:
            ValueError: `at` is earlier than the clock's time.
        """
        if at < self._at:
            raise ValueError(f"a clock does not go back from {self._at} to {at}")
        self._at = at

    def advance(self, by: timedelta) -> None:
        """Move it on by a while."""
        self.move_to(self._at + by)


async def _read(database: Database) -> tuple[datetime, float]:
    """The database's time, and ours: of several readings the quickest, since an answer that tarried tells less."""
    best: tuple[float, datetime, float] | None = None
    for _ in range(_READINGS):
        before = time.monotonic()
        at = await database.now()
        took = time.monotonic() - before
        if best is None or took < best[0]:
            best = took, at, before + took / 2
        if took < _QUICK_S:
            break
    assert best is not None
    return best[1], best[2]
