"""Facts: what people bought, one for each line of a receipt or order; the truth that all else is computed from.

One rule for whatever comes, from the live stream or from a load: of each key, the highest word holds. Words are ordered
by version; of one version a deletion is highest, and else their content decides, so that any order of arrival ends the
same. A key that belongs to another user is quarantined. What a load of all of a user's facts lacks is gone as of the
load's version; and so is what a receipt lacks whose lines came `whole`.

Each user whose facts really changed is moved on to a new version, and each changed fact remembers to which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from hark.history.fact import Fact, Kind, Snapshot, faults_of, line_key, order_key, receipt_key, refuse
from hark.postgres.database import fetch
from hark.postgres.queries import SCHEMA, Queries

__all__ = [
    "MAKE_TABLE",
    "Fact",
    "Kind",
    "Moved",
    "Recorded",
    "Snapshot",
    "Undone",
    "line_key",
    "order_key",
    "receipt_key",
    "record_facts",
    "record_snapshots",
    "undo_facts",
]

_SQL = Queries.beside(__file__)

MAKE_TABLE = _SQL["make_table"]
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_COLUMNS = 12
_SLICE = 500
_TRIES = 5

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Moved:
    """A user whose facts really changed, and the version that they are at now."""

    user_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the facts given.

    Attributes:
        given: how many keys they were about.
        new: not heard of before.
        changed: of a higher word than what was held.
        same: no higher word than what is held, as when it is delivered again.
        stale: never heard of, but of a version that a load or a whole receipt had seen without it.
        gone: facts that a load or a whole receipt lacks.
        refused: their key belongs to another user; they are in the quarantine.
        moved: whose facts really changed, in order.
    """

    given: int
    new: int
    changed: int
    same: int
    stale: int
    gone: int
    refused: int
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class _RecordedRow:
    given: int
    new: int
    changed: int
    same: int
    stale: int
    gone: int
    refused: int
    users: Sequence[str]
    versions: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Words:
    """Whose words these are, when they came, and whether they correct."""

    now: datetime
    by: int | None
    corrects: bool = False

    def given(self) -> dict[str, object]:
        return {"now": self.now, "run": self.by, "live": self.by is None, "corrects": self.corrects}


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo took back: `taken` facts that only its run had brought; the users moved on by it, in order."""

    taken: int
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class _UndoneRow:
    taken: int
    users: Sequence[str]
    versions: Sequence[int]


async def record_facts(
    connection: Connection, facts: Sequence[Fact], *, now: datetime, by: int | None, schema: str = SCHEMA
) -> Recorded:
    """Keep the highest word of each key, in one transaction of its own or as part of the connection's.

    Args:
        facts: a batch, some thousands at most; in any order, and again as often as they like.
        by: the backfill that brings them; None: the live stream.

    Raises:
        BadInput: facts that cannot be; nothing is recorded then.
    """
    refuse(facts)
    return await _record(connection, facts, (), _Words(now, by), schema)


async def record_snapshots(
    connection: Connection,
    snapshots: Sequence[Snapshot],
    *,
    now: datetime,
    by: int,
    corrects: bool = False,
    schema: str = SCHEMA,
) -> Recorded:
    """Keep what full loads list, by the same rule, and bury what they lack.

    Args:
        snapshots: at most one for each user and kind.
        by: the backfill that loads them.
        corrects: of one version their word holds, whatever it is, over what only loads have said. What the live stream
            has spoken of stays as the rule has it: so stream and load still end the same, whichever comes first.

    Raises:
        BadInput: a fact that cannot be, or is not of its snapshot; nothing is recorded then.
    """
    facts = [fact for each in snapshots for fact in each.facts]
    refuse(facts, [what for each in snapshots for what in faults_of(each)])
    return await _record(connection, facts, snapshots, _Words(now, by, corrects), schema)


async def undo_facts(
    connection: Connection, users: Sequence[str], *, run: int, now: datetime, schema: str = SCHEMA
) -> Undone:
    """Take back what only this run brought to these users, and the live stream never touched.

    What the run found to be gone stays so, for that is what its source says. A fact that was taken back comes again
    with whoever next speaks of it, whatever its version.

    Args:
        users: some thousands at most.
    """
    given = {"users": list(users), "run": run, "now": now}
    async with connection.transaction():
        await connection.execute(_SQL["lock_given"].text(schema), given, prepare=False)
        (row,) = await fetch(connection, _SQL["undo"], _UndoneRow, given, schema=schema)
    return Undone(row.taken, _moved(row.users, row.versions))


# Recording ------------------------------------------------------------------------------------------------------------


async def _record(
    connection: Connection,
    facts: Sequence[Fact],
    snapshots: Sequence[Snapshot],
    how: _Words,
    schema: str,
) -> Recorded:
    """A key may become another user's at this very moment: then the batch is recorded once more, and sees it."""
    for _ in range(_TRIES - 1):
        try:
            async with connection.transaction():
                return await _record_once(connection, facts, snapshots, how, schema)
        except UniqueViolation as error:
            if error.diag.constraint_name != "fact_key":
                raise
    async with connection.transaction():
        return await _record_once(connection, facts, snapshots, how, schema)


