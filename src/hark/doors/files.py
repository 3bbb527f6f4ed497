"""Files that people bring: recipients and subscriptions as CSV or JSON lines, with all their faults and lines.

A file is looked through whole before any of it is used, and read once more to be used: nothing of it is held in memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from hark.audience import Recipient, Subscription
from hark.catalogue.wording import no_such, quoted, shown
from hark.channels.addresses import wire_address
from hark.errors import BadInput, Fault, FileFaults, Undeliverable

T = TypeVar("T")

FAULTS_SHOWN = 50
"""How many faults of a file are told one by one; the others are a number."""

_YES, _NO = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")
_SEPARATORS = ",;\t"
_LONGEST = 1000
_Report = Callable[[Fault], None]


@dataclass(frozen=True, slots=True)
class Known:
    """What recipients may refer to: the user types of the catalogue, and the time zones of the database."""

    user_types: frozenset[str]
    zones: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A file that was found to be without faults: iterating reads it once more. `rows` is how many it has."""

    path: Path
    rows: int
    _kind: _Kind[T] = field(repr=False)

    def __iter__(self) -> Iterator[T]:
        """The rows, one after the other.

        Raises:
            BadInput: the file cannot be read any more.
            FileFaults: it has changed since it was looked through, and has a fault now.
        """

        def refuse(fault: Fault) -> None:
            raise FileFaults(str(self.path), [fault])

        return _read(self.path, self._kind, refuse)

    def chunks(self, size: int) -> Iterator[list[T]]:
        """The rows in lists of `size`."""
        rows = iter(self)
        while chunk := list(islice(rows, size)):
            yield chunk


def open_recipients(path: Path, known: Known) -> Listing[Recipient]:
    """Look a file of recipients through.

    Columns: `id` and `user_type`, and if you like `address`, `confirmed`, `opted_in`, `active`, `zone`, `locale`, and
    `attributes` (a JSON object) or `attributes.NAME`. A CSV file names them in its first line; JSON lines have one
    object a line. Of two rows with the same id the later one holds.

    Raises:
        BadInput: the file cannot be read.
        FileFaults: all that is wrong with it, each with its line.
    """
    return _survey(path, _Kind("recipients", _RECIPIENT, ("id", "user_type"), lambda row: _recipient(row, known)))


def open_subscriptions(path: Path) -> Listing[Subscription]:
    """Look a file of subscriptions through: columns `recipient` and `entity`. Raises what `open_recipients` does."""
    return _survey(path, _Kind("subscriptions", _SUBSCRIPTION, ("recipient", "entity"), _subscription))


def check_address(address: str) -> None:
    """Look at one address as a file's would be.

    Raises:
        BadInput: it is none that can be written to.
    """
    try:
        _address(address)
    except _Faulty as fault:
        raise BadInput(f"address: {fault}") from None


# Reading -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: its line, and its cells by column; a cell that is empty or null is not there."""

    line: int
    cells: Mapping[str, Any]


class _Faulty(Exception):
    """A cell cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """A kind of file: which columns there may be and must be, and what a row of it means."""

    name: str
    columns: Mapping[str, Callable[[Any], Any]]
    needed: Sequence[str]
    build: Callable[[Mapping[str, Any]], T | list[tuple[str, str]]]


class _Faults:
    """The first faults of a file, and how many there are in all."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.count += 1
        if self.count <= FAULTS_SHOWN:
            self.first.append(fault)

    def told(self) -> list[Fault]:
        more = self.count - len(self.first)
        return [*self.first, Fault(0, "", f"and {more:,} more faults")] if more else self.first


def _survey(path: Path, kind: _Kind[T]) -> Listing[T]:
    faults = _Faults()
    rows = sum(1 for _ in _read(path, kind, faults.add))
    if not rows and not faults.count:
        faults.add(Fault(0, "", f"has no {kind.name}; expected a line with the columns' names, then one a line"))
    if faults.count:
        raise FileFaults(str(path), faults.told())
    return Listing(path, rows, kind)


def _read(path: Path, kind: _Kind[T], report: _Report) -> Iterator[T]:
    with _opened(path) as file:
        first = file.readline()
        file.seek(0)
        rows = _json_rows(file, report) if first.lstrip().startswith("{") else _csv_rows(file, first, kind, report)
        readers = _Readers(kind.columns)
        for row in rows:
            made = _made(row, kind, readers, report)
            if made is not None:
                yield made


class _Readers(dict[str, Callable[[Any], Any]]):
    """How the cells of each column are read."""

    def __missing__(self, name: str) -> Callable[[Any], Any]:
        if "attributes.NAME" in self and name.startswith("attributes."):
            return self["attributes.NAME"]
        raise _Faulty(no_such("column", name, self))


def _made(row: _Row, kind: _Kind[T], readers: _Readers, report: _Report) -> T | None:
    values: dict[str, Any] = {}
    faults = [(name, "is missing") for name in kind.needed if name not in row.cells]
    for name, cell in row.cells.items():
        try:
            values[name] = readers[name](cell)
        except _Faulty as fault:
            faults.append((name, str(fault)))
    made = faults if faults else kind.build(values)
    if not isinstance(made, list):
        return made
    for name, what in made:
        report(Fault(row.line, name, what))
    return None


