"""Changes of flags: each is one transaction with its line in the audit log, and refused if the flag is not at the
version that its author looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from hark.access import audit
from hark.access.audit import Act
from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput, OutOfDate
from hark.flags import segments
from hark.flags.rules import Kept, Listed, Named, Rule, SegmentKind, check_flag, check_ids, kind_of, segment_faults
from hark.flags.segments import Change, Connection, FlagNow, Held
from hark.lists import FileReach, locate
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and when. `if_version`: only if the flag is at this version; None: whatever it is at."""

    who: str
    now: datetime
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A flag after a change, and what became of the segment, if it was about one. `moved`: whether there was anything
    to change; `version` is the flag's."""

    flag: str
    version: int
    moved: bool
    segment: str | None = None
    members: int = 0
    joined: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    version: int
    is_on: bool


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


async def create(database: Database, flag: str, author: Author) -> Changed:
    """Make a flag. It lets nobody in until it has segments.

    Raises:
        BadInput: it cannot be called so, or there is one of that name.
    """
    check_flag(flag)
    async with database.as_one() as one:
        if not await one.execute(_SQL["create"], {"flag": flag, "now": author.now}):
            raise BadInput(f"there is a flag {flag} already; hark flags show {flag} says what it is made of")
        await _note(one, author, Act.FLAG_CREATE, flag, {})
    return Changed(flag, 1, moved=True)


async def turn(database: Database, flag: str, author: Author, *, on: bool) -> Changed:
    """Turn a flag on or off. While it is off it lets nobody in; who was enrolled, and its segments, stay.

    Raises:
        BadInput: there is no such flag.
        OutOfDate: it is at another version.
    """
    async with database.as_one() as one, one.connection() as connection:
        found = await hold(connection, flag, author, schema=database.schema)
        if found.is_on is on:
            return Changed(flag, found.version, moved=False)
        given = {"flag": flag, "is_on": on, "now": author.now}
        (seen,) = await fetch(connection, _SQL["turn"], FlagNow, given, schema=database.schema)
        await _note(one, author, Act.FLAG_TURN, flag, {"on": on, "version": seen.version})
    return Changed(flag, seen.version, moved=True)


async def set_segment(
    database: Database, flag: str, segment: str, rule: Rule | None, author: Author, *, reach: FileReach
) -> Changed:
    """Make a segment part of a flag, and let it be what a rule says, whoever was in it before.

    Args:
        rule: None: the segment is there, and stays as it is.
        reach: from where a file may be read.

    Raises:
        BadInput: there is no such flag or (without a rule) segment, the name or an id cannot be one, a file may not be
            read or is not there.
        FileFaults: a file is not what it should be.
        OutOfDate: the flag is at another version.
        Unreachable: a store does not answer.
    """
    _check_rule(segment, rule, reach)
    async with _changing(database, flag) as (connection, one):
        etag = await segments.bring(connection, rule, reach, schema=database.schema) if rule is not None else None
        async with connection.transaction():
            before = await _locked(one, connection, segment, rule, author)
            found = await hold(connection, flag, author, schema=database.schema, segment=segment)
            joins = await one.execute(_SQL["attach"], {"flag": flag, "segment": segment, "now": author.now}) == 1
            change = await _ruled(connection, before, rule, flag, author, etag, database.schema)
            version = await _version(connection, found, change, author, database.schema, moved=joins)
            changed = _changed(found, version, change)
            if changed.moved:
                await _note(one, author, Act.SEGMENT_SET, flag, {**_detail(changed), **_said(rule)})
    return changed


async def add_users(
    database: Database, flag: str, segment: str, users: Named | Listed, author: Author, *, reach: FileReach
) -> Changed:
    """Let these users be in a segment of a flag, too; raises what `set_segment` does.

    Only a segment of named users takes any: who is in another one is said elsewhere.
    """
    return await _some(database, flag, segment, users, author, reach, adds=True)


async def remove_users(
    database: Database, flag: str, segment: str, users: Named | Listed, author: Author, *, reach: FileReach
) -> Changed:
    """Let these users be in a segment no more; who is not in it is not missed. Raises what `add_users` does."""
    return await _some(database, flag, segment, users, author, reach, adds=False)


async def remove_segment(
    database: Database, flag: str, segment: str, author: Author, *, forget: bool = False
) -> Changed:
    """Take a segment out of a flag; it stays, for other flags and for cohorts.

    Args:
        forget: forget it and its members, too.

    Raises:
        BadInput: there is no such flag, or it has no such segment; it is to be forgotten, and part of another flag.
        OutOfDate: the flag is at another version.
    """
    async with database.as_one() as one, one.connection() as connection:
        before = await segments.held(connection, segment, schema=database.schema)
        found = await hold(connection, flag, author, schema=database.schema, segment=segment)
        await _check_attached(one, flag, segment)
        await one.execute(_SQL["detach"], {"flag": flag, "segment": segment})
        given = {"flag": flag, "now": author.now}
        (seen,) = await fetch(connection, _SQL["raise"], FlagNow, given, schema=database.schema)
        if forget and before is not None and not await segments.drop(connection, segment, schema=database.schema):
            raise BadInput(f"segment {quoted(segment)} is part of another flag too, so it cannot be forgotten")
        detail = {"segment": segment, "version": seen.version, "forgotten": forget}
        await _note(one, author, Act.SEGMENT_REMOVE, flag, detail)
    return Changed(found.name, seen.version, moved=True, segment=segment)


# The parts of a change ------------------------------------------------------------------------------------------------


