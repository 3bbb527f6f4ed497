"""What should be held in the end: a fold of receipts and orders as the sources keep them, and as the stream said them.

It knows nothing of facts, of versions of users, or of what came when; of each receipt and order the newest word holds,
and that is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hark.history.answers import Purchase, ShopsIn
from hark.history.sandbox.goods import Goods, Item, Order, Receipt, Shelf

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of a receipt says, or one order."""

    product_id: str
    store_id: str | None
    amount_minor: int | None
    currency: str | None
    quantity: int
    at: datetime


Lines = Mapping[tuple[str, str], Line]
"""By user and key."""


@dataclass(slots=True)
class Sum:
    """What somebody bought in one category; `totals` by currency, in minor units."""

    purchases: int = 0
    quantity: int = 0
    totals: dict[str, int] = field(default_factory=dict)


Sums = Mapping[tuple[str, str], Sum]
"""By user and category."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What Postgres answers beside the fold.

    Attributes:
        what: after what they were compared.
        lines, sums: how many purchases, and how many sums of a user in a category, there should be.
        differ: the first few that are not alike.
    """

    what: str
    lines: int
    sums: int
    equal: bool
    differ: Sequence[str]


def of_sources(goods: Goods, users: Iterable[str]) -> Iterator[Receipt | Order]:
    """All that the sources keep of users."""
    for user in users:
        yield from _rows(goods.receipts, user)
        yield from _rows(goods.orders, user)


def fold(words: Iterable[Receipt | Order]) -> Lines:
    """What words amount to, in whatever order and however often they come."""
    newest: dict[tuple[type, str], Receipt | Order] = {}
    for word in words:
        known = newest.setdefault((type(word), word.id), word)
        if word.version > known.version:
            newest[type(word), word.id] = word
    return {
        (word.user_id, key): Line(
            item.product_id, word.store_id, item.amount_minor, word.currency, item.quantity, word.at
        )
        for word in newest.values()
        if not word.deleted
        for key, item in _items(word)
    }


def sums(lines: Lines, goods: Goods) -> Sums:
    """By category, of the products that the product service knows."""
    found: dict[tuple[str, str], Sum] = {}
    for (user, _), line in lines.items():
        if (known := goods.products.get(line.product_id)) is None:
            continue
        each = found.setdefault((user, known.category_id), Sum())
        each.purchases += 1
        each.quantity += line.quantity
        if line.currency is not None and line.amount_minor is not None:
            each.totals[line.currency] = each.totals.get(line.currency, 0) + line.amount_minor
    return found


def compare(
    what: str, expected: Lines, goods: Goods, bought: Iterable[Purchase], shops_in: Iterable[ShopsIn]
) -> Compared:
    """The fold beside what Postgres answers of everybody."""
    should = sums(expected, goods)
    differ = [
        *_differ(expected, {(each.user_id, each.key): _line(each) for each in bought}),
        *_differ(should, {(each.user_id, each.category_id): _sum(each) for each in shops_in}),
    ]
    return Compared(what, len(expected), len(should), not differ, differ[:5])


def _rows(shelf: Shelf[Receipt] | Shelf[Order], user: str) -> Iterable[Receipt | Order]:
    return shelf.seen(user, _EVER, shelf.version)


def _items(word: Receipt | Order) -> Iterator[tuple[str, Item]]:
    if isinstance(word, Order):
        yield f"order:{word.id}", word.item
    else:
        yield from ((f"receipt:{word.id}:{number}", item) for number, item in enumerate(word.lines, 1))


def _line(held: Purchase) -> Line:
    return Line(
        held.product_id, held.store_id, held.amount_minor, held.currency, _whole(held.quantity), held.occurred_at
    )


def _sum(held: ShopsIn) -> Sum:
    return Sum(held.purchases, _whole(held.quantity), dict(held.totals))


def _whole(quantity: object) -> int:
    """Only whole ones are sold here; -1 is none."""
    number = float(str(quantity))
    return int(number) if number.is_integer() else -1


def _differ(expected: Mapping[tuple[str, str], object], held: Mapping[tuple[str, str], object]) -> Iterator[str]:
    for where in sorted(expected.keys() | held.keys()):
        should, has = expected.get(where), held.get(where)
        if should != has:
            yield f"{' '.join(where)}: should be {should or 'nothing'}, is {has or 'nothing'}"