async def _record_once(
    connection: Connection,
    facts: Sequence[Fact],
    snapshots: Sequence[Snapshot],
    how: _Words,
    schema: str,
) -> Recorded:
    words, plain = _highest(facts)
    users = sorted({*(fact.user_id for fact in words), *(each.user_id for each in snapshots)})
    contested = {} if plain else _contested(words)
    claims = {"plain": plain, "contested": [*contested], "first": [*contested.values()]}
    given = {"users": _array(users), **claims, **how.given(), **_loads(snapshots)}
    await connection.execute(MAKE_TABLE.text(schema))
    await connection.execute(_SQL["empty_table"].text(schema))
    await _copy(connection, words)
    await connection.execute(_SQL["know_users"].text(schema), given, prepare=False)
    await connection.execute(_SQL["lock_given"].text(schema), given, prepare=False)
    (row,) = await fetch(connection, _SQL["record"], _RecordedRow, given, schema=schema, prepare=False)
    counts = (row.given, row.new, row.changed, row.same, row.stale, row.gone, row.refused)
    return Recorded(*counts, _moved(row.users, row.versions))


def _highest(facts: Sequence[Fact]) -> tuple[Sequence[Fact], bool]:
    """Of each key the highest word, and whether that leaves one of each.

    It does not where two users claim a key at once, or a line comes both with its whole receipt and alone: then all
    words are left as they are, and the statement sorts them out.
    """
    kept: dict[str, Fact] = {}
    for fact in facts:
        other = kept.setdefault(fact.key, fact)
        if other is fact:
            continue
        if (other.user_id, other.whole) != (fact.user_id, fact.whole):
            return facts, False
        if _rank(fact) > _rank(other):
            kept[fact.key] = fact
    return list(kept.values()), True


def _contested(facts: Sequence[Fact]) -> dict[str, str]:
    """Keys that several users claim, and who of them came first: so it does not matter where a stream is cut."""
    first: dict[str, str] = {}
    contested: dict[str, str] = {}
    for fact in facts:
        user = first.setdefault(fact.key, fact.user_id)
        if user != fact.user_id:
            contested[fact.key] = user
    return contested


def _rank(fact: Fact) -> tuple[tuple[bool, Any], ...]:
    """Which of two words about one key is the higher one: as the statement `record` has it, nothing being the least."""
    said = (fact.occurred_at, fact.product_id, fact.store_id, fact.amount_minor, fact.currency, fact.quantity)
    return ((True, fact.version), (True, fact.deleted), *((each is not None, each) for each in said))


def _array(texts: Sequence[str]) -> str:
    """An array of Postgres, written once for several statements."""
    listed = '","'.join(texts)
    if "\\" in listed or listed.count('"') > 2 * (len(texts) - 1):
        listed = '","'.join(each.replace("\\", "\\\\").replace('"', '\\"') for each in texts)
    return f'{{"{listed}"}}' if texts else "{}"


def _moved(users: Sequence[str], versions: Sequence[int]) -> tuple[Moved, ...]:
    return tuple(map(Moved, users, versions))


def _loads(snapshots: Sequence[Snapshot]) -> dict[str, object]:
    return {
        "load_users": [each.user_id for each in snapshots],
        "load_kinds": [each.kind.value for each in snapshots],
        "load_since": [each.since for each in snapshots],
        "load_versions": [each.version for each in snapshots],
    }


async def _copy(connection: Connection, facts: Sequence[Fact]) -> None:
    """Send rows a slice at a time: while one is made, Postgres takes the one before."""
    if not facts:
        return
    async with connection.cursor() as cursor, cursor.copy(_SQL["copy_facts"].sql) as copy:
        for begin in range(0, len(facts), _SLICE):
            await copy.write(_fact_lines(facts[begin : begin + _SLICE]))


def _fact_lines(facts: Sequence[Fact]) -> str:
    """Rows as COPY reads them; whether any text must be escaped is seen of all at once."""
    lines = "".join(map(_fact_line, facts))
    tabs, ends = _COLUMNS * len(facts) - len(facts), len(facts)
    if "\\" in lines or "\r" in lines or lines.count("\t") != tabs or lines.count("\n") != ends:
        return "".join(map(_fact_line, map(_escaped, facts)))
    return lines


def _fact_line(fact: Fact) -> str:
    """One row as COPY reads it, if there is nothing to escape; no text of a fact is empty, so that is null."""
    key, amount, at = fact.key, fact.amount_minor, fact.occurred_at
    is_order = key.startswith("order:")
    return (
        f"{fact.user_id}\t{key}\t{'order' if is_order else 'receipt'}\t{fact.product_id or ''}\t{fact.store_id or ''}\t"
        f"{'' if amount is None else amount}\t{fact.currency or ''}\t"
        f"{'' if fact.quantity is None else str(fact.quantity)}\t{'' if at is None else _moment(at)}\t"
        f"{fact.version}\t{'t' if fact.deleted else 'f'}\t"
        f"{key.rpartition(':')[0] if fact.whole and not is_order else ''}\n"
    )


def _escaped(fact: Fact) -> Fact:
    return replace(
        fact,
        user_id=fact.user_id.translate(_ESCAPES),
        key=fact.key.translate(_ESCAPES),
        product_id=fact.product_id and fact.product_id.translate(_ESCAPES),
        store_id=fact.store_id and fact.store_id.translate(_ESCAPES),
    )


@lru_cache(maxsize=1_000)
def _moment(at: datetime) -> str:
    """Lines of one receipt are of one moment; to write it takes as long as all the rest of a line."""
    return str(at)