def _json_rows(file: TextIO, report: _Report) -> Iterator[_Row]:
    for number, line in enumerate(file, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            report(Fault(number, "line", f"is not JSON: {error}"))
            continue
        if isinstance(row, dict):
            yield _Row(number, {name: cell for name, cell in row.items() if cell is not None})
        else:
            report(Fault(number, "line", f"is {shown(row)}, expected a JSON object"))


def _csv_rows(file: TextIO, first: str, kind: _Kind[T], report: _Report) -> Iterator[_Row]:
    reader = csv.reader(file, delimiter=max(_SEPARATORS, key=first.count), strict=True)
    header = [name.strip() for name in next(reader, [])]
    faults = list(_header_faults(header, kind)) if header else []
    for where, what in faults:
        report(Fault(1, where, what))
    while not faults:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            report(Fault(line, "line", f"is not a row of CSV: {error}"))
            continue
        if cells is None:
            return
        if not any(cells):
            continue
        if len(cells) != len(header):
            report(Fault(line, "line", f"has {len(cells)} cells, and the first line names {len(header)} columns"))
            continue
        yield _Row(line, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""})


def _header_faults(header: Sequence[str], kind: _Kind[T]) -> Iterator[tuple[str, str]]:
    for name in kind.needed:
        if name not in header:
            yield name, f"there is no such column; the first line names the columns, at least {', '.join(kind.needed)}"
    for place, name in enumerate(header):
        if not name.startswith("attributes.") and name not in kind.columns:
            yield name, no_such("column", name, kind.columns)
        elif name in header[:place]:
            yield name, "is named twice"


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text. Bytes that are not UTF-8 become lone surrogates: the cell that has them says so."""
    try:
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; give the path of a file") from None
    with file:
        if not file.seekable():
            raise BadInput(f"{path} cannot be read twice; give the path of a file, not of a pipe")
        yield file


# Cells ---------------------------------------------------------------------------------------------------------------


def _text(cell: Any) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        cell = str(cell)
    if not isinstance(cell, str):
        raise _Faulty(f"is {shown(cell)}, expected a text")
    if not cell or len(cell) > _LONGEST:
        raise _Faulty(f"has {len(cell):,} characters, expected 1 to {_LONGEST:,}")
    if not cell.isprintable():
        raise _Faulty(f"{quoted(cell)} has a control character or bytes that are not UTF-8")
    return cell


def _address(cell: Any) -> str:
    address = _text(cell)
    try:
        wire_address(address)
    except Undeliverable as fault:
        raise _Faulty(f"{quoted(address)}: {str(fault).removeprefix('address: ')}") from None
    return address


def _truth(cell: Any) -> bool:
    if isinstance(cell, bool):
        return cell
    word = str(cell).strip().lower()
    if word not in (*_YES, *_NO):
        raise _Faulty(f"{shown(cell)} is neither true nor false; write true or false")
    return word in _YES


def _attributes(cell: Any) -> dict[str, Any]:
    try:
        value = json.loads(cell) if isinstance(cell, str) else cell
        storable = isinstance(value, dict) and _storable(value)
    except (ValueError, RecursionError):
        raise _Faulty(f'{shown(cell)} is not JSON; write {{"team": "Blue"}}') from None
    if not storable:
        raise _Faulty(f'{shown(value)} is not a JSON object of storable texts; write {{"team": "Blue"}}')
    return dict(value)


def _attribute(cell: Any) -> Any:
    if not _storable(cell):
        raise _Faulty(f"{shown(cell)} has a NUL character or bytes that are not UTF-8")
    return cell


def _storable(value: Any) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return False
    return "\\u0000" not in text


_RECIPIENT: Mapping[str, Callable[[Any], Any]] = {
    "id": _text,
    "user_type": _text,
    "address": _address,
    "confirmed": _truth,
    "opted_in": _truth,
    "active": _truth,
    "zone": _text,
    "locale": _text,
    "attributes": _attributes,
    "attributes.NAME": _attribute,
}
_SUBSCRIPTION: Mapping[str, Callable[[Any], Any]] = {"recipient": _text, "entity": _text}


def _recipient(values: Mapping[str, Any], known: Known) -> Recipient | list[tuple[str, str]]:
    faults = []
    if values["user_type"] not in known.user_types:
        faults.append(("user_type", _stranger("user type", values["user_type"], known.user_types)))
    if values.get("zone", "UTC") not in known.zones:
        faults.append(("zone", f"{quoted(values['zone'])} is no time zone; write an IANA name like Europe/Berlin"))
    return faults or Recipient(**_with_attributes(values))


def _with_attributes(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cells with those of `attributes.NAME` gathered under `attributes`."""
    single = [name for name in values if name not in _RECIPIENT]
    if not single:
        return values
    own = {name: value for name, value in values.items() if name in _RECIPIENT}
    gathered = {name.removeprefix("attributes."): values[name] for name in single}
    return {**own, "attributes": {**values.get("attributes", {}), **gathered}}


def _subscription(values: Mapping[str, Any]) -> Subscription | list[tuple[str, str]]:
    return Subscription(values["recipient"], values["entity"])


def _stranger(what: str, name: str, known: frozenset[str]) -> str:
    return f"{quoted(name)}: {no_such(what, name, sorted(known))}"
