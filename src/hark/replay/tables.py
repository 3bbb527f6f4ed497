"""The rows of a history file, whatever its form: comma, semicolon or tab separated, space separated, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from hark.errors import BadInput, Fault

Report = Callable[[Fault], None]
Cells = Sequence[str] | Mapping[str, object]
"""A row's cells: by place, or by name where the file is JSON lines. A number in JSON stays the text that it was."""

_COMMENTS = ("#", "%")


class Form(StrEnum):
    """How lines are cut into cells, by the character that shows it."""

    JSON = "{"
    TABS = "\t"
    COMMAS = ","
    SEMICOLONS = ";"
    SPACES = " "


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `line` is where it begins, counted from 1."""

    line: int
    cells: Cells


def form_of(path: Path) -> Form:
    """The form of a file, judged by its first row.

    Raises:
        BadInput: the file cannot be read, or nothing is in it.
    """
    with _opened(path) as file:
        first = next(_Lines(file), None)
    if first is None:
        raise BadInput(f"{path} has no events; expected one a line")
    if first.lstrip().startswith(Form.JSON):
        return Form.JSON
    separators = [form for form in (Form.TABS, Form.COMMAS, Form.SEMICOLONS) if form in first]
    return max(separators, key=first.count, default=Form.SPACES)


def rows(path: Path, form: Form, report: Report) -> Iterator[Row]:
    """The rows of a file, one after the other; none of them is kept.

    Blank rows are passed over, and so are lines before the first row that begin with # or %.

    Args:
        report: told of each line that is no row.

    Raises:
        BadInput: the file cannot be read.
    """
    with _opened(path) as file:
        lines = _Lines(file)
        if form is Form.JSON:
            yield from _json_rows(lines, report)
        elif form is Form.SPACES:
            yield from (Row(lines.number, line.split()) for line in lines if not line.isspace())
        else:
            yield from _separated_rows(lines, form, report)


class _Lines(Iterator[str]):
    """The lines of a file from its first row on; `number` is the place of the one last given, from 1."""

    def __init__(self, file: TextIO) -> None:
        self._file = enumerate(file, start=1)
        self._begun = False
        self.number = 0

    def __next__(self) -> str:
        for number, line in self._file:
            self.number = number
            self._begun = self._begun or not (line.isspace() or line.startswith(_COMMENTS))
            if self._begun:
                return line
        raise StopIteration


def _json_rows(lines: _Lines, report: Report) -> Iterator[Row]:
    for line in lines:
        if line.isspace():
            continue
        try:
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            report(Fault(lines.number, "line", f"not JSON: {error}"))
            continue
        if isinstance(row, dict):
            yield Row(lines.number, row)
        else:
            report(Fault(lines.number, "line", 'not a JSON object; expected {"recipient": …, "time": …}'))


def _separated_rows(lines: _Lines, form: Form, report: Report) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=form)
    while True:
        read = reader.line_num
        cells, error = _next_cells(reader)
        begins = lines.number - (reader.line_num - read) + 1
        if cells is None:
            return
        if error:
            report(Fault(begins, "line", f"not a row: {error}; is a quotation mark left open?"))
        elif any(cell.strip() for cell in cells):
            yield Row(begins, cells)


def _next_cells(reader: Iterator[list[str]]) -> tuple[list[str] | None, str]:
    """The next row's cells, None at the end; or what is wrong with it."""
    try:
        return next(reader, None), ""
    except csv.Error as error:
        return [], str(error)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text. Bytes that are not UTF-8 become lone surrogates: whoever uses such a cell says so."""
    try:
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; give the path of a file") from error
    with file:
        yield file
