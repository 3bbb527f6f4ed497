"""Segments: saved, named sets of users. What is done here is done on a connection whose transaction the caller ends.

Whoever changes a segment locks it first, and then, in the order of their names, the flags that it is part of: each of
them has another version then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from hark.errors import FAULTS_SHOWN, BadInput, Fault, FileFaults
from hark.flags.rules import (
    Internal,
    Kept,
    Listed,
    Named,
    Rollout,
    Rule,
    SegmentKind,
    check_ids,
    kind_of,
    segment_faults,
)
from hark.lists import File, FileReach, ObjectSeen
from hark.lists.reading import Reading
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

MAKE_INCOMING = _SQL["make_incoming"]
OBJECTS_LOOKED_AT = timedelta(minutes=1)
"""How often it is asked whether an object has another ETag."""
INTERNAL_LOOKED_AT = timedelta(minutes=5)
"""How often internal users are looked up by their addresses."""

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A segment as it is while its row is locked; version 0: it is new."""

    name: str
    version: int
    kind: str
    url: str | None
    format: str | None
    file_column: str | None
    etag: str | None
    internal: Sequence[str] | None
    share: int | None
    salt: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """How many members joined and left."""

    joined: int
    gone: int


@dataclass(frozen=True, slots=True)
class SegmentNow:
    """A segment after a change."""

    version: int
    members: int


