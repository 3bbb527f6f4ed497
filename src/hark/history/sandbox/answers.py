"""What the services answer, as docs/reference/sources.md has it, and how the faults of `faults.py` twist it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hark.history.sandbox.faults import Fault, Kind
from hark.history.sandbox.goods import Goods, Item, Order, Receipt, Shelf
from hark.history.sources.contracts import ReadFrom

Json = dict[str, Any]
Struck = Mapping[Kind, Fault]


class NoCursor(ValueError):
    """A cursor that no page gave."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page of whose history."""

    user: str
    since: datetime
    read_from: ReadFrom
    limit: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins, in the list as it was at a version; `turn` counts pages that should not be there."""

    begin: int
    version: int
    turn: int = 0

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(f"{self.begin}.{self.version}.{self.turn}".encode()).decode()

    @classmethod
    def of(cls, cursor: str) -> _Place:
        try:
            begin, version, turn = base64.urlsafe_b64decode(cursor.encode()).decode().split(".")
            return cls(int(begin), int(version), int(turn))
        except (ValueError, binascii.Error):
            raise NoCursor from None


def receipts(goods: Goods, asked: Asked, struck: Struck) -> Json:
    """A page of Purchase History.

    Raises:
        NoCursor: what was asked for has a cursor that no page gave.
    """
    return _page("receipts", goods.receipts, lambda row: _receipt(row, struck), asked, struck)


def orders(goods: Goods, asked: Asked, struck: Struck) -> Json:
    """A page of the Button Transaction Service; raises what `receipts` does."""
    return _page("orders", goods.orders, lambda row: _order(row, struck), asked, struck)


def products(goods: Goods, wanted: Sequence[str]) -> Json:
    """What FIDO knows."""
    known = [each for each in wanted if each in goods.products]
    return {
        "products": [
            {"product_id": each, "name": goods.products[each].name, "category_id": goods.products[each].category_id}
            for each in known
        ],
        "unknown": [each for each in wanted if each not in goods.products],
    }


def categories(goods: Goods, wanted: Sequence[str]) -> Json:
    """Where categories stand."""
    known = [each for each in wanted if each in goods.categories]
    return {
        "categories": [{"category_id": each, "hierarchy": list(goods.categories[each])} for each in known],
        "unknown": [each for each in wanted if each not in goods.categories],
    }


def _page(listed: str, shelf: Shelf[Any], written: Callable[[Any], Json], asked: Asked, struck: Struck) -> Json:
    read_from = ReadFrom.REPLICA if Kind.REPLICA in struck else asked.read_from
    newest = shelf.version if read_from is ReadFrom.PRIMARY else shelf.replica_version
    place = _Place(0, newest) if asked.cursor is None else _Place.of(asked.cursor)
    version = newest if Kind.SHIFT in struck else place.version
    rows = shelf.seen(asked.user, asked.since, version)
    begin = max(place.begin - asked.limit, 0) if Kind.DOUBLED in struck else place.begin
    end = place.begin + asked.limit
    return {
        "user_id": f"not {asked.user}" if Kind.STRANGER in struck else asked.user,
        "read_from": read_from.value,
        "watermark": version,
        "total": len(rows),
        listed: [written(row) for row in rows[begin:end]],
        "next_cursor": _next(place, end, len(rows), struck),
    }


def _next(place: _Place, end: int, total: int, struck: Struck) -> str | None:
    if end < total:
        return _Place(end, place.version, place.turn).cursor()
    if Kind.ENDLESS in struck:
        return _Place(0, place.version).cursor()
    if Kind.GROWING in struck:
        return _Place(place.begin, place.version, place.turn + 1).cursor()
    return None


def _receipt(row: Receipt, struck: Struck) -> Json:
    return {
        "receipt_id": row.id,
        "store_id": row.store_id,
        "purchased_at": row.at.isoformat(),
        "currency": row.currency,
        "version": row.version,
        "deleted": row.deleted,
        "lines": [{"line": number, **_item(item, struck)} for number, item in enumerate(row.lines, 1)],
    }


def _order(row: Order, struck: Struck) -> Json:
    return {
        "buttonOrderId": row.id,
        "store_id": row.store_id,
        "ordered_at": row.at.isoformat(),
        "currency": row.currency,
        "version": row.version,
        "deleted": row.deleted,
        **_item(row.item, struck),
    }


def _item(item: Item, struck: Struck) -> Json:
    priced: Json = {"amount_minor": item.amount_minor}
    if Kind.FLOATS in struck:
        priced = {"amount": item.amount_minor / 100}
    return {"product_id": item.product_id, "quantity": item.quantity, **priced}
