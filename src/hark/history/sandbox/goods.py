"""What was bought, as services keep it: rows in all their versions, so that a replica can still have the old ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Item:
    """One line: the amount is that of the line, in minor units."""

    product_id: str
    amount_minor: int
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt."""

    user_id: str
    id: str
    store_id: str | None
    at: datetime
    lines: tuple[Item, ...]
    version: int = 0
    deleted: bool = False
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Order:
    """One shop order."""

    user_id: str
    id: str
    store_id: str | None
    at: datetime
    item: Item
    version: int = 0
    deleted: bool = False
    currency: str = "USD"


class Kept(Protocol):
    """A row that services keep."""

    @property
    def user_id(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def at(self) -> datetime: ...


R = TypeVar("R", Receipt, Order)


@dataclass(slots=True)
class Shelf(Generic[R]):
    """All rows of one service, in all their versions.

    Attributes:
        version: the newest there is.
        behind: how many versions a replica lags.
        first: makes a user's rows when they are first asked for.
    """

    first: Callable[[str], Iterable[R]]
    version: int
    behind: int = 0
    _rows: dict[str, dict[str, list[R]]] = field(default_factory=dict)

    def put(self, row: R) -> R:
        """Write a row as the next version; it is the primary's at once."""
        self.version += 1
        written = replace(row, version=self.version)
        self._of(row.user_id).setdefault(row.id, []).append(written)
        return written

    def seen(self, user: str, since: datetime, version: int) -> list[R]:
        """A user's rows since a time, as they were at a version, oldest first."""
        found = [row for versions in self._of(user).values() if (row := _as_of(versions, version)) is not None]
        return sorted((row for row in found if row.at >= since), key=lambda row: (row.at, row.id))

    @property
    def replica_version(self) -> int:
        """How far the replica is."""
        return max(self.version - self.behind, 0)

    def _of(self, user: str) -> dict[str, list[R]]:
        if user not in self._rows:
            self._rows[user] = {row.id: [row] for row in self.first(user)}
        return self._rows[user]


@dataclass(frozen=True, slots=True)
class Known:
    """What the product service knows."""

    name: str
    category_id: str


@dataclass(frozen=True, slots=True)
class Goods:
    """All that the sandbox serves."""

    users: Sequence[str]
    receipts: Shelf[Receipt]
    orders: Shelf[Order]
    products: Mapping[str, Known]
    categories: Mapping[str, tuple[str, ...]]

    def lines(self, user: str, since: datetime) -> Iterator[tuple[str, str | None, datetime, str, Item]]:
        """All that a user bought and kept, as the primary has it: key, store, time, currency and item."""
        for receipt in self.receipts.seen(user, since, self.receipts.version):
            for number, item in enumerate(receipt.lines, 1):
                if not receipt.deleted:
                    yield f"receipt:{receipt.id}:{number}", receipt.store_id, receipt.at, receipt.currency, item
        for order in self.orders.seen(user, since, self.orders.version):
            if not order.deleted:
                yield f"order:{order.id}", order.store_id, order.at, order.currency, order.item


def _as_of(versions: Sequence[R], version: int) -> R | None:
    place = bisect_right(versions, version, key=lambda row: row.version)
    return versions[place - 1] if place else None
