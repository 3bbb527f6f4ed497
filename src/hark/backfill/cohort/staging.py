"""Stage a cohort: read its lists through COPY, then sort out in the database who is known, once each.

What is read lies in temporary tables until all of it is there and found good; then one transaction writes the cohort.
No transaction is open while a source is read, and of a list no more than a few blocks are in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from hark.backfill.cohort.kept import FLAG, SEGMENT, Staged, load
from hark.backfill.cohort.members import meant_query, members_query
from hark.backfill.cohort.spec import Buyers, Cohort, Everyone, Flag, Ids, List, Segment, Who, leaves, lists_of
from hark.catalogue.wording import no_such, quoted
from hark.errors import FAULTS_SHOWN, BadInput, Fault, FileFaults
from hark.lists import File, FileReach, ObjectSeen
from hark.lists.reading import Reading
from hark.lists.rows import Bad, Chunk
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

MAKE_TABLES = _SQL["make_tables"]
LIST = 1 << 40
"""A place is the number of its list times this, and its line."""
_MEMORY = "64MB"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Connection = AsyncConnection[Any]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Named:
    duplicates: int
    unknown: int
    other_types: int


@dataclass(frozen=True, slots=True)
class _Excluded:
    excluded: int


@dataclass(frozen=True, slots=True)
class _Excluding:
    """Of lists that leave out: unknown users, and a bit for each list of which one at least would be meant."""

    unknown: int = 0
    meant: int = 0


@dataclass(frozen=True, slots=True)
class _Version:
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(slots=True)
class _Tally:
    """What has been read so far: of all lists `read` rows, the others of those that add."""

    rows: int = 0
    bad: int = 0
    blank: int = 0
    read: int = 0
    objects: list[ObjectSeen] = field(default_factory=list)


async def stage(
    database: Database,
    cohort: Cohort,
    *,
    user_types: Sequence[str] | None,
    now: datetime,
    reach: FileReach,
    progress: Progress = lambda _rows: None,
    strangers: bool = False,
) -> Staged:
    """Read a cohort's lists, and keep who is meant.

    Args:
        user_types: only users of these types become members; None: of any.
        reach: from where its files may be read.
        progress: told now and then how many rows were read.
        strangers: also users whom nobody told Hark of as recipients; with user types that is nobody.

    Raises:
        BadInput: a file may not be read, is not there or was changed meanwhile; there is no such segment or flag.
        FileFaults: a file is not what it should be, or a list of users to leave out has lines that name nobody.
        Unreachable: a store or the database does not answer.
        Whatever it is, nothing is staged then.
    """
    lists = lists_of(cohort.who)
    types = None if user_types is None else sorted(set(user_types))
    async with database.connection() as connection, _tables(connection):
        named = await _all_versions(connection, cohort.who, database.schema)
        tally = await _read_all(connection, lists, reach, progress)
        tally.objects += named
        async with connection.transaction():
            settling = _Settling(connection, database.schema, cohort.who, lists, types, strangers)
            cohort_id = await settling.settle(cohort, tally, now)
    return await load(database, cohort_id)


@asynccontextmanager
async def _tables(connection: Connection) -> AsyncIterator[None]:
    await connection.execute(MAKE_TABLES.sql)
    try:
        yield
    finally:
        if connection.info.transaction_status is TransactionStatus.IDLE:
            await connection.execute(_SQL["drop_tables"].sql)
        else:
            await connection.close()  # canceled in the middle of a COPY: the tables go with it


async def check_names(database: Database, cohort: Cohort) -> None:
    """Make sure that the segments and flags of a cohort are there by now, for one that is staged later.

    Raises:
        BadInput: all that are not, one a line.
    """
    _refuse(await missing_names(database, cohort.who))


async def missing_names(database: Database, who: Who) -> Mapping[Segment | Flag, str]:
    """The segments and flags that are named and not there, each with what there is to say of it."""
    async with database.connection() as connection:
        return (await _look_up(connection, who, database.schema))[1]


async def _all_versions(connection: Connection, who: Who, schema: str) -> list[ObjectSeen]:
    """The segments and flags that a cohort names, at their versions."""
    seen, missing = await _look_up(connection, who, schema)
    _refuse(missing)
    return seen


def _refuse(missing: Mapping[Segment | Flag, str]) -> None:
    if missing:
        raise BadInput("\n".join(missing.values()))


async def _look_up(connection: Connection, who: Who, schema: str) -> tuple[list[ObjectSeen], dict[Segment | Flag, str]]:
    seen: list[ObjectSeen] = []
    missing: dict[Segment | Flag, str] = {}
    for kind in (Segment, Flag):
        names = sorted({leaf.name for leaf, _ in leaves(who) if isinstance(leaf, kind)})
        if names:
            seen += await _versions(connection, names, kind, schema)
            missing |= await _missing(connection, names, kind, schema)
    return seen, missing


async def _versions(
    connection: Connection, names: Sequence[str], kind: type[Segment] | type[Flag], schema: str
) -> list[ObjectSeen]:
    """The segments, or the flags, of these names that are there, at their versions."""
    what, before = ("segment", SEGMENT) if kind is Segment else ("flag", FLAG)
    found = await fetch(connection, _SQL[f"{what}s"], _Version, {"names": names}, schema=schema)
    return [ObjectSeen(f"{before}{each.name}", str(each.version), "", 0) for each in found]


async def _missing(
    connection: Connection, names: Sequence[str], kind: type[Segment] | type[Flag], schema: str
) -> dict[Segment | Flag, str]:
    what = "segment" if kind is Segment else "flag"
    known = [each.name for each in await fetch(connection, _SQL[f"{what}_names"], _Name, schema=schema)]
    return {kind(name): f"{quoted(name)}: {no_such(what, name, known)}" for name in names if name not in known}


# Reading --------------------------------------------------------------------------------------------------------------


async def _read_all(connection: Connection, lists: Sequence[List], reach: FileReach, progress: Progress) -> _Tally:
    tally = _Tally()
    for each in lists:
        if isinstance(each.listed, Ids):
            ids = each.listed.ids
            await _keep(connection, each, Chunk(range(1, len(ids) + 1), ids), tally)
        else:
            await _read_file(connection, each, each.listed, reach, tally, progress)
        progress(tally.read)
    return tally


async def _read_file(
    connection: Connection, each: List, file: File, reach: FileReach, tally: _Tally, progress: Progress
) -> None:
    refused: list[Fault] = []
    bad = 0
    reading = Reading(file, reach)
    async with aclosing(reading.chunks()) as coming:
        async for chunk in coming:
            await _keep(connection, each, chunk, tally)
            refused += [Fault(one.line, one.text, one.what) for one in chunk.bad][: FAULTS_SHOWN - len(refused)]
            bad += len(chunk.bad)
            progress(tally.read)
    if refused and not each.adds:
        raise FileFaults(file.url, _of_an_exclusion(refused, bad))
    assert reading.seen is not None, "it was read to its end"
    tally.objects.append(reading.seen)


def _of_an_exclusion(first: Sequence[Fault], count: int) -> list[Fault]:
    """Who is to be left out must be known: a line that cannot be read could be anybody."""
    more = [Fault(0, "", f"and {count - len(first):,} more")] if count > len(first) else []
    why = Fault(0, "", "names whom to leave out, so each of its lines must be good; nothing was staged")
    return [*first, *more, why]


async def _keep(connection: Connection, each: List, chunk: Chunk, tally: _Tally) -> None:
    base = each.number * LIST
    if isinstance(chunk.lines, range) and chunk.ids:
        await connection.execute(_SQL["number_from"].sql, {"place": base + chunk.lines.start})
        await _copy(connection, _SQL["copy_ids"], _escaped("\n".join([*chunk.ids, ""])))
    else:
        await _copy(connection, _SQL["copy_lines"], _copied(base, chunk))
    await _copy(connection, _SQL["copy_bad"], "".join(_copied_bad(base, bad) for bad in chunk.bad))
    tally.read += chunk.rows
    if each.adds:
        tally.rows += chunk.rows
        tally.bad += len(chunk.bad)
        tally.blank += chunk.blank


async def _copy(connection: Connection, statement: Query, text: str) -> None:
    if not text:
        return
    async with connection.cursor() as cursor, cursor.copy(statement.sql) as copy:
        await copy.write(text)


def _copied(base: int, chunk: Chunk) -> str:
    return _escaped("".join([f"{base + line}\t{name}\n" for line, name in zip(chunk.lines, chunk.ids, strict=True)]))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\") if "\\" in text else text


def _copied_bad(base: int, bad: Bad) -> str:
    return f"{base + bad.line}\t{bad.what.translate(_ESCAPES)}\t{bad.text.translate(_ESCAPES)}\n"


# Settling -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Settling:
    """The transaction that makes members out of what was read."""

    connection: Connection
    schema: str
    who: Who
    lists: Sequence[List]
    user_types: Sequence[str] | None
    strangers: bool

    async def settle(self, cohort: Cohort, tally: _Tally, now: datetime) -> int:
        """Write the cohort; its id."""
        cohort_id = await self._put(cohort, tally, now)
        await self._classify()
        members = await self._execute(*members_query(self.who, [each.listed for each in self.lists]), cohort=cohort_id)
        named = await self._one(_SQL["count_named"], _Named)
        excluded = await self._excluded(cohort_id)
        excluding = await self._excluding()
        await self._execute(_SQL["put_unknown"], {}, cohort=cohort_id)
        await self._execute(_SQL["put_bad"], {}, cohort=cohort_id)
        counts = {
            "members": members,
            "rows": tally.rows,
            "bad": tally.bad,
            "blank": tally.blank,
            "duplicates": named.duplicates,
            "unknown": named.unknown,
            "other_types": named.other_types,
            "excluded": excluded,
            "excluded_unknown": excluding.unknown,
            "leaving_nobody": [
                each.number for each in self.lists if not (each.adds or excluding.meant >> each.number & 1)
            ],
        }
        await self._execute(_SQL["settle_counts"], counts, cohort=cohort_id)
        return cohort_id

    async def _put(self, cohort: Cohort, tally: _Tally, now: datetime) -> int:
        objects = [{"url": o.url, "etag": o.etag, "sha256": o.sha256, "size": o.size} for o in tally.objects]
        given = {"spec": Jsonb(cohort.as_json()), "objects": Jsonb(objects), "now": now}
        made: _Id = await self._one(_SQL["put_cohort"], _Id, **given)
        return made.id

    async def _classify(self) -> None:
        if not self.lists:
            return
        await self.connection.execute(_SQL["look_at_lines"].sql)
        await self.connection.execute(_SQL["give_memory"].sql, {"memory": _MEMORY})
        await self.connection.execute(_SQL["begin_named"].sql)
        await self._execute(_SQL["classify"], {})

    async def _excluded(self, cohort_id: int) -> int:
        if not self.lists or all(adds for _, adds in leaves(self.who)):
            return 0
        found: _Excluded = await self._one(_SQL["count_excluded"], _Excluded, cohort=cohort_id)
        return found.excluded

    async def _excluding(self) -> _Excluding:
        if all(each.adds for each in self.lists):
            return _Excluding()
        adding = [leaf for leaf, adds in leaves(self.who) if adds]
        given = {"everyone": Everyone() in adding, "adding_lists": (1 << sum(each.adds for each in self.lists)) - 1}
        found: _Excluding = await self._one(_SQL["count_excluding"], _Excluding, **given)
        others = [leaf for leaf in adding if isinstance(leaf, Segment | Flag | Buyers)]
        if not others:
            return found
        query, more = meant_query(others, [each.listed for each in self.lists])
        also: _Excluding = await self._one(query, _Excluding, **given, **more)
        return replace(found, meant=found.meant | also.meant)

    async def _one(self, query: Query, row: type[Any], **given: object) -> Any:
        rows = await fetch(self.connection, query, row, {**self._common(), **given}, schema=self.schema)
        return rows[0]

    async def _execute(self, query: Query, given: dict[str, object], **more: object) -> int:
        cursor = await self.connection.execute(query.text(self.schema), {**self._common(), **given, **more})
        return cursor.rowcount

    def _common(self) -> dict[str, object]:
        adding = sum(1 for each in self.lists if each.adds)
        return {"adding": adding * LIST, "user_types": self.user_types, "strangers": self.strangers}
