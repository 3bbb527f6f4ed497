"""Facts: what people bought, one for each line of a receipt or order; the truth that all else is computed from.

One rule for whatever comes, from the live stream or from a load: of each key, the highest word holds. Words are ordered
by version; of one version a deletion is highest, and else their content decides, so that any order of arrival ends the
same. A key that belongs to another user is quarantined. What a load of all of a user's facts lacks is gone as of the
load's version; and so is what a receipt lacks whose lines came `whole`.

Each user whose facts really changed is moved on to a new version, and each changed fact remembers to which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from hark.errors import FAULTS_SHOWN, BadInput
from hark.postgres.database import fetch
from hark.postgres.queries import SCHEMA, Queries

_SQL = Queries.beside(__file__)

MAKE_TABLES = _SQL["make_tables"]
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_TRIES = 5
_NULL = "\\N"
MOST = 2**63 - 1
"""The highest version, and the largest amount."""

Connection = AsyncConnection[Any]


class Kind(StrEnum):
    """Where a fact comes from: a line of a receipt, or an order in the shop."""

    RECEIPT = "receipt"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Fact:
    """One word about one purchased line or order.

    Attributes:
        key: `receipt:<id>:<line>` or `order:<button order id>`; it belongs to the user who first has it.
        version: of the row in its source, from 0; the highest holds.
        product_id: what was bought. It, the quantity and the time may lack only if it is deleted.
        store_id: where; None: not known.
        amount_minor: what was paid, in the currency's minor units, e.g. cents; None: not known.
        currency: three letters; None exactly if there is no amount.
        quantity: how many or how much, up to three decimals.
        occurred_at: when, aware.
        deleted: it is no more, or never was.
        whole: it comes with all other lines that its receipt has in this version: those that it lacks are gone. A
            receipt that is gone itself is `Fact.gone`.
    """

    user_id: str
    key: str
    version: int
    product_id: str | None = None
    store_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    quantity: Decimal | None = None
    occurred_at: datetime | None = None
    deleted: bool = False
    whole: bool = False

    @property
    def kind(self) -> Kind:
        """By its key."""
        return Kind.ORDER if self.key.startswith("order:") else Kind.RECEIPT

    @classmethod
    def gone(cls, user_id: str, receipt_id: str, version: int) -> Fact:
        """Of a receipt that is no more: all its lines, known or not, are gone as of this version."""
        return cls(user_id, f"{receipt_key(receipt_id)}:", version, deleted=True, whole=True)


def receipt_key(receipt_id: str) -> str:
    """What the keys of a receipt's lines begin with, without the last colon."""
    return f"{Kind.RECEIPT}:{receipt_id}"


def line_key(receipt_id: str, line: int | str) -> str:
    """The key of a line of a receipt; `line` has no colon."""
    return f"{receipt_key(receipt_id)}:{line}"


def order_key(button_order_id: str) -> str:
    """The key of an order: by the id that the live stream calls summaryID."""
    return f"{Kind.ORDER}:{button_order_id}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A full load of one user's facts of one kind: they are all that its source has, from a time on, as of a version.

    Attributes:
        since: the look-back's start; what is older is left alone. By the window's start, if it is all that counts.
        version: the source's watermark: all rows up to it were visible. What the load lacks is gone up to it, and what
            is newer is left alone.
        facts: what it lists.
    """

    user_id: str
    kind: Kind
    since: datetime
    version: int
    facts: Sequence[Fact]


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
    _refuse(facts)
    return await _record(connection, facts, (), now, by, schema)


async def record_snapshots(
    connection: Connection, snapshots: Sequence[Snapshot], *, now: datetime, by: int, schema: str = SCHEMA
) -> Recorded:
    """Keep what full loads list, by the same rule, and bury what they lack.

    Args:
        snapshots: at most one for each user and kind.
        by: the backfill that loads them.

    Raises:
        BadInput: a fact that cannot be, or is not of its snapshot; nothing is recorded then.
    """
    facts = [fact for each in snapshots for fact in each.facts]
    _refuse(facts, [what for each in snapshots for what in _faults_of_snapshot(each)])
    return await _record(connection, facts, snapshots, now, by, schema)


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
        await connection.execute(_SQL["lock_given"].text(schema), given)
        (row,) = await fetch(connection, _SQL["undo"], _UndoneRow, given, schema=schema)
    return Undone(row.taken, _moved(row.users, row.versions))


# Recording ------------------------------------------------------------------------------------------------------------


async def _record(
    connection: Connection,
    facts: Sequence[Fact],
    snapshots: Sequence[Snapshot],
    now: datetime,
    by: int | None,
    schema: str,
) -> Recorded:
    """A key may become another user's at this very moment: then the batch is recorded once more, and sees it."""
    for _ in range(_TRIES - 1):
        try:
            async with connection.transaction():
                return await _record_once(connection, facts, snapshots, now, by, schema)
        except UniqueViolation as error:
            if error.diag.constraint_name != "fact_key":
                raise
    async with connection.transaction():
        return await _record_once(connection, facts, snapshots, now, by, schema)


