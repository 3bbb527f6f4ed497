"""Streams that are files: one message a line, `{"topic": …, "value": {…}}`, or its value alone where the topic is told.

A line's number is its offset, and the position lies where those of topics do: the same command goes on behind the
last line that was taken, and a line that is only half written is left to it. Blank lines say nothing, and are passed
over. A file that begins otherwise than the one that was read under its name is refused. Standard input has no position:
whoever sends it again sends all of it, and facts do not mind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from psycopg import AsyncConnection

from hark.errors import BadInput
from hark.history.live import positions
from hark.history.live.ingest import Ingestor, Letter, Message, bury
from hark.history.live.lines import Piped, Source, Written
from hark.history.live.positions import Displaced, Move, Position
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

HEAD_BYTES = 4096
"""How much of a file is compared, to tell it from another one."""
TOPIC = "lines"
"""What positions of files have for a topic: a file's lines may be of several."""
_REPORT = timedelta(seconds=1)
"""How often one that waits for lines reports the version of the flag that it acts on."""
_AT_ONCE = 10_000


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
    _source: Source = field(init=False, repr=False)
    _read_to: int = field(default=0, repr=False)
    _pending: list[Message] = field(default_factory=list, repr=False)
    _reported_at: datetime | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._source = self._opened()

    @property
    def torn(self) -> bool:
        """Whether a last line was left to the next reading, because only its beginning is there."""
        return self._source.torn

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
            self._source = self._opened()
            self._read_to = await asyncio.to_thread(self._pass_over, known.position)
        return self.position

    async def step(self) -> bool:
        """Take the next lines, if there are any; False: there are no more. What could not be written is taken again.

        Raises:
            psycopg.Error, Unreachable: the database is away.
        """
        if not self._pending:
            self._pending = await asyncio.to_thread(self._read)
        if self._pending or self._read_to > self.position:
            await self._take()
        elif not self._source.ended:
            await self._idle()
        return bool(self._pending) or not self._source.ended

    async def _take(self) -> None:
        left = [each for each in self._pending if each.offset >= self.position]
        try:
            if left:
                await self.ingestor.take(left, self)
            await self._pass()
        except Displaced:
            self._pending = []
            await self.begin()
            return
        self._pending = []

    async def _pass(self) -> None:
        """Move on behind blank lines that came last."""
        if self._read_to <= self.position:
            return
        if self.kept:
            database, now = self.ingestor.database, self.ingestor.clock.now()
            async with database.transaction() as connection:
                await self._move(connection, self._read_to, now=now, schema=database.schema)
        self.position = self._read_to

    async def _idle(self) -> None:
        """Say on which version of the flag this acts, though there is nothing to act on."""
        now = self.ingestor.clock.now()
        if self._reported_at is None or now - self._reported_at >= _REPORT:
            await self.ingestor.gate.view()
            self._reported_at = now

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
            await self._move(connection, messages[-1].offset + 1, now=now, schema=schema)
        await bury(connection, self.group, letters, now=now, schema=schema)

    def settled(self, messages: Sequence[Message]) -> None:
        """See `Place`."""
        self.position = messages[-1].offset + 1

    async def _move(self, connection: AsyncConnection[Any], to: int, *, now: datetime, schema: str) -> None:
        move = Move(TOPIC, 0, self.position, to, to)
        await positions.move(connection, self.group, [move], now=now, schema=schema)

    def _opened(self) -> Source:
        return Written(self.file) if self.kept else Piped(self.file)

    def _pass_over(self, many: int) -> int:
        """Read lines that are taken already; how many there were."""
        passed = 0
        while passed < many and (lines := self._source.read(min(many - passed, _AT_ONCE))):
            passed += len(lines)
        return passed

    def _read(self) -> list[Message]:
        """The next lines that say something, as messages."""
        opened = self.ingestor.topics.opened
        lines = self._source.read(self.chunk)
        begin, self._read_to = self._read_to, self._read_to + len(lines)
        found = []
        for number, line in enumerate(lines, begin):
            if line.strip():
                topic, value = (self.topic, line) if self.topic else opened(line)
                found.append(Message(topic, 0, number, value.rstrip(b"\r\n")))
        return found


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
