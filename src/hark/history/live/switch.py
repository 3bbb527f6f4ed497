"""All live ingestion, paused and resumed by one word in the database; every process looks at it again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.clock import Clock
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

LOOK = timedelta(seconds=1)
"""How old a look may be that a process still goes by: so much later all have stopped, their chunks under way done."""


@dataclass(frozen=True, slots=True)
class Switched:
    """By whom and since when it is paused; nobody: it goes on."""

    paused_by: str | None
    paused_at: datetime | None

    @property
    def is_paused(self) -> bool:
        """Whether nothing new is taken."""
        return self.paused_at is not None


async def look(database: Database) -> Switched:
    """Whether ingestion is paused."""
    return await database.one(_SQL["look"], Switched)


async def pause(database: Database, who: str, *, now: datetime) -> bool:
    """Take nothing more from here on; False: it was paused already."""
    return await database.execute(_SQL["pause"], {"who": who, "now": now}) > 0


async def resume(database: Database) -> bool:
    """Go on where it was; False: it was going on already."""
    return await database.execute(_SQL["resume"]) > 0


@dataclass(slots=True)
class Watched:
    """The word as one process knows it."""

    database: Database
    clock: Clock
    _seen: Switched = field(default=Switched(None, None))
    _seen_at: datetime | None = None

    async def is_paused(self) -> bool:
        """Whether to take nothing now; asks the database once a second at most."""
        now = self.clock.now()
        if self._seen_at is None or now - self._seen_at >= LOOK:
            self._seen, self._seen_at = await look(self.database), now
        return self._seen.is_paused
