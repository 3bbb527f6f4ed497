"""Gates: whether users are let in, by which version, and whether that version is effective everywhere.

A process that acts on a flag registers, reads the flag, and reports the version that it acts on; again and again. What
it decided by a version, it writes in a transaction that `fence` holds to that version. So once nobody that is
registered acts on less than version V (whose lease ran out is struck off, and its fence fails from then on), nothing
that was decided by less than V will ever be written any more: V is effective everywhere.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from psycopg import AsyncConnection

from hark.clock import Clock
from hark.errors import Overtaken
from hark.flags.changes import check_known
from hark.flags.deciding import Snapshot
from hark.flags.reading import FlagReader
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

LOOK_S = 0.2
"""Seconds between two looks of who waits for a version."""


class View(Protocol):
    """What a gate says at one moment; it does not change. One chunk of work is decided by one view."""

    @property
    def version(self) -> int | None:
        """Of what it goes by; None: who decides has no versions."""
        ...

    def lets_in(self, user: str) -> bool:
        """Whether a user is let in."""
        ...


class Gate(Protocol):
    """Who is let in. Between two chunks of work: `view`; in the transaction that writes what a view let in: `fence`."""

    async def view(self) -> View:
        """What it says now; from here on that is acted on."""
        ...

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        """Make sure that what a view let in may still be written.

        Raises:
            Overtaken: it may not; nothing must be written, and it is to be decided again.
        """
        ...

    async def close(self) -> None:
        """Act on nothing any more."""
        ...


@dataclass(frozen=True, slots=True)
class FlagView:
    """What a flag says at one of its versions."""

    snapshot: Snapshot
    flag: str

    @property
    def version(self) -> int:
        """The flag's version."""
        return self.snapshot.version(self.flag)

    def lets_in(self, user: str) -> bool:
        """Whether a user is let in."""
        return self.snapshot.decide(self.flag, user).lets_in


@dataclass(slots=True)
class FlagGate:
    """A gate that goes by a flag of this database.

    One view at a time, and never from inside a transaction that it has fenced: to report a version waits for that one.

    Attributes:
        name: which process this is, for people; `process` is it and something that no other has.
        lease: for how long a report holds. Longer than a chunk of work takes, or that is done twice.
    """

    database: Database
    clock: Clock
    flag: str
    name: str
    lease: timedelta = timedelta(seconds=30)
    process: str = ""
    _reader: FlagReader = field(init=False)
    _registered: bool = False

    def __post_init__(self) -> None:
        self.process = self.process or f"{self.name}/{secrets.token_hex(4)}"
        self._reader = FlagReader(self.database, frozenset([self.flag]))

    async def view(self) -> FlagView:
        """Read the flag, report its version, and give what it says.

        Raises:
            BadInput: there is no such flag.
        """
        if not self._registered:
            await self._register()
        while True:
            view = FlagView(await self._reader.refresh(), self.flag)
            if await self.database.execute(_SQL["report"], {**self._given(), "version": view.version}):
                return view
            await self._register()  # it was away for longer than its lease, and is to read anew

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        """Hold this process to the version of a view until the transaction ends; see `Gate.fence`."""
        rows = await fetch(connection, _SQL["fence"], _Version, self._who(), schema=self.database.schema)
        if not rows:
            raise Overtaken(f"{self.process} did not report for so long that nobody waits for it; decide again")
        if rows[0].version != view.version:
            raise Overtaken(f"this was decided by version {view.version} of {self.flag}; decide by {rows[0].version}")

    async def close(self) -> None:
        """Act on nothing any more; nobody waits for this process from here on."""
        self._registered = False
        await self.database.execute(_SQL["leave"], self._who())

    async def _register(self) -> None:
        await check_known(self.database, self.flag)
        await self.database.execute(_SQL["register"], self._given())
        self._registered = True

    def _who(self) -> dict[str, object]:
        return {"process": self.process, "flag": self.flag}

    def _given(self) -> dict[str, object]:
        now = self.clock.now()
        return {**self._who(), "now": now, "lease_until": now + self.lease}


@dataclass(frozen=True, slots=True)
class _Version:
    version: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a process reported: on which version it acts (-1: it is about to read it), when, until when that holds."""

    process: str
    version: int
    seen_at: datetime
    lease_until: datetime

    def __str__(self) -> str:
        acts = "is about to read it" if self.version < 0 else f"acts on version {self.version}"
        return f"{self.process} {acts}, seen {self.seen_at:%H:%M:%S} UTC"


async def reports(database: Database, flag: str) -> list[Report]:
    """All processes that act on a flag, those too whose lease has run out and that nobody struck off yet."""
    return await database.fetch(_SQL["gates"], Report, {"flag": flag})


async def behind(database: Database, flag: str, version: int, now: datetime) -> list[Report]:
    """Who still acts on less than a version; nobody: it is effective everywhere. Whose lease has run out is struck off.

    Args:
        now: the database's time; never a clock that may be ahead of it.
    """
    await database.execute(_SQL["sweep"], {"flag": flag, "now": now})
    return await database.fetch(_SQL["behind"], Report, {"flag": flag, "version": version})


async def wait_until_effective(
    database: Database, flag: str, version: int, clock: Clock, *, deadline: datetime
) -> Sequence[Report]:
    """Wait until a version of a flag is effective everywhere; no transaction is open meanwhile.

    Returns:
        Who was still behind at the deadline; nobody: it is effective everywhere.
    """
    while True:
        late = await behind(database, flag, version, clock.now())
        if not late or clock.now() >= deadline:
            return late
        await asyncio.sleep(LOOK_S)
