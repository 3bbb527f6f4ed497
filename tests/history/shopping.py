"""What the tests of history say of purchases, in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg.rows import namedtuple_row

from hark.history.facts import (
    Fact,
    Kind,
    Recorded,
    Snapshot,
    Undone,
    line_key,
    order_key,
    record_facts,
    record_snapshots,
    undo_facts,
)
from hark.postgres.database import Database

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
A_YEAR = timedelta(days=365)


def line(
    receipt: str,
    number: int = 1,
    *,
    user: str = "ann",
    version: int = 1,
    product: str | None = "milk",
    store: str | None = "north",
    amount: int | None = 129,
    currency: str | None = "EUR",
    quantity: str = "1",
    at: datetime = NOW,
    deleted: bool = False,
    whole: bool = False,
) -> Fact:
    """A line of a receipt: one milk at the north store unless told otherwise."""
    return Fact(
        user,
        line_key(receipt, number),
        version,
        product,
        store,
        amount,
        currency,
        Decimal(quantity),
        at,
        deleted,
        whole,
    )


def order(number: str, *, user: str = "ann", version: int = 1, product: str = "tea", at: datetime = NOW) -> Fact:
    """An order in the shop."""
    return Fact(user, order_key(number), version, product, None, 450, "EUR", Decimal(1), at)


@dataclass(frozen=True, slots=True)
class Shop:
    """Facts recorded in a database, and what it holds then."""

    database: Database

    async def record(self, *facts: Fact, by: int | None = None, now: datetime = NOW) -> Recorded:
        """What the live stream brings, or the run `by`."""
        async with self.database.connection() as connection:
            return await record_facts(connection, facts, now=now, by=by)

    async def load(
        self,
        *facts: Fact,
        by: int = 1,
        version: int = 100,
        user: str = "ann",
        kind: Kind = Kind.RECEIPT,
        since: datetime = JANUARY,
        corrects: bool = False,
    ) -> Recorded:
        """A full load of one user's receipts."""
        return await self.load_all(Snapshot(user, kind, since, version, facts), by=by, corrects=corrects)

    async def load_all(
        self, *snapshots: Snapshot, by: int = 1, now: datetime = NOW, corrects: bool = False
    ) -> Recorded:
        """Full loads at once; `corrects`: forced ones."""
        async with self.database.connection() as connection:
            return await record_snapshots(connection, snapshots, now=now, by=by, corrects=corrects)

    async def undo(self, run: int, *users: str, now: datetime = NOW) -> Undone:
        """Take a run back."""
        async with self.database.connection() as connection:
            return await undo_facts(connection, users, run=run, now=now)

    async def rows(self, sql: str, *params: object) -> Sequence[Any]:
        """Whatever the database says."""
        async with self.database.connection() as connection, connection.cursor(row_factory=namedtuple_row) as cursor:
            await cursor.execute(sql.encode(), params)
            return await cursor.fetchall()

    async def alive(self, user: str = "ann") -> dict[str, int]:
        """The versions of a user's facts by key."""
        rows = await self.rows("select key, version from hark.fact where user_id = %s and not deleted", user)
        return {row.key: row.version for row in rows}

    async def version(self, user: str = "ann") -> int:
        """How far a user's facts have moved on."""
        (row,) = await self.rows("select version from hark.history_user where user_id = %s", user)
        return int(row.version)