async def hold(connection: Connection, flag: str, author: Author, *, schema: str, segment: str | None = None) -> _Flag:
    """Lock a flag for the rest of the transaction.

    Args:
        segment: what is changed of it. It is locked already, and now all flags that it is part of are.

    Raises:
        BadInput: there is no such flag.
        OutOfDate: it is at another version than its author looked at.
    """
    given = {"flag": flag, "segment": segment}
    locked = {each.name: each for each in await fetch(connection, _SQL["hold"], _Flag, given, schema=schema)}
    if flag not in locked:
        raise no_flag(flag, [each.name for each in await fetch(connection, _SQL["names"], _Name, schema=schema)])
    found = locked[flag]
    if author.if_version not in (None, found.version):
        raise OutOfDate(
            f"flag {flag} is at version {found.version}, not {author.if_version}; look at it again, and then say so"
        )
    return found


def is_off(flag: str) -> str:
    """What to say of a flag that is off, where it is to let somebody in."""
    return f"{flag} is off and lets nobody in; turn it on: hark flags on {flag}"


def no_flag(flag: str, known: Sequence[str]) -> BadInput:
    """What to say where there is no flag of a name."""
    return BadInput(f"{quoted(flag)}: {no_such('flag', flag, known)}")


async def check_known(database: Database, flag: str) -> None:
    """Make sure that there is such a flag.

    Raises:
        BadInput: there is none.
    """
    known = [each.name for each in await database.fetch(_SQL["names"], _Name)]
    if flag not in known:
        raise no_flag(flag, known)


@asynccontextmanager
async def _changing(database: Database, flag: str) -> AsyncIterator[tuple[Connection, Database]]:
    """A connection to bring ids on, and the database by that connection alone. That there is such a flag is looked at
    before anything is read for it."""
    await check_known(database, flag)
    async with segments.incoming(database) as connection:
        yield connection, database.by(connection)


async def _some(
    database: Database,
    flag: str,
    segment: str,
    users: Named | Listed,
    author: Author,
    reach: FileReach,
    *,
    adds: bool,
) -> Changed:
    _check_rule(segment, users, reach)
    async with _changing(database, flag) as (connection, one):
        await segments.bring(connection, users, reach, schema=database.schema)
        async with connection.transaction():
            before = await segments.held(connection, segment, schema=database.schema)
            found = await hold(connection, flag, author, schema=database.schema, segment=segment)
            await _check_attached(one, flag, segment)
            assert before is not None
            _check_named(before)
            move = segments.add_members if adds else segments.remove_members
            change = await move(connection, before, author.now, schema=database.schema)
            changed = _changed(found, _risen(found, change), change)
            if changed.moved:
                await _note(one, author, Act.SEGMENT_ADD if adds else Act.SEGMENT_CUT, flag, _detail(changed))
    return changed


async def _locked(one: Database, connection: Connection, segment: str, rule: Rule | None, author: Author) -> Held:
    if rule is not None:
        return await segments.lock(connection, segment, author.now, schema=one.schema)
    found = await segments.held(connection, segment, schema=one.schema)
    if found is None:
        raise BadInput(f"there is no segment {quoted(segment)} yet; say what it is made of, as --ids bob,carol")
    return found


async def _ruled(
    connection: Connection,
    before: Held,
    rule: Rule | None,
    flag: str,
    author: Author,
    etag: str | None,
    schema: str,
) -> Change:
    if rule is None:
        return Change(before.name, before.version, 0, 0, 0, ())
    return await segments.replace_members(connection, before, rule, author.now, schema=schema, etag=etag, salt=flag)


async def _version(
    connection: Connection, found: _Flag, change: Change, author: Author, schema: str, *, moved: bool
) -> int:
    """The flag's version after it. A segment that changed has raised it already."""
    risen = _risen(found, change)
    if risen != found.version or not moved:
        return risen
    (seen,) = await fetch(connection, _SQL["raise"], FlagNow, {"flag": found.name, "now": author.now}, schema=schema)
    return seen.version


def _risen(found: _Flag, change: Change) -> int:
    return next((each.version for each in change.flags if each.name == found.name), found.version)


async def _check_attached(one: Database, flag: str, segment: str) -> None:
    has = [each.name for each in await one.fetch(_SQL["attached"], _Name, {"flag": flag})]
    if segment not in has:
        raise BadInput(f"{quoted(segment)}: {no_such(f'segment of flag {flag}', segment, has)}")


def _check_named(before: Held) -> None:
    if before.kind != SegmentKind.IDS:
        kinds = {"object": "of an object", "internal": "of internal users", "rollout": "a rollout"}
        raise BadInput(
            f"segment {quoted(before.name)} is {kinds[before.kind]}: nobody is added to it or removed one by one;"
            " set says anew what it is made of"
        )


def _check_rule(segment: str, rule: Rule | None, reach: FileReach) -> None:
    faults = segment_faults(segment)
    if faults:
        raise BadInput("\n".join(faults))
    if isinstance(rule, Named):
        check_ids(rule.ids)
    if isinstance(rule, Kept | Listed):
        locate(rule.file.url, reach)


def _changed(found: _Flag, version: int, change: Change) -> Changed:
    moved = version != found.version
    return Changed(found.name, version, moved, change.segment, change.members, change.joined, change.gone)


def _detail(changed: Changed) -> dict[str, object]:
    """For the audit log: how many, never who."""
    counts = {"members": changed.members, "joined": changed.joined, "gone": changed.gone}
    return {"segment": changed.segment, "version": changed.version, **counts}


def _said(rule: Rule | None) -> dict[str, object]:
    said: dict[str, object] = {} if rule is None else {"kind": kind_of(rule).value}
    return {**said, "url": rule.file.url} if isinstance(rule, Kept) else said


async def _note(one: Database, author: Author, what: Act, flag: str, detail: Mapping[str, object]) -> None:
    await audit.record(one, author.now, author.who, what, f"flag:{flag}", detail)
