"""What a command says: tables for people or JSON for programs on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

_WIDE = 100_000
_PLAIN_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table: its title, and what stands in it for a row."""

    title: str
    cell: Callable[[T], object]
    right: bool = False


class Told(Protocol):
    """What a long work calls with how much is done by now, and whatever else there is to say of it."""

    def __call__(self, done: int, said: str = "") -> None:
        """Show it."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command speaks. `json`: to a program."""

    json: bool = False

    def show(self, value: object, lines: Iterable[str]) -> None:
        """One thing: as one JSON object, or as these lines."""
        if self.json:
            _write(as_json(value))
            return
        for line in lines:
            _write(printable(line))

    def table(self, rows: Sequence[T], columns: Sequence[Column[T]], *, empty: str) -> None:
        """A list: as one JSON object a line, or as a table; `empty` is said of a list without rows."""
        if self.json:
            for row in rows:
                _write(as_json(row))
        elif rows:
            _print_table(rows, columns)
        else:
            _write(empty)

    def note(self, line: str) -> None:
        """Something for people only, beside the output."""
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()

    @contextmanager
    def progress(self, doing: str, total: int | None = None) -> Iterator[Told]:
        """Show how far a long work is; the block is given what to call with how much is done by now.

        A bar with its rate on a terminal; a line now and then elsewhere.
        """
        if not sys.stderr.isatty():
            yield _PlainProgress(self, doing, total)
            return
        with _bar() as bar:
            task = bar.add_task(doing, total=total)
            yield lambda done, said="": bar.update(task, completed=done, description=f"{doing} {said}".strip())


class _PlainProgress:
    def __init__(self, output: Output, doing: str, total: int | None) -> None:
        self._output = output
        self._doing = doing
        self._total = "" if total is None else f" of {total:,}"
        self._last = time.monotonic()

    def __call__(self, done: int, said: str = "") -> None:
        if time.monotonic() - self._last < _PLAIN_PERIOD_S:
            return
        self._last = time.monotonic()
        self._output.note(f"{self._doing}: {done:,}{self._total}{f', {said}' if said else ''}")


def as_json(value: object) -> str:
    """A value as one line of JSON: times in ISO 8601, durations in seconds."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def local(at: datetime | None) -> str:
    """A moment for a table, in this machine's zone."""
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _plain(value: object) -> Any:
    if callable(said := getattr(value, "as_json", None)):
        return _plain(said())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return _plain_leaf(value)


def _plain_leaf(value: object) -> Any:
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Path) else value


def printable(text: str) -> str:
    """A text that moves no cursor, whoever wrote it."""
    if text.isprintable():
        return text
    from hark.catalogue.wording import printable as escaped

    return escaped(text)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print_table(rows: Sequence[T], columns: Sequence[Column[T]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD if on_terminal else None, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=not on_terminal)
    for row in rows:
        table.add_row(*(Text(printable(str(column.cell(row)))) for column in columns))
    # Elsewhere than on a terminal, a row is a line, however long.
    Console(soft_wrap=not on_terminal, width=None if on_terminal else _WIDE).print(table)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
