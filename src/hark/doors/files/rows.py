"""The rows of a file, and what they mean: looked through once for faults, read once more to be used."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from hark.catalogue.wording import no_such, shown
from hark.doors.files.cells import Faulty
from hark.errors import FAULTS_SHOWN, BadInput, Fault, FileFaults

T = TypeVar("T")

_SEPARATORS = ",;\t"
Report = Callable[[Fault], None]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: its line, and its cells by column; a cell that is empty or null is not there."""

    line: int
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
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


def survey(path: Path, kind: Kind[T]) -> int:
    """Look a file through; how many rows it has.

    Raises:
        BadInput: it cannot be read.
        FileFaults: all that is wrong with it.
    """
    faults = _Faults()
    rows = sum(1 for _ in read(path, kind, faults.add))
    if not rows and not faults.count:
        faults.add(Fault(0, "", f"has no {kind.name}; expected a line with the columns' names, then one a line"))
    if faults.count:
        raise FileFaults(str(path), faults.told())
    return rows


def read(path: Path, kind: Kind[T], report: Report) -> Iterator[T]:
    """The rows of a file as what they mean; those with faults are told to `report` and left out."""
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
        raise Faulty(no_such("column", name, self))


def _made(row: _Row, kind: Kind[T], readers: _Readers, report: Report) -> T | None:
    values: dict[str, Any] = {}
    faults = [(name, "is missing") for name in kind.needed if name not in row.cells]
    for name, cell in row.cells.items():
        try:
            values[name] = readers[name](cell)
        except Faulty as fault:
            faults.append((name, str(fault)))
    made = faults if faults else kind.build(values)
    if not isinstance(made, list):
        return made
    for name, what in made:
        report(Fault(row.line, name, what))
    return None


def _json_rows(file: TextIO, report: Report) -> Iterator[_Row]:
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


def _csv_rows(file: TextIO, first: str, kind: Kind[T], report: Report) -> Iterator[_Row]:
    reader = csv.reader(file, delimiter=max(_SEPARATORS, key=first.count), strict=True)
    lines = _csv_lines(reader, report)
    _, header = next(lines, (0, []))
    header = [name.strip() for name in header]
    faults = list(_header_faults(header, kind)) if header else []
    for where, what in faults:
        report(Fault(1, where, what))
    for line, cells in () if faults else lines:
        if not any(cells):
            continue
        if len(cells) == len(header):
            yield _Row(line, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""})
        else:
            report(Fault(line, "line", f"has {len(cells)} cells, and the first line names {len(header)} columns"))


def _csv_lines(reader: Any, report: Report) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line that it begins on."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            report(Fault(line, "line", f"is not a row of CSV: {error}"))
            continue
        if cells is None:
            return
        yield line, cells


def _header_faults(header: Sequence[str], kind: Kind[T]) -> Iterator[tuple[str, str]]:
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
