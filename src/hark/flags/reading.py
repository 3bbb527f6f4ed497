"""Flags in this process: read whole once, then only what changed, whenever a version says that something did.

What is read is of one moment (one snapshot of the database), and a segment that did not change is not read again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection
from psycopg.sql import SQL, Literal

from hark.flags.deciding import Enrolled, FlagSeen, Rolling, SegmentSeen, Snapshot
from hark.flags.members import Members
from hark.flags.rules import SegmentKind
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

MOVED_KEPT = 10_000
"""How many who came and went are kept beside those who were enrolled before; then all are read anew."""

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

Connection = AsyncConnection[tuple[object, ...]]
Listener = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class _Version:
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    version: int
    is_on: bool


@dataclass(frozen=True, slots=True)
class _Segment:
    flag: str
    name: str
    version: int
    kind: str
    share: int | None
    salt: str | None


@dataclass(frozen=True, slots=True)
class _Moved:
    user_id: str
    is_in: bool


@dataclass(slots=True)
class FlagReader:
    """The flags of a database as this process knows them.

    Attributes:
        only: the flags to know; None: all.
        snapshot: what was read last.
    """

    database: Database
    only: frozenset[str] | None = None
    snapshot: Snapshot = field(default_factory=Snapshot)
    _listeners: list[Listener] = field(default_factory=list)

    def listen(self, listener: Listener) -> None:
        """Tell it the names of flags that changed, whenever some did."""
        self._listeners.append(listener)

    async def refresh(self) -> Snapshot:
        """Read what changed since; a query over the flags' versions if nothing did."""
        found = await self.database.fetch(_SQL["versions"], _Version)
        now = {each.name: each.version for each in found if self._knows(each.name)}
        before = {name: seen.version for name, seen in self.snapshot.flags.items()}
        if now != before:
            self.snapshot = await self._read()
            self._tell(before)
        return self.snapshot

    def _knows(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _tell(self, before: Mapping[str, int]) -> None:
        after = {name: seen.version for name, seen in self.snapshot.flags.items()}
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        for listener in self._listeners:
            listener(changed)

    async def _read(self) -> Snapshot:
        async with self.database.transaction() as connection:
            await connection.execute("set transaction isolation level repeatable read, read only")
            return await _Reading(connection, self.database.schema, self.snapshot, self._knows).snapshot()


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading, in one transaction; what is known at its version is taken from the snapshot before."""

    connection: Connection
    schema: str
    before: Snapshot
    knows: Callable[[str], bool]

    async def snapshot(self) -> Snapshot:
        flags = await fetch(self.connection, _SQL["flags"], _Flag, schema=self.schema)
        parts = await fetch(self.connection, _SQL["segments"], _Segment, schema=self.schema)
        known = {each.name: each for flag in self.before.flags.values() for each in flag.segments}
        rows = {each.name: each for each in parts if self.knows(each.flag)}
        segments = {name: await self._segment(row, known) for name, row in rows.items()}
        return Snapshot(
            {
                flag.name: FlagSeen(
                    flag.name,
                    flag.version,
                    flag.is_on,
                    tuple(segments[each.name] for each in parts if each.flag == flag.name),
                    await self._enrolled(flag),
                )
                for flag in flags
                if self.knows(flag.name)
            }
        )

    async def _segment(self, row: _Segment, known: Mapping[str, SegmentSeen]) -> SegmentSeen:
        seen = known.get(row.name)
        if seen is not None and seen.version == row.version:
            return seen
        return SegmentSeen(row.name, row.version, SegmentKind(row.kind), await self._who(row))

    async def _who(self, row: _Segment) -> Members | Rolling:
        if row.kind == SegmentKind.ROLLOUT:
            return Rolling(row.salt or "", row.share or 0)
        return await self._members(_SQL["copy_members"], segment=row.name)

    async def _enrolled(self, flag: _Flag) -> Enrolled:
        """Only those who came and went since, unless there are too many of them, or nothing was known yet."""
        seen = self.before.flags.get(flag.name)
        if seen is None or seen.version > flag.version:
            return Enrolled(await self._members(_SQL["copy_enrolled"], flag=flag.name))
        if seen.version == flag.version:
            return seen.enrolled
        given = {"flag": flag.name, "version": seen.version, "limit": MOVED_KEPT + 1}
        moved = await fetch(self.connection, _SQL["moved"], _Moved, given, schema=self.schema)
        if len(moved) + seen.enrolled.moved > MOVED_KEPT:
            return Enrolled(await self._members(_SQL["copy_enrolled"], flag=flag.name))
        came = frozenset(each.user_id for each in moved if each.is_in)
        return seen.enrolled.after(came, frozenset(each.user_id for each in moved if not each.is_in))

    async def _members(self, query: Query, **given: str) -> Members:
        """COPY takes no parameters, so what is given stands in its text, quoted."""
        text = query.text(self.schema)
        for name in given:
            text = text.replace(f"%({name})s", "{" + name + "}")
        whole = bytearray()
        async with self.connection.cursor() as cursor:
            statement = SQL(text).format(**{name: Literal(value) for name, value in given.items()})
            async with cursor.copy(statement) as copy:
                async for block in copy:
                    whole += block
        return Members.of_bytes(_lines(bytes(whole)))


def _lines(copied: bytes) -> Iterator[bytes]:
    """The ids of what COPY gave, one a line."""
    lines = copied.split(b"\n")[:-1]
    if b"\\" not in copied:
        return iter(lines)
    return (_ESCAPED.sub(lambda found: _LETTERS.get(found[1], found[1]), line) for line in lines)
