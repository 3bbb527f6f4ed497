"""Goods out of a seed: the same seed gives the same goods, made user by user when they are first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from hark.history.sandbox.goods import Goods, Item, Order, Receipt, Shelf
from hark.history.sandbox.names import CATEGORIES, known_products, price_of, product_id, store_of

_KINDS = ("plain", "organic", "large", "small", "frozen", "dried", "local", "sliced", "whole", "light")
_THINGS = (
    *("apples", "bread", "butter", "carrots", "cheese", "coffee", "eggs", "fish", "flour", "ham", "honey", "juice"),
    *("milk", "mushrooms", "oil", "onions", "pasta", "rice", "tea", "yogurt"),
)
NAMES = tuple(f"{kind} {thing}" for kind in _KINDS for thing in _THINGS)
"""What can be bought."""

_USER = "user-"
_MOST_ROWS = 10_000
"""Of one user: so many versions lie between one user's and the next one's."""


@dataclass(frozen=True, slots=True)
class MadeUp:
    """How much of it.

    Attributes:
        receipts: how many one user has on average; some have many more.
        days: how far back.
        orders: the share of what is bought that is a shop order.
        until: the newest is of the day before; aware.
    """

    users: int = 1000
    seed: int = 1
    receipts: int = 12
    days: int = 365
    orders: float = 0.2
    until: datetime = datetime(2026, 11, 1, tzinfo=UTC)

    def goods(self) -> Goods:
        """All of it."""
        users = [f"{_USER}{number:06}" for number in range(1, self.users + 1)]
        known = frozenset(users)
        newest = (self.users + 1) * _MOST_ROWS
        return Goods(
            users=users,
            receipts=Shelf(lambda user: self._receipts(user) if user in known else [], newest),
            orders=Shelf(lambda user: self._orders(user) if user in known else [], newest),
            products=known_products(NAMES),
            categories=CATEGORIES,
        )

    def _receipts(self, user: str) -> list[Receipt]:
        chance, first = self._chance(user, "receipts"), self._first_version(user)
        return [
            Receipt(user, f"r-{user}-{n}", store_of(user, n), self._time(chance), _items(chance), first + n)
            for n in range(self._how_many(chance, 1 - self.orders))
        ]

    def _orders(self, user: str) -> list[Order]:
        chance, first = self._chance(user, "orders"), self._first_version(user)
        return [
            Order(user, f"b-{user}-{n}", store_of(user, n), self._time(chance), _item(chance), first + n)
            for n in range(self._how_many(chance, self.orders))
        ]

    def _chance(self, user: str, what: str) -> Random:
        return Random(f"{self.seed}/{what}/{user}")  # noqa: S311  (made up, not secret)

    def _first_version(self, user: str) -> int:
        return int(user.removeprefix(_USER)) * _MOST_ROWS

    def _how_many(self, chance: Random, part: float) -> int:
        return min(int(chance.expovariate(1 / max(self.receipts * part, 0.001)) + 0.5), _MOST_ROWS - 1)

    def _time(self, chance: Random) -> datetime:
        return self.until - timedelta(seconds=1 + chance.randrange(max(self.days, 1) * 86_400))


def _items(chance: Random) -> tuple[Item, ...]:
    return tuple(_item(chance) for _ in range(chance.randrange(1, 7)))


def _item(chance: Random) -> Item:
    # Some things are bought by everybody: the lower of two draws.
    product = product_id(NAMES[min(chance.randrange(len(NAMES)), chance.randrange(len(NAMES)))])
    quantity = chance.choice((1, 1, 1, 2, 3))
    return Item(product, price_of(product) * quantity, quantity)
