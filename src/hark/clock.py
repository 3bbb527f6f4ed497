"""The one clock: the database's in production, a virtual one in tests and replays."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Protocol

from hark.postgres.database import Database

_READINGS, _QUICK_S = 8, 0.0005
_DRIFT = 5e-5
"""How far two machines' clocks come apart in a while, as a part of it."""


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

    def __init__(self, at: datetime, read_at: float, within: float = 0.0) -> None:
        self._at = at
        self._read_at = read_at
        self._within = within

    @classmethod
    async def start(cls, database: Database) -> DatabaseClock:
        """A clock set by the database."""
        return cls(*await _read(database))

    async def follow(self, database: Database) -> None:
        """Set it again by the database, unless it is better as it is: a busy machine's reading may be far off."""
        at, read_at, within = await _read(database)
        drifted = self._within + _DRIFT * (read_at - self._read_at)
        off = abs((self._at - at).total_seconds() + read_at - self._read_at)
        if within <= drifted or off > within + drifted:
            self._at, self._read_at, self._within = at, read_at, within

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


async def _read(database: Database) -> tuple[datetime, float, float]:
    """The database's time, ours, and within how much they are known: of several readings the quickest, since an answer
    that tarried tells less."""
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
    return best[1], best[2], best[0] / 2
