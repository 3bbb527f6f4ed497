"""A history: what happened to whom when, read from a file as often as it is replayed, never held in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hark.errors import Fault, FileFaults
from hark.replay.columns import FOUND, Columns, Layout, Place, layout_of
from hark.replay.moments import parse_moment
from hark.replay.tables import Cells, Form, Report, Row, form_of, rows

T = TypeVar("T")

FAULTS_SHOWN = 50
"""How many faults of a file are told one by one; the others are a number."""
LONGEST_NAME = 500
"""In characters: what Postgres takes into an index in any language."""

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class PastEvent:
    """One event of a history: `actor` did something at `at` (in UTC) that `recipient` is told of."""

    recipient: str
    actor: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class History:
    """A file of events in the order of their times, found to be well-formed; iterating reads it once more.

    Attributes:
        events: how many there are.
        to_oneself: how many of them have their recipient as their actor. They count like the others: an event reaches
            whom it names, even its own actor, as it does in the engine.
        first_at, last_at: when the first and the last happened.
    """

    path: Path
    layout: Layout
    events: int
    to_oneself: int
    first_at: datetime
    last_at: datetime

    def __iter__(self) -> Iterator[PastEvent]:
        """The events, one after the other.

        Raises:
            BadInput: the file cannot be read any more.
            FileFaults: it has changed since it was opened, and has a fault now.
        """

        def refuse(fault: Fault) -> None:
            raise FileFaults(str(self.path), [fault])

        return _events(self.path, self.layout, refuse)


def open_history(path: Path, columns: Columns = FOUND) -> History:
    """Look a history through: its form, its columns, and every line of it.

    Its form (comma, semicolon, tab or space separated, or JSON lines) shows in its first line; a first line of column
    names is known as such. Times are Unix times or ISO 8601, see `parse_moment`.

    Args:
        path: the file; read as UTF-8.
        columns: which columns to read; what is None is found by its usual names or place.

    Raises:
        BadInput: the file cannot be read, or nothing is in it.
        FileFaults: columns that are not there; or all faults of all lines, and those out of the order of time.
    """
    form = form_of(path)
    layout = layout_of(str(path), _first_row(path, form), form, columns)
    return _survey(path, layout)


def _first_row(path: Path, form: Form) -> Row:
    def refuse(fault: Fault) -> None:
        raise FileFaults(str(path), [fault])

    return next(rows(path, form, refuse))


def _survey(path: Path, layout: Layout) -> History:
    faults = _Faults()
    events = to_oneself = 0
    first_at = last_at = None
    for event in _events(path, layout, faults.add):
        events += 1
        to_oneself += event.actor == event.recipient
        first_at = first_at or event.at
        last_at = event.at
    if not faults.count and (first_at is None or last_at is None):
        faults.add(Fault(0, "", "has no events; expected one a line behind the first"))
    if faults.count or first_at is None or last_at is None:
        raise FileFaults(str(path), faults.told())
    return History(path, layout, events, to_oneself, first_at, last_at)


class _Faults:
    """The first faults of a file, and how many there are in all."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.count += 1
        if self.count <= FAULTS_SHOWN:
            self._first.append(fault)

    def told(self) -> list[Fault]:
        rest = self.count - len(self._first)
        return [*self._first, Fault(0, "", f"and {rest:,} faults more")] if rest else self._first


def _events(path: Path, layout: Layout, report: Report) -> Iterator[PastEvent]:
    before: PastEvent | None = None
    before_line = 0
    found = rows(path, layout.form, report)
    for row in islice(found, int(layout.header), None):
        event = _event(row, layout, report)
        if event is None:
            continue
        if before is not None and event.at < before.at:
            report(Fault(row.line, "time", _disorder(event, before, before_line)))
            continue
        before, before_line = event, row.line
        yield event


def _disorder(event: PastEvent, before: PastEvent, before_line: int) -> str:
    return (
        f"{event.at.isoformat()} is before {before.at.isoformat()} of line {before_line};"
        " a replay needs the events in the order of their times: sort the file by them"
    )


def _event(row: Row, layout: Layout, report: Report) -> PastEvent | None:
    faults: list[Fault] = []
    recipient = _read(row, "recipient", layout.recipient, _name, faults)
    actor = None if layout.actor is None else _read(row, "actor", layout.actor, _name_or_none, faults)
    at = _read(row, "time", layout.time, parse_moment, faults)
    for fault in faults:
        report(fault)
    return None if faults or recipient is None or at is None else PastEvent(recipient, actor, at)


def _read(row: Row, wanted: str, place: Place, parse: Callable[[str], T], faults: list[Fault]) -> T | None:
    try:
        return parse(_cell(row.cells, place))
    except ValueError as error:
        faults.append(Fault(row.line, wanted, str(error)))
        return None


def _cell(cells: Cells, place: Place) -> str:
    if isinstance(cells, Mapping):
        return _text(cells.get(str(place)))
    if not isinstance(place, int) or place >= len(cells):
        raise ValueError(f"is missing; this line has only {len(cells)} columns")
    return _text(cells[place])


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str() if "\0" in value or (not value.isascii() and _SURROGATE.search(value)):
            raise ValueError(f"{ascii(value)[:60]} is not UTF-8 text")
        case str():
            return value.strip()
        case _:
            raise ValueError(f"{json.dumps(value)[:60]} is neither text nor a number")


def _name(text: str) -> str:
    if not text:
        raise ValueError("is empty; expected who is told")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"{text[:40]!r}… is {len(text):,} characters long; at most {LONGEST_NAME}")
    return text


def _name_or_none(text: str) -> str | None:
    return _name(text) if text else None
