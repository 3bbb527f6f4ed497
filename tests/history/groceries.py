"""`groceries.csv` as receipts of a source: corrected, in part deleted, and as an independent fold sums them up."""

from __future__ import annotations

import csv
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from hark.history.facts import Fact, line_key

STORES = 20
SINCE = datetime(2014, 1, 1, tzinfo=UTC)


class Sum(NamedTuple):
    """How often, for how much in cents, first and last."""

    purchases: int
    total: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one member bought on one day, from a version on; without items it is gone."""

    user: str
    number: str
    at: datetime
    version: int
    items: tuple[str, ...]

    def facts(self) -> list[Fact]:
        """Its lines, whole; of one that is gone, that."""
        return [self._fact(place, item) for place, item in enumerate(self.items, 1)] or [
            Fact.gone(self.user, self.number, self.version)
        ]

    def _fact(self, place: int, item: str) -> Fact:
        return Fact(
            user_id=self.user,
            key=line_key(self.number, place),
            version=self.version,
            product_id=item,
            store_id=store_of(self.number),
            amount_minor=price_of(item),
            currency="EUR",
            quantity=Decimal(1),
            occurred_at=self.at,
            whole=True,
        )


def store_of(number: str) -> str:
    """One of the stores."""
    return f"store-{zlib.crc32(number.encode()) % STORES:02}"


def price_of(item: str) -> int:
    """In cents."""
    return 49 + zlib.crc32(item.encode()) % 900


def category_of(item: str) -> str | None:
    """Half of the products are known to be of one."""
    known = zlib.crc32(item.encode()) % 2 == 0
    return item.rpartition(" ")[2] if known else None


def read(path: Path) -> list[Receipt]:
    """All lines of the file, as receipts in the order in which they first come; versions rise with them."""
    bought: dict[tuple[str, str], list[str]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            bought[row["Member_number"], row["Date"]].append(row["itemDescription"])
    return [
        Receipt(user, f"{user}-{day}", datetime.strptime(day, "%d-%m-%Y").replace(tzinfo=UTC), version, tuple(items))
        for version, ((user, day), items) in enumerate(bought.items(), 1)
    ]


def corrected(receipts: Sequence[Receipt], numbers: random.Random) -> list[Receipt]:
    """All that the source ever said: one in ten is said otherwise later, and one in fifty is gone."""
    news = list(receipts)
    for receipt in numbers.sample(receipts, len(receipts) // 10):
        items = receipt.items[1:] if len(receipt.items) > 1 else (*receipt.items, "whole milk")
        news.append(replace(receipt, version=len(news) + 1, items=items))
    for receipt in numbers.sample(receipts, len(receipts) // 50):
        news.append(replace(receipt, version=len(news) + 1, items=()))
    return news


def stands(news: Sequence[Receipt]) -> dict[str, Receipt]:
    """How each receipt stands in the end."""
    return {receipt.number: receipt for receipt in sorted(news, key=lambda each: each.version)}


def summed(news: Sequence[Receipt]) -> tuple[Mapping[object, Sum], Mapping[object, Sum], Counter[object]]:
    """The independent fold: by user and store, by user and category, and how often who bought what."""
    stores: dict[object, list[tuple[int, datetime]]] = defaultdict(list)
    categories: dict[object, list[tuple[int, datetime]]] = defaultdict(list)
    products: Counter[object] = Counter()
    for receipt, item in _lines(news):
        stores[receipt.user, store_of(receipt.number)].append((price_of(item), receipt.at))
        products[receipt.user, item] += 1
        if category := category_of(item):
            categories[receipt.user, category].append((price_of(item), receipt.at))
    return _sums(stores), _sums(categories), products


def _lines(news: Sequence[Receipt]) -> Iterator[tuple[Receipt, str]]:
    for receipt in stands(news).values():
        for item in receipt.items:
            yield receipt, item


def _sums(lines: Mapping[object, Sequence[tuple[int, datetime]]]) -> dict[object, Sum]:
    return {
        key: Sum(len(each), sum(total for total, _ in each), min(at for _, at in each), max(at for _, at in each))
        for key, each in lines.items()
    }
