"""Products and categories as they are known: asked for once, by whichever path first needs them.

Facts note the products that they are of; whoever enriches takes what was never asked for, asks, and keeps the answers,
also that there is none. An empty value never overwrites a category or its hierarchy. When a product's category becomes
another one, what its buyers shop in does as well: they are moved on, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from hark.history import people
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class ProductAnswer:
    """What a source knows of a product; None or empty: it does not."""

    product_id: str
    name: str | None = None
    category_id: str | None = None


@dataclass(frozen=True, slots=True)
class CategoryAnswer:
    """What a source knows of a category: its hierarchy from the root to the leaf; empty: nothing."""

    category_id: str
    hierarchy: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """How many buyers were moved on; whether there are more."""

    moved: int
    more: bool


@dataclass(frozen=True, slots=True)
class _Id:
    id: str


@dataclass(frozen=True, slots=True)
class _Buyer:
    user_id: str


@dataclass(frozen=True, slots=True)
class _Spreading:
    product_id: str
    spread_from: str


async def unasked_products(database: Database, limit: int) -> list[str]:
    """Products that were never asked for, by id."""
    return [row.id for row in await database.fetch(_SQL["unasked_products"], _Id, {"limit": limit})]


async def unasked_categories(database: Database, limit: int) -> list[str]:
    """Categories of which no hierarchy was ever asked for, by id."""
    return [row.id for row in await database.fetch(_SQL["unasked_categories"], _Id, {"limit": limit})]


async def put_products(database: Database, answers: Sequence[ProductAnswer], *, now: datetime) -> int:
    """Keep what a source answered; how many products are now known otherwise than before."""
    given = {
        "products": [each.product_id for each in answers],
        "names": [each.name for each in answers],
        "categories": [each.category_id for each in answers],
        "now": now,
    }
    return await _put(database, "put_products", given)


async def put_categories(database: Database, answers: Sequence[CategoryAnswer], *, now: datetime) -> int:
    """Keep what a source answered; how many products are now known otherwise than before."""
    told = [{"category_id": each.category_id, "hierarchy": list(each.hierarchy)} for each in answers]
    return await _put(database, "put_categories", {"answers": Jsonb(told), "now": now})


async def _put(database: Database, name: str, given: Mapping[str, object]) -> int:
    """Answers about products and about categories are kept one after another, each having seen the one before."""
    async with database.as_one() as alone:
        await alone.execute(_SQL["one_after_another"])
        return await alone.execute(_SQL[name], given)


async def spread(database: Database, *, now: datetime, limit: int) -> Spread:
    """Move on the next buyers of a product that came into another category, in one transaction."""
    async with database.transaction() as connection:
        found = await fetch(connection, _SQL["spreading"], _Spreading, schema=database.schema)
        if not found:
            return Spread(0, more=False)
        [each] = found
        given = {"product": each.product_id, "after": each.spread_from, "limit": limit, "now": now}
        buyers = await fetch(connection, _SQL["buyers"], _Buyer, given, schema=database.schema)
        users = await people.lock(connection, [row.user_id for row in buyers], schema=database.schema)
        moved = await connection.execute(_SQL["move_buyers"].text(database.schema), {**given, "users": users})
        reached = users[-1] if len(users) == limit else None
        await connection.execute(_SQL["spread_on"].text(database.schema), {**given, "reached": reached})
    return Spread(moved.rowcount, more=True)
