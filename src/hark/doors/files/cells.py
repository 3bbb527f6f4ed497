"""Cells of files, each read as what its column is for; what cannot be is refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import time
from typing import Any, TypeVar

from hark.catalogue.wording import quoted, shown
from hark.channels.addresses import wire_address
from hark.durations import parse_local_time, parse_weekday
from hark.errors import BadInput, Undeliverable

T = TypeVar("T")

_YES, _NO = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")
_LONGEST = 1000


class Faulty(Exception):
    """A cell cannot be used; the text says why."""


def text(cell: Any) -> str:
    """A text of one line, also written as a whole number.

    Raises:
        Faulty: it is none.
    """
    if isinstance(cell, int) and not isinstance(cell, bool):
        cell = str(cell)
    if not isinstance(cell, str):
        raise Faulty(f"is {shown(cell)}, expected a text")
    if not cell or len(cell) > _LONGEST:
        raise Faulty(f"has {len(cell):,} characters, expected 1 to {_LONGEST:,}")
    if not cell.isprintable():
        raise Faulty(f"{quoted(cell)} has a control character or bytes that are not UTF-8")
    return cell


def address_of(cell: Any) -> str:
    """An address that can be written to.

    Raises:
        Faulty: it is none.
    """
    address = text(cell)
    try:
        wire_address(address)
    except Undeliverable as fault:
        raise Faulty(f"{quoted(address)}: {str(fault).removeprefix('address: ')}") from None
    return address


def truth(cell: Any) -> bool:
    """True or false, in the words of spreadsheets and programs.

    Raises:
        Faulty: it is none.
    """
    if isinstance(cell, bool):
        return cell
    word = str(cell).strip().lower()
    if word not in (*_YES, *_NO):
        raise Faulty(f"{shown(cell)} is neither true nor false; write true or false")
    return word in _YES


def local_time(cell: Any) -> time:
    """A time of day, as `07:30`.

    Raises:
        Faulty: it is none.
    """
    return _parsed(cell, parse_local_time)


def weekday(cell: Any) -> int:
    """A day of the week by its name, as `friday`; from Monday, 0.

    Raises:
        Faulty: it is none.
    """
    return _parsed(cell, parse_weekday)


def _parsed(cell: Any, parse: Callable[[str], T]) -> T:
    try:
        return parse(text(cell))
    except BadInput as refusal:
        raise Faulty(str(refusal)) from None


def attributes(cell: Any) -> dict[str, Any]:
    """A JSON object, also as a text.

    Raises:
        Faulty: it is none.
    """
    try:
        value = json.loads(cell) if isinstance(cell, str) else cell
        storable = isinstance(value, dict) and _storable(value)
    except (ValueError, RecursionError):
        raise Faulty(f'{shown(cell)} is not JSON; write {{"team": "Blue"}}') from None
    if not storable:
        raise Faulty(f'{shown(value)} is not a JSON object of storable texts; write {{"team": "Blue"}}')
    return dict(value)


def attribute(cell: Any) -> Any:
    """Any value that JSON can say and Postgres can store.

    Raises:
        Faulty: it is none.
    """
    if not _storable(cell):
        raise Faulty(f"{shown(cell)} has a NUL character or bytes that are not UTF-8")
    return cell


def _storable(value: Any) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return False
    return "\\u0000" not in text
