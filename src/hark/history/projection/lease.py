"""Who projects: one at a time, by lease.

Two would do no harm, the graph's own guard sees to that: they would only wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.clock import Clock
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who projects, and until when it is theirs alone; None: nobody."""

    holder: str | None
    lease_until: datetime | None


@dataclass(slots=True)
class Lease:
    """The right to project, as one process sees it.

    Attributes:
        holder: this process, as people know it.
        length: how long it holds without being renewed.
    """

    database: Database
    clock: Clock
    holder: str
    length: timedelta = timedelta(seconds=30)
    _until: datetime | None = field(default=None, repr=False)

    async def take(self) -> bool:
        """Have it, or keep it; False: another one has it."""
        now = self.clock.now()
        if self._until is not None and now < self._until - self.length * 2 / 3:
            return True
        until = now + self.length
        given = {"holder": self.holder, "now": now, "lease_until": until}
        taken = await self.database.execute(_SQL["take"], given) == 1
        self._until = until if taken else None
        return taken

    async def current(self) -> Holder:
        """Who has it."""
        return await self.database.one(_SQL["held_by"], Holder)

    async def leave(self) -> None:
        """Let the next one have it at once."""
        self._until = None
        await self.database.execute(_SQL["leave"], {"holder": self.holder})