@dataclass(frozen=True, slots=True)
class FlagNow:
    """A flag after a change."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Change:
    """What a change came to. `flags` are those whose version moved; a change of nothing moves none."""

    segment: str
    version: int
    members: int
    joined: int
    gone: int
    flags: Sequence[FlagNow]


async def put_segment(database: Database, name: str, members: Sequence[str], now: datetime) -> int:
    """Make these users the members of a segment, whoever was before.

    Returns:
        The segment's version: 1 when it is new, else one more than it had if anybody joined or left.

    Raises:
        BadInput: the name, or an id of a member, cannot be one.
    """
    if faults := segment_faults(name):
        raise BadInput("\n".join([*faults, *_told(lambda: check_ids(members))]))
    check_ids(members)
    async with incoming(database) as connection, connection.transaction():
        await bring_ids(connection, members)
        held = await lock(connection, name, now, schema=database.schema)
        change = await replace_members(connection, held, Named(members), now, schema=database.schema)
    return change.version


def _told(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except BadInput as refusal:
        return str(refusal).splitlines()
    return []


# Who is to be in it ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def incoming(database: Database) -> AsyncIterator[Connection]:
    """A connection in autocommit, with a table of its own for the ids that are brought, for the time of a block."""
    async with database.connection() as connection:
        await connection.execute(MAKE_INCOMING.sql)
        try:
            yield connection
        finally:
            match connection.info.transaction_status:
                case TransactionStatus.IDLE | TransactionStatus.INTRANS:
                    await connection.execute(_SQL["drop_incoming"].sql)
                case TransactionStatus.INERROR:
                    pass  # the caller's transaction, in which the table was made, is rolled back
                case _:
                    await connection.close()  # canceled in the middle of a COPY: the table goes with it


async def bring(connection: Connection, rule: Rule, reach: FileReach, *, schema: str) -> str | None:
    """Bring whom a rule means; of a file, the ETag of what was read. No transaction may be open: a file takes its time.

    Raises:
        BadInput: a file may not be read, is not there or was changed meanwhile.
        FileFaults: it is not what it should be, or has lines that name nobody.
        Unreachable: its store does not answer.
    """
    match rule:
        case Named(ids):
            await bring_ids(connection, ids)
        case Listed(file):
            await bring_file(connection, file, reach)
        case Kept(file):
            return (await bring_file(connection, file, reach)).etag
        case Internal(words):
            await _bring_internal(connection, words, schema)
        case Rollout():
            pass
    return None


async def bring_ids(connection: Connection, ids: Sequence[str]) -> None:
    """Bring these."""
    await connection.execute(_SQL["put_incoming"].sql, {"ids": list(ids)})


async def bring_file(connection: Connection, file: File, reach: FileReach) -> ObjectSeen:
    """Bring those of a file or object; raises what `bring` does."""
    reading = Reading(file, reach)
    faults: list[Fault] = []
    async with aclosing(reading.chunks()) as coming:
        async for chunk in coming:
            faults += [Fault(bad.line, bad.text, bad.what) for bad in chunk.bad][: FAULTS_SHOWN - len(faults)]
            await _copy(connection, chunk.ids)
    if faults:
        raise FileFaults(file.url, faults)
    assert reading.seen is not None
    return reading.seen


async def _bring_internal(connection: Connection, words: Iterable[str], schema: str) -> None:
    words = list(words)
    domains = [word for word in words if word.startswith("@")]
    given = {"domains": domains, "ids": [word for word in words if not word.startswith("@")]}
    await connection.execute(_SQL["put_internal"].text(schema), given)


async def _copy(connection: Connection, ids: Sequence[str]) -> None:
    if not ids:
        return
    async with connection.cursor() as cursor, cursor.copy(_SQL["copy_incoming"].sql) as copy:
        await copy.write("\n".join([*ids, ""]).replace("\\", "\\\\"))


# Changes --------------------------------------------------------------------------------------------------------------


async def lock(connection: Connection, name: str, now: datetime, *, schema: str) -> Held:
    """Lock a segment for the rest of the transaction; one that is new is made."""
    (held,) = await fetch(connection, _SQL["lock"], Held, {"segment": name, "now": now}, schema=schema)
    return held


async def held(connection: Connection, name: str, *, schema: str) -> Held | None:
    """Lock a segment for the rest of the transaction; None: there is none of that name."""
    return next(iter(await fetch(connection, _SQL["held"], Held, {"segment": name}, schema=schema)), None)


async def replace_members(
    connection: Connection,
    before: Held,
    rule: Rule,
    now: datetime,
    *,
    schema: str,
    etag: str | None = None,
    salt: str = "",
) -> Change:
    """Let a segment be what a rule says, with whoever was brought.

    Args:
        etag: of the file that was read.
        salt: what users roll with, if it has none yet.
    """
    after = _ruled(before, rule, etag, salt)
    moved = await _move(connection, _SQL["replace"], before.name, now, schema)
    return await _settled(connection, before, after, moved, now, schema)


async def add_members(connection: Connection, before: Held, now: datetime, *, schema: str) -> Change:
    """Let whoever was brought be in a segment, too."""
    moved = await _move(connection, _SQL["add"], before.name, now, schema)
    return await _settled(connection, before, before, moved, now, schema)


async def remove_members(connection: Connection, before: Held, now: datetime, *, schema: str) -> Change:
    """Let whoever was brought be in a segment no more."""
    moved = await _move(connection, _SQL["remove"], before.name, now, schema)
    return await _settled(connection, before, before, moved, now, schema)


async def raise_flags(connection: Connection, segment: str, now: datetime, *, schema: str) -> list[FlagNow]:
    """Another version for all flags that a segment is part of; locks them."""
    return await fetch(connection, _SQL["raise_flags"], FlagNow, {"segment": segment, "now": now}, schema=schema)


async def drop(connection: Connection, name: str, *, schema: str) -> bool:
    """Forget a segment and its members, if it is part of no flag; whether it was forgotten."""
    cursor = await connection.execute(_SQL["drop"].text(schema), {"segment": name})
    if cursor.rowcount == 0:
        return False
    await connection.execute(_SQL["drop_members"].text(schema), {"segment": name})
    return True


def next_look(kind: SegmentKind, now: datetime) -> datetime | None:
    """When a segment of a kind is to be looked at again; None: never, by itself."""
    periods = {SegmentKind.OBJECT: OBJECTS_LOOKED_AT, SegmentKind.INTERNAL: INTERNAL_LOOKED_AT}
    return now + periods[kind] if kind in periods else None


async def _move(connection: Connection, query: Query, segment: str, now: datetime, schema: str) -> Moved:
    given = {"segment": segment, "now": now}
    (moved,) = await fetch(connection, query, Moved, given, schema=schema, prepare=False)
    return moved


def _ruled(before: Held, rule: Rule, etag: str | None, salt: str) -> Held:
    """The segment with another rule. A rollout keeps its salt, so that growing it only adds."""
    bare = Held(before.name, before.version, kind_of(rule), None, None, None, None, None, None, None)
    match rule:
        case Kept(File(url, kind, column)):
            return replace(bare, url=url, format=kind and kind.value, file_column=column, etag=etag)
        case Internal(words):
            return replace(bare, internal=list(words))
        case Rollout(share):
            return replace(bare, share=share, salt=before.salt or salt)
        case _:
            return bare


async def _settled(
    connection: Connection, before: Held, after: Held, moved: Moved, now: datetime, schema: str
) -> Change:
    """A change of nothing leaves all versions as they are, so that nobody reads again what they know."""
    common = {
        "segment": before.name,
        "now": now,
        "look_at": next_look(SegmentKind(after.kind), now),
        "etag": after.etag,
    }
    if before.version and replace(after, etag=before.etag) == before and not (moved.joined or moved.gone):
        (seen,) = await fetch(connection, _SQL["looked"], SegmentNow, common, schema=schema)
        return Change(before.name, seen.version, seen.members, 0, 0, ())
    flags = await raise_flags(connection, before.name, now, schema=schema)
    ruled = {name: getattr(after, name) for name in _RULED}
    given = {**common, **ruled, "joined": moved.joined, "gone": moved.gone}
    (seen,) = await fetch(connection, _SQL["settle"], SegmentNow, given, schema=schema)
    return Change(before.name, seen.version, seen.members, moved.joined, moved.gone, flags)


_RULED = ("kind", "url", "format", "file_column", "internal", "share", "salt")
