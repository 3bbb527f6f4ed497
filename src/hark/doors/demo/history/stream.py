"""The stream: a file of JSON lines, ingested again and again while it grows, as `hark ingest FILE` does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hark.config import Settings
from hark.doors.cli.ingesting import Tally, open_ingestor
from hark.history.live.ingest import Ingestor
from hark.history.live.jsonl import Lines, group_of
from hark.postgres.database import Database

_LOOK_S = 0.1
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Stream:
    """What is read, and what became of it: `tally`."""

    ingestor: Ingestor
    path: Path
    tally: Tally

    async def read_up_to(self, lines: int) -> None:
        """Wait until so many are taken."""
        await wait_until(lambda: self.tally.messages >= lines)

    async def follow(self) -> None:
        """Take what comes, until it is canceled. It says on which version of the flag it acts, though nothing comes."""
        while True:
            await self.ingestor.gate.view()
            await self._read()
            await asyncio.sleep(_LOOK_S)

    async def _read(self) -> None:
        """As the same command, run once more: it goes on behind the last line that was taken."""
        with self.path.open("rb") as file:
            lines = Lines(self.ingestor, file, group_of(self.path, None), "", _CHUNK, kept=True)
            await lines.begin()
            while await lines.step():
                pass


async def wait_until(so: Callable[[], bool]) -> None:
    """Look again and again, until it is so."""
    while True:
        if so():
            return
        await asyncio.sleep(_LOOK_S / 2)


@asynccontextmanager
async def following(settings: Settings, database: Database, path: Path) -> AsyncIterator[Stream]:
    """A file, which is there already, followed for the time of a block.

    Raises:
        BadInput: there is no such flag as the settings name.
    """
    tally = Tally()
    async with open_ingestor(settings, database, path.name, tally) as ingestor:
        stream = Stream(ingestor, path, tally)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(stream.follow())
            try:
                yield stream
            finally:
                reading.cancel()
