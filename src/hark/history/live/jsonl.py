"""Streams that are files: one message a line, `{"topic": …, "value": {…}}`, or its value alone where the topic is told.

A line's number is its offset, and the position lies where those of topics do: the same command goes on behind the
last line that was taken. A file that begins otherwise than the one that was read under its name is refused. Standard
input has no position: whoever sends it again sends all of it, and facts do not mind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any

from psycopg import AsyncConnection

from hark.errors import BadInput
from hark.history.live import positions
from hark.history.live.ingest import Ingestor, Letter, Message, bury
from hark.history.live.positions import Displaced, Move, Position
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

HEAD_BYTES = 4096
"""How much of a file is compared, to tell it from another one."""
TOPIC = "lines"
"""What positions of files have for a topic: a file's lines may be of several."""


@dataclass(frozen=True, slots=True)
class _Head:
    head_bytes: int
    head: bytes


@dataclass(slots=True)
class Lines:
    """One file, being read; or standard input, whose position is kept nowhere.

    Attributes:
        group: `jsonl:` and its name.
        topic: what all its lines are of; empty: each says it.
        position: how many lines are taken.
    """

    ingestor: Ingestor
    file: IO[bytes]
    group: str
    topic: str
    chunk: int
    kept: bool
    position: int = 0
    _lines: Iterator[Message] | None = None
    _pending: list[Message] = field(default_factory=list)

    async def begin(self) -> int:
        """Go where the last reading of this file came to; how many lines lie before that.

        Raises:
            BadInput: another file was read under this name.
        """
        if self.kept:
            await _recognise(self.ingestor.database, self.file, self.group)
            now = self.ingestor.clock.now()
            start = Position(TOPIC, 0, 0, 0, now)
            await positions.begin(self.ingestor.database, self.group, [start], now=now)
            (known,) = await positions.positions(self.ingestor.database, self.group)
            self.position = known.position
        self._lines = islice(self._messages(), self.position, None)
        return self.position

    async def step(self) -> bool:
        """Take the next lines; False: there are no more. Those that could not be written are taken again.

        Raises:
            psycopg.Error, Unreachable: the database is away.
        """
        if not self._pending:
            self._pending = await asyncio.to_thread(self._read)
        if not self._pending:
            return False
        try:
            await self.ingestor.take([each for each in self._pending if each.offset >= self.position], self)
        except Displaced:
            self._pending = []
            await self.begin()
            return True
        self._pending = []
        return True

    async def settle(
        self,
        connection: AsyncConnection[Any],
        messages: Sequence[Message],
        letters: Sequence[Letter],
        *,
        now: datetime,
        schema: str,
    ) -> None:
        """See `Place`."""
        if self.kept:
            first, last = messages[0].offset, messages[-1].offset + 1
            await positions.move(connection, self.group, [Move(TOPIC, 0, first, last, last)], now=now, schema=schema)
        await bury(connection, self.group, letters, now=now, schema=schema)

    def settled(self, messages: Sequence[Message]) -> None:
        """See `Place`."""
        self.position = messages[-1].offset + 1

    def _read(self) -> list[Message]:
        assert self._lines is not None
        return list(islice(self._lines, self.chunk))

    def _messages(self) -> Iterator[Message]:
        opened = self.ingestor.topics.opened
        for number, line in enumerate(self.file):
            topic, value = (self.topic, line) if self.topic else opened(line)
            yield Message(topic, 0, number, value.rstrip(b"\r\n"))


def group_of(path: Path, name: str | None) -> str:
    """Under which group a file's position is kept.

    Raises:
        BadInput: it cannot be called so.
    """
    group = f"jsonl:{name or path.name}"
    if not group.isprintable() or not 7 <= len(group) <= 255:
        raise BadInput(f"--name: {name or path.name!r} is no name; it has 1 to 249 printable characters")
    return group


async def _recognise(database: Database, file: IO[bytes], group: str) -> None:
    known = await database.fetch(_SQL["head"], _Head, {"group": group})
    if not known:
        head = file.read(HEAD_BYTES)
        given = {"group": group, "head_bytes": len(head), "head": sha256(head).digest()}
        await database.execute(_SQL["begin"], given)
    elif sha256(file.read(known[0].head_bytes)).digest() != known[0].head:
        raise BadInput(
            f"{file.name} is not the file that was read as {group}: its first {known[0].head_bytes:,} bytes are others;"
            " give it another name with --name NAME"
        )
    file.seek(0)