async def _record_once(
    connection: Connection,
    facts: Sequence[Fact],
    snapshots: Sequence[Snapshot],
    now: datetime,
    by: int | None,
    schema: str,
) -> Recorded:
    given = {"now": now, "run": by, "live": by is None}
    await connection.execute(MAKE_TABLES.text(schema))
    await _copy(connection, "copy_facts", map(_fact_line, facts))
    await _copy(connection, "copy_snapshots", map(_snapshot_line, snapshots))
    await connection.execute(_SQL["know_users"].text(schema), given)
    await connection.execute(_SQL["lock_users"].text(schema))
    (row,) = await fetch(connection, _SQL["record"], _RecordedRow, given, schema=schema, prepare=False)
    await connection.execute(_SQL["empty_tables"].text(schema))
    counts = (row.given, row.new, row.changed, row.same, row.stale, row.gone, row.refused)
    return Recorded(*counts, _moved(row.users, row.versions))


def _moved(users: Sequence[str], versions: Sequence[int]) -> tuple[Moved, ...]:
    return tuple(map(Moved, users, versions))


async def _copy(connection: Connection, name: str, lines: Iterable[str]) -> None:
    if text := "".join(lines):
        async with connection.cursor() as cursor, cursor.copy(_SQL[name].sql) as copy:
            await copy.write(text)


def _fact_line(fact: Fact) -> str:
    receipt = fact.key.rpartition(":")[0] if fact.whole and fact.kind is Kind.RECEIPT else None
    cells = (
        fact.user_id.translate(_ESCAPES),
        fact.key.translate(_ESCAPES),
        fact.kind.value,
        _text(fact.product_id),
        _text(fact.store_id),
        _plain(fact.amount_minor),
        _text(fact.currency),
        _plain(fact.quantity),
        _plain(fact.occurred_at),
        str(fact.version),
        "t" if fact.deleted else "f",
        _text(receipt),
    )
    return "\t".join(cells) + "\n"


def _snapshot_line(each: Snapshot) -> str:
    return f"{each.user_id.translate(_ESCAPES)}\t{each.kind.value}\t{each.since}\t{each.version}\n"


def _text(value: str | None) -> str:
    return _NULL if value is None else value.translate(_ESCAPES)


def _plain(value: object) -> str:
    return _NULL if value is None else str(value)


# What a fact may be ---------------------------------------------------------------------------------------------------

_RULES: tuple[tuple[Callable[[Fact], bool], str], ...] = (
    (lambda f: _is_id(f.user_id), "its user id must have 1 to 255 characters"),
    (lambda f: _is_key(f.key), "its key must read receipt:<id>:<line> or order:<id>, and have at most 400 characters"),
    (lambda f: 0 <= f.version <= MOST, "its version must be a number from 0 to 2^63 - 1"),
    (
        lambda f: f.deleted or None not in (f.product_id, f.quantity, f.occurred_at),
        "it lacks product, quantity or time",
    ),
    (lambda f: f.product_id is None or _is_id(f.product_id), "its product id must have 1 to 255 characters"),
    (lambda f: f.store_id is None or _is_id(f.store_id), "its store id must have 1 to 255 characters; none: None"),
    (lambda f: (f.amount_minor is None) == (f.currency is None), "it needs both an amount and a currency, or neither"),
    (
        lambda f: f.amount_minor is None or abs(f.amount_minor) <= MOST,
        "its amount must lie within 2^63 - 1 minor units",
    ),
    (lambda f: f.currency is None or _is_currency(f.currency), "its currency must have three capital letters"),
    (
        lambda f: f.quantity is None or _is_quantity(f.quantity),
        "its quantity must lie within 10^9, with three decimals",
    ),
    (lambda f: f.occurred_at is None or _is_moment(f.occurred_at), "its time must have a zone, and a year from 1900"),
)


def _refuse(facts: Sequence[Fact], more: Sequence[str] = ()) -> None:
    """All faults at once."""
    faults = [f"{fact.key!r} of {fact.user_id!r}: {what}" for fact in facts for rule, what in _RULES if not rule(fact)]
    faults += more
    if faults:
        others = [f"and {len(faults) - FAULTS_SHOWN:,} more"] if len(faults) > FAULTS_SHOWN else []
        raise BadInput("\n".join([*faults[:FAULTS_SHOWN], *others]))


def _faults_of_snapshot(each: Snapshot) -> list[str]:
    where = f"the load of {each.user_id!r}'s {each.kind}s"
    faults = [] if _is_moment(each.since) else [f"{where}: its start must have a zone, and a year from 1900"]
    faults += [] if 0 <= each.version <= MOST else [f"{where}: its version must be a number from 0 to 2^63 - 1"]
    return faults + [
        f"{where}: {fact.key!r} of {fact.user_id!r} is of another user or kind, or newer than its version"
        for fact in each.facts
        if (fact.user_id, fact.kind) != (each.user_id, each.kind) or fact.version > each.version
    ]


def _is_id(text: str) -> bool:
    return 0 < len(text) <= 255 and "\0" not in text


def _is_key(key: str) -> bool:
    kind, _, rest = key.partition(":")
    return (
        len(key) <= 400
        and "\0" not in key
        and ((kind == "order" and rest != "") or (kind == "receipt" and ":" in rest[1:]))
    )


def _is_currency(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()


def _is_quantity(quantity: Decimal) -> bool:
    return quantity.is_finite() and abs(quantity) < 10**9 and quantity == round(quantity, 3)


def _is_moment(moment: datetime) -> bool:
    return moment.tzinfo is not None and moment.year >= 1900
