"""What people buy while everything is killed: rows of the sources in all their versions, messages, and the fold.

The fold knows nothing of facts, chunks, snapshots and graphs: of each row the highest version, and of that its lines.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hark.history.sandbox.goods import Goods, Item, Order, Receipt
from hark.history.sandbox.names import product_id

Row = Receipt | Order
Id = tuple[str, str]

CORRECTED, CORRECTED_AGAIN, AGAIN = 0.2, 0.3, 0.2
"""Shares: of rows that are corrected, of those that are once more, of messages that come again."""


class Bought(NamedTuple):
    """One line as it must be held."""

    user: str
    key: str
    version: int
    product: str
    store: str | None
    amount: int
    currency: str
    quantity: float
    at: datetime


class Sum(NamedTuple):
    """How often, for how much in minor units, first and last."""

    purchases: int
    total: int
    first_at: datetime
    last_at: datetime


def id_of(row: Row) -> Id:
    """Which row it is, whatever its version."""
    return ("receipt" if isinstance(row, Receipt) else "order", row.id)


def lines_of(row: Row) -> Iterator[Bought]:
    """What a row says."""
    if row.deleted:
        return
    items = row.lines if isinstance(row, Receipt) else (row.item,)
    for number, item in enumerate(items, 1):
        key = f"receipt:{row.id}:{number}" if isinstance(row, Receipt) else f"order:{row.id}"
        yield Bought(
            row.user_id,
            key,
            row.version,
            item.product_id,
            row.store_id,
            item.amount_minor,
            row.currency,
            float(item.quantity),
            row.at,
        )


def newest(rows: Iterable[Row]) -> dict[Id, Row]:
    """Of each row the highest version."""
    held: dict[Id, Row] = {}
    for row in rows:
        if id_of(row) not in held or row.version > held[id_of(row)].version:
            held[id_of(row)] = row
    return held


def fold(rows: Iterable[Row]) -> set[Bought]:
    """What is bought in the end."""
    return {line for row in newest(rows).values() for line in lines_of(row)}


def summed(lines: Iterable[Bought], by: Callable[[Bought], Any]) -> dict[Any, Sum]:
    """Sums of lines by something; None is nothing."""
    parts: dict[Any, list[Bought]] = {}
    for line in lines:
        if (part := by(line)) is not None:
            parts.setdefault(part, []).append(line)
    return {
        part: Sum(len(each), sum(b.amount for b in each), min(b.at for b in each), max(b.at for b in each))
        for part, each in parts.items()
    }


def message(row: Row) -> bytes:
    """As the live stream says it."""
    said: dict[str, Any] = {
        "user_id": row.user_id,
        "currency": row.currency,
        "version": row.version,
        "deleted": row.deleted,
    }
    if isinstance(row, Receipt):
        lines = [{"line": number, **_item(item)} for number, item in enumerate(row.lines, 1)]
        said |= {"receipt_id": row.id, "store_id": row.store_id, "purchased_at": row.at.isoformat(), "lines": lines}
    else:
        said |= {"summaryID": row.id, "store": row.store_id, "occurred_at": row.at.isoformat(), **_item(row.item)}
    return json.dumps(said).encode()


def put(row: Row) -> tuple[str, dict[str, Any]]:
    """As the sandbox takes it: under which path, and what."""
    said: dict[str, Any] = {
        "user_id": row.user_id,
        "id": row.id,
        "store_id": row.store_id,
        "at": row.at.isoformat(),
        "deleted": row.deleted,
        "currency": row.currency,
    }
    if isinstance(row, Receipt):
        return "receipts", said | {"lines": [_item(item) for item in row.lines]}
    return "orders", said | {"item": _item(row.item)}


def _item(item: Item) -> dict[str, Any]:
    return {"product_id": item.product_id, "quantity": item.quantity, "amount_minor": item.amount_minor}


def corrected(row: Row, chance: random.Random) -> Row:
    """The same row, otherwise: gone, there again, elsewhere, with other amounts, or with fewer or more lines."""
    if row.deleted:
        return replace(row, deleted=False)
    how = chance.choice(("gone", "store", "item", "fewer", "more"))
    if how == "gone":
        return replace(row, deleted=True)
    if how == "store":
        return replace(row, store_id=f"store-{chance.randrange(1, 21):02}")
    if isinstance(row, Order):
        return replace(row, item=_otherwise(row.item, chance))
    if how == "fewer" and len(row.lines) > 1:
        return replace(row, lines=row.lines[:-1])
    if how == "more":
        return replace(row, lines=(*row.lines, _otherwise(row.lines[0], chance)))
    return replace(row, lines=(_otherwise(row.lines[0], chance), *row.lines[1:]))


def _otherwise(item: Item, chance: random.Random) -> Item:
    return replace(item, amount_minor=item.amount_minor + chance.randrange(1, 500), quantity=chance.randrange(1, 4))


def rows_of(goods: Goods) -> list[Row]:
    """All that there was when the sources began."""
    shelves: Sequence[Any] = (goods.receipts, goods.orders)
    return [row for user in goods.users for shelf in shelves for row in shelf.first(user)]


def write_part(path: Path, part: Path, users: int | None) -> Counter[tuple[str, str]]:
    """Write the lines of the first so many members; who bought which product how often, by these lines alone."""
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file))
    members = sorted({line[0] for line in lines})[:users]
    kept = [line for line in lines if line[0] in set(members)]
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    return Counter((member, product_id(name)) for member, _, name in kept)


@dataclass(slots=True)
class Shoppers:
    """Who is in the flag from the start, and who is loaded: some are one of it, some both."""

    live: set[str]
    both: set[str]
    late: set[str]

    @classmethod
    def of(cls, users: Sequence[str], chance: random.Random) -> Shoppers:
        """A third of each."""
        mixed = chance.sample(list(users), len(users))
        third = len(mixed) // 3
        return cls(set(mixed[:third]), set(mixed[third : 2 * third]), set(mixed[2 * third :]))

    @property
    def cohort(self) -> list[str]:
        """Who is loaded."""
        return sorted(self.both | self.late)

    def is_streamed(self, row: Row, chance: random.Random) -> bool:
        """Whether a row as it was first comes live, too: all do of those who are not loaded."""
        return row.user_id in self.live or chance.random() < (0.5 if row.user_id in self.both else 0.3)


@dataclass(slots=True)
class Till:
    """What happens at the sources and on the stream, mixed up by chance: each correction is written, and told later.

    Attributes:
        write: writes a row into the sources; its version.
        say: puts a row's message on the stream.
        every: all versions of all rows.
        told: what was said, in order.
    """

    chance: random.Random
    write: Callable[[Row], int]
    say: Callable[[Row], None]
    every: list[Row]
    told: list[Row] = field(default_factory=list)
    _stand: dict[Id, Row] = field(default_factory=dict)
    _left: list[Callable[[], None]] = field(default_factory=list)

    def fill(self, shoppers: Shoppers) -> None:
        """Mix up what is to happen."""
        self._stand = newest(self.every)
        for row in self.every:
            if shoppers.is_streamed(row, self.chance):
                self._left.append(partial(self._tell, row))
            if self.chance.random() < CORRECTED:
                self._left.append(partial(self._correct, id_of(row)))
        self.chance.shuffle(self._left)

    @property
    def left(self) -> int:
        """How much has not happened yet."""
        return len(self._left)

    def happen(self, how_many: int) -> None:
        """Let so much happen."""
        for _ in range(min(how_many, len(self._left))):
            self._left.pop()()

    def _tell(self, row: Row) -> None:
        self.say(row)
        self.told.append(row)
        if self.chance.random() < AGAIN:
            self._later(partial(self._tell, row))

    def _correct(self, which: Id) -> None:
        row = corrected(self._stand[which], self.chance)
        row = replace(row, version=self.write(row))
        self._stand[which] = row
        self.every.append(row)
        self._later(partial(self._tell, row))
        if self.chance.random() < CORRECTED_AGAIN:
            self._later(partial(self._correct, which))

    def _later(self, what: Callable[[], None]) -> None:
        self._left.insert(self.chance.randrange(len(self._left) + 1), what)


def categories_of(goods: Goods) -> Mapping[str, str]:
    """Of each product that is known its category."""
    return {product: known.category_id for product, known in goods.products.items()}
