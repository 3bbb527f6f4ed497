"""The till: what people buy while Hark looks on. The sources have it first, and then a message says so.

Some is said twice, some late, some is corrected or taken back; the same for the same seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from hark.history.sandbox.goods import Goods, Item, Order, Receipt

Row = Receipt | Order

NONSENSE = '{"topic": "factoid-stream", "value": {"user_id": "user-000001", "amount": 12.5}}'
"""A message that cannot be taken: an amount with a point is one that JSON readers round."""
_STORES = ("store-01", "store-07", "store-12")


@dataclass(frozen=True, slots=True)
class People:
    """Who is in it.

    Attributes:
        beta: let in before anything is loaded.
        shoppers: of those to be loaded, who buy meanwhile.
        quiet: of those to be loaded, who do not.
        strangers: who buy as well, and are never let in.
    """

    beta: Sequence[str]
    shoppers: Sequence[str]
    quiet: Sequence[str]
    strangers: Sequence[str]

    @property
    def cohort(self) -> list[str]:
        """Who is to be loaded."""
        return sorted([*self.beta, *self.shoppers, *self.quiet])


@dataclass(slots=True)
class Till:
    """Rings purchases up in the sandbox, and says them in lines of a file.

    Attributes:
        now: what time it is.
        said: all that was said so far of whoever was let in when it was: what a stream must have brought.
        lines: how many there are in the file.
    """

    goods: Goods
    people: People
    path: Path
    chance: Random
    now: Callable[[], datetime]
    said: list[Row] = field(default_factory=list)
    lines: int = 0
    _dropped: list[Row] = field(default_factory=list)

    def before(self) -> None:
        """What is bought while only some are let in."""
        for user in self.people.beta:
            self._say(self._receipt(user), taken=True)
            self._say(self._order(user), taken=True)
        for user in [*self.people.shoppers[:4], *self.people.strangers]:
            row = self._say(self._receipt(user), taken=False)
            if user not in self.people.strangers:
                self._dropped.append(row)
        self._write(NONSENSE)

    def meanwhile(self) -> list[Callable[[], None]]:
        """What is bought while the others are loaded, in its order: each is to be called once, when it is time."""
        shoppers, strangers = self.people.shoppers, self.people.strangers
        fresh = [self._buying(self.chance.choice(shoppers)) for _ in range(8)]
        known = [self._telling_again(row) for row in self._dropped[:2]]
        corrected = [self._correcting(user) for user in shoppers[4:6]]
        gone = [self._taking_back(user) for user in shoppers[6:8]]
        late = [self._saying_late(user) for user in self.people.beta]
        mixed = [*fresh, *known, *corrected, *gone, *late, *(self._not_taken(each) for each in strangers)]
        self.chance.shuffle(mixed)
        return mixed

    # What is bought --------------------------------------------------------------------------------------------------

    def _receipt(self, user: str) -> Receipt:
        items = tuple(self._item() for _ in range(self.chance.randrange(2, 5)))
        name = f"live-{user}-{self.lines}"
        return self.goods.receipts.put(Receipt(user, name, self.chance.choice(_STORES), self._just_now(), items))

    def _order(self, user: str) -> Order:
        name = f"live-{user}-{self.lines}"
        return self.goods.orders.put(
            Order(user, name, self.chance.choice(_STORES), self._just_now(), self._item(), currency="EUR")
        )

    def _item(self) -> Item:
        product = self.chance.choice(sorted(self.goods.products))
        return Item(product, self.chance.randrange(99, 2500), self.chance.choice((1, 1, 2)))

    def _just_now(self) -> datetime:
        return self.now() - timedelta(minutes=self.chance.randrange(1, 240))

    # What is said ----------------------------------------------------------------------------------------------------

    def _buying(self, user: str) -> Callable[[], None]:
        made: Callable[[str], Row] = self._order if self.chance.random() < 0.4 else self._receipt
        return lambda: self._again(self._say(made(user), taken=True))

    def _again(self, row: Row) -> None:
        """A stream may say anything twice."""
        if self.chance.random() < 0.5:
            self._say(row, taken=True)

    def _telling_again(self, row: Row) -> Callable[[], None]:
        """What was dropped comes once more, now that they are let in."""

        def say() -> None:
            self._say(row, taken=True)

        return say

    def _correcting(self, user: str) -> Callable[[], None]:
        """A receipt of long ago has a line less, and another amount."""

        def correct() -> None:
            old = self._longest(user)
            first = replace(old.lines[0], amount_minor=old.lines[0].amount_minor + 100)
            lines = (first, *old.lines[1:-1])
            self._again(self._say(self.goods.receipts.put(replace(old, lines=lines)), taken=True))

        return correct

    def _taking_back(self, user: str) -> Callable[[], None]:
        """A receipt of long ago was given back, all of it."""

        def take_back() -> None:
            row = self.goods.receipts.put(replace(self._longest(user), lines=(), deleted=True))
            self._again(self._say(row, taken=True))

        return take_back

    def _saying_late(self, user: str) -> Callable[[], None]:
        """Of what they bought before, a correction, and behind it what it corrects; their order was sent back."""

        def say() -> None:
            old = next(row for row in self.said if row.user_id == user and isinstance(row, Receipt))
            self._say(self.goods.receipts.put(replace(old, lines=old.lines[:1])), taken=True)
            self._say(old, taken=True)
            order = next(row for row in self.said if row.user_id == user and isinstance(row, Order))
            self._say(self.goods.orders.put(replace(order, deleted=True)), taken=True)

        return say

    def _not_taken(self, user: str) -> Callable[[], None]:
        def buy() -> None:
            self._say(self._receipt(user), taken=False)

        return buy

    def _longest(self, user: str) -> Receipt:
        every = self.goods.receipts.seen(user, self.now() - timedelta(days=364), self.goods.receipts.version)
        return max(every, key=lambda row: (len(row.lines), row.id))

    def _say(self, row: Row, *, taken: bool) -> Row:
        if taken:
            self.said.append(row)
        self._write(json.dumps(receipt_message(row) if isinstance(row, Receipt) else order_message(row)))
        return row

    def _write(self, line: str) -> None:
        """In one piece: whoever reads meanwhile sees all of a line, or nothing of it."""
        with self.path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())
        self.lines += 1


def receipt_message(row: Receipt) -> dict[str, Any]:
    """A receipt as the stream says it."""
    value = {
        "user_id": row.user_id,
        "receipt_id": row.id,
        "store_id": row.store_id,
        "purchased_at": row.at.isoformat(),
        "currency": row.currency,
        "version": row.version,
        "deleted": row.deleted,
        "lines": [
            {"line": n, "product_id": each.product_id, "quantity": each.quantity, "amount_minor": each.amount_minor}
            for n, each in enumerate(row.lines, 1)
        ],
    }
    return {"topic": "pipeline-v1-processed-receipt-events", "value": value}


def order_message(row: Order) -> dict[str, Any]:
    """A shop order as the stream says it."""
    value = {
        "user_id": row.user_id,
        "summaryID": row.id,
        "store": row.store_id,
        "product_id": row.item.product_id,
        "quantity": row.item.quantity,
        "amount_minor": row.item.amount_minor,
        "currency": row.currency,
        "occurred_at": row.at.isoformat(),
        "version": row.version,
        "deleted": row.deleted,
    }
    return {"topic": "factoid-stream", "value": value}
