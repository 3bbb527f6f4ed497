"""Goods out of a file: `Member_number,Date,itemDescription`, dates as 21-07-2015; a receipt is a member on a day."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from hark.errors import BadInput, Fault, FileFaults
from hark.history.sandbox.goods import Goods, Item, Order, Receipt, Shelf
from hark.history.sandbox.names import CATEGORIES, known_products, price_of, product_id, share, store_of

COLUMNS = ("Member_number", "Date", "itemDescription")


def read_groceries(path: Path, *, orders: float = 0.2, newest: date | None = None) -> Goods:
    """Read such a file.

    Args:
        orders: the share of receipts of which each line is a shop order instead.
        newest: all dates are moved so that the newest is this one; None: they stay.

    Raises:
        BadInput: it cannot be read.
        FileFaults: all lines that are wrong.
    """
    bought = _bought(path)
    last = max((day for _, day in bought), default=None)
    moved = timedelta(0) if newest is None or last is None else newest - last
    receipts: dict[str, list[Receipt]] = defaultdict(list)
    ordered: dict[str, list[Order]] = defaultdict(list)
    version = 0
    for (member, day), names in sorted(bought.items(), key=lambda each: (each[0][1], each[0][0])):
        is_order = share("order", member, day) < orders
        for row in _rows(member, day, day + moved, names, is_order):
            version += 1
            if isinstance(row, Receipt):
                receipts[member].append(replace(row, version=version))
            else:
                ordered[member].append(replace(row, version=version))
    return Goods(
        users=sorted({member for member, _ in bought}),
        receipts=Shelf(lambda user: receipts.get(user, []), version),
        orders=Shelf(lambda user: ordered.get(user, []), version),
        products=known_products(sorted({name for names in bought.values() for name in names})),
        categories=CATEGORIES,
    )


def _rows(member: str, day: date, moved: date, names: list[str], is_order: bool) -> Iterator[Receipt | Order]:
    name = f"{member}-{day:%Y%m%d}"
    store = store_of(name)
    at = datetime.combine(moved, time(8), UTC) + timedelta(minutes=int(share("time", name) * 720))
    items = [Item(product_id(each), price_of(product_id(each))) for each in names]
    if not is_order:
        yield Receipt(member, name, store, at, tuple(items))
        return
    for number, item in enumerate(items, 1):
        yield Order(member, f"{name}-{number}", store, at, item)


def _bought(path: Path) -> dict[tuple[str, date], list[str]]:
    """By member and day: what was bought, in the file's order."""
    bought: dict[tuple[str, date], list[str]] = defaultdict(list)
    faults: list[Fault] = []
    for line, row in _lines(path):
        try:
            member, day, name = _cells(row)
        except ValueError as error:
            faults.append(Fault(line, "", str(error)))
            continue
        bought[member, day].append(name)
    if faults:
        raise FileFaults(str(path), faults)
    return bought


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != COLUMNS:
                raise FileFaults(str(path), [Fault(1, "", f"the first line is not {','.join(COLUMNS)}")])
            yield from ((rows.line_num, row) for row in rows if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no CSV in UTF-8"
        raise BadInput(f"{path} cannot be read: {why}; name a file with the columns {','.join(COLUMNS)}") from None


def _cells(row: list[str]) -> tuple[str, date, str]:
    if len(row) != len(COLUMNS) or not all(cell.strip() for cell in row):
        raise ValueError(f"has not the three cells {','.join(COLUMNS)}")
    member, day, name = (cell.strip() for cell in row)
    try:
        return member, datetime.strptime(day, "%d-%m-%Y").replace(tzinfo=UTC).date(), name
    except ValueError:
        raise ValueError(f'"{day[:40]}" is not a date; write 21-07-2015') from None
