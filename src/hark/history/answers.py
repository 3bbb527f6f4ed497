"""Answers: what the graph answers, from Postgres, for one user or many. Only facts inside the window count.

Products ask by the views `hark.purchased`, `hark.shops_in` and `hark.shops_at`; this module reads the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchased line or order; what is known of its product."""

    user_id: str
    key: str
    receipt_id: str | None
    product_id: str
    product_name: str | None
    category_id: str | None
    category_hierarchy: Sequence[str] | None
    store_id: str | None
    amount_minor: int | None
    currency: str | None
    quantity: Decimal
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ShopsIn:
    """What a user bought in a category: `totals` are by currency, in minor units, of what has a known amount."""

    user_id: str
    category_id: str
    category_hierarchy: Sequence[str] | None
    purchases: int
    quantity: Decimal
    totals: Mapping[str, int]
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ShopsAt:
    """What a user bought at a store."""

    user_id: str
    store_id: str
    purchases: int
    quantity: Decimal
    totals: Mapping[str, int]
    first_at: datetime
    last_at: datetime


async def purchased(database: Database, users: Sequence[str]) -> list[Purchase]:
    """What these users bought, the latest first."""
    return await database.fetch(_SQL["purchased"], Purchase, {"users": list(users)})


async def shops_in(database: Database, users: Sequence[str]) -> list[ShopsIn]:
    """The categories that these users shop in, those first in which they buy most."""
    return await database.fetch(_SQL["shops_in"], ShopsIn, {"users": list(users)})


async def shops_at(database: Database, users: Sequence[str]) -> list[ShopsAt]:
    """The stores that these users shop at, those first at which they buy most."""
    return await database.fetch(_SQL["shops_at"], ShopsAt, {"users": list(users)})
