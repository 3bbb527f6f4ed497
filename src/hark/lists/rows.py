"""From text to ids: one a line, or a column of a CSV table. Every line of a file ends as an id, as bad, or as blank.

A block of plain lines is looked at as a whole; only one with something odd in it is taken line by line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hark.catalogue.wording import no_such, quoted
from hark.errors import Fault, FileFaults
from hark.lists.lines import LONGEST_LINE, Batch, Remaining, batches
from hark.lists.naming import DEFAULT_COLUMN, LONGEST_ID, File, Format, id_fault

_LONGEST_ROW = 100
"""Lines of one row of CSV: a quotation mark that is not closed by then was left open by mistake."""
_SEPARATORS = ",;\t"
_SAYS = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
"""The line before a table that spreadsheets write to say what separates its cells."""
_PRINTABLE = bytes(range(32, 127)) + b"\n"


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that names nobody: what is wrong with it, and how it begins."""

    line: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a list: `lines[n]` is where `ids[n]` stands, counted from 1."""

    lines: Sequence[int]
    ids: Sequence[str]
    bad: Sequence[Bad] = ()
    blank: int = 0

    @property
    def rows(self) -> int:
        """How many rows were read, whatever came of them."""
        return len(self.ids) + len(self.bad) + self.blank


def chunks(file: File, url: str, texts: Iterator[str]) -> Iterator[Chunk]:
    """The ids of a file, a block at a time.

    Raises:
        FileFaults: it is to be a table, but has no such column.
    """
    remaining = Remaining(batches(texts))
    yield from _blank_ones(remaining)
    first, separator = remaining.first_line(), ""
    if first is not None and file.format is not Format.LINES and (said := _SAYS.fullmatch(first[1])):
        separator = said[1]
        yield _passed_over(remaining, first[0])
        yield from _blank_ones(remaining)
        first = remaining.first_line()
    if first is None:
        return
    table = _table(file, url, first, separator)
    yield from _lines(remaining) if table is None else _rows(remaining, table)


def _passed_over(remaining: Remaining, number: int) -> Chunk:
    """All lines up to this one, which is of the block that was put back: they name nobody."""
    taken = remaining.take()
    assert taken is not None
    begun, batch = taken
    remaining.put_back(number + 1, batch.lines[number + 1 - begun :])
    return Chunk((), (), blank=number + 1 - begun)


# Lines ----------------------------------------------------------------------------------------------------------------


def _blank_ones(remaining: Remaining) -> Iterator[Chunk]:
    """The blocks that have nothing but blank lines; the first one that has more is put back."""
    while (taken := remaining.take()) is not None:
        line, batch = taken
        if batch.text.strip("\n"):
            remaining.put_back(line, batch.lines)
            return
        yield Chunk((), (), blank=batch.count)


def _lines(remaining: Remaining) -> Iterator[Chunk]:
    while (taken := remaining.take()) is not None:
        line, batch = taken
        lines = batch.lines
        plain = _is_plain(batch.text) and _is_whole(lines)
        yield Chunk(range(line, line + len(lines)), lines) if plain else sorted_out(enumerate(lines, line))


def _is_plain(text: str, between: str = "\n") -> bool:
    """Whether no id out of this text can have anything odd in it, but for its length."""
    if text.isascii():
        return not text.encode("ascii").translate(None, _PRINTABLE + between.encode())
    return text.replace("\n", "").replace(between, "").isprintable() and "\ufffd" not in text


def _is_whole(ids: Sequence[str]) -> bool:
    return all(ids) and max(map(len, ids)) <= LONGEST_ID


def sorted_out(pairs: Iterable[tuple[int, str]]) -> Chunk:
    """Ids one by one with their lines: good, bad or blank."""
    chosen = _Chosen()
    for line, each in pairs:
        if each:
            chosen.add(line, each, each)
        else:
            chosen.blank += 1
    return chosen.chunk()


@dataclass(slots=True)
class _Chosen:
    """What has come out of a block so far."""

    lines: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    blank: int = 0

    def add(self, line: int, name: str, row: str) -> None:
        if fault := id_fault(name):
            self.refuse(line, fault, row)
            return
        self.lines.append(line)
        self.ids.append(name)

    def refuse(self, line: int, what: str, text: str) -> None:
        self.bad.append(Bad(line, what, quoted(text)))

    def chunk(self) -> Chunk:
        return Chunk(self.lines, self.ids, self.bad, self.blank)


# Tables ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    """How a CSV table is laid out: its first line's number, separator, columns, and which of them has the ids."""

    header_line: int
    separator: str
    columns: int
    place: int


def _table(file: File, url: str, first: tuple[int, str], separator: str) -> _Table | None:
    """The layout that the first line shows; None: the file has one id a line.

    Args:
        separator: what the file says that it is; empty: it says nothing.

    Raises:
        FileFaults: it is to be a table, but has no such column.
    """
    if file.format is Format.LINES:
        return None
    number, line = first
    wanted = file.column or DEFAULT_COLUMN
    separator = separator or max(_SEPARATORS, key=line.count)
    names = _header(line, separator)
    places = [place for place, name in enumerate(names) if name == wanted]
    places = places or [place for place, name in enumerate(names) if name.lower() == wanted.lower()]
    if len(places) == 1:
        return _Table(number, separator, len(names), places[0])
    if len(names) == 1 and file.format is None and file.column is None:
        return None
    twice = f"the first line names column {wanted} {len(places)} times"
    none = f"{quoted(wanted)}: {no_such('column', wanted, names)}; name it with --column, or write --format lines"
    raise FileFaults(url, [Fault(number, "columns", twice if places else none)])


def _header(line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line[:LONGEST_LINE]], delimiter=separator, strict=True))]
    except csv.Error:
        return [name.strip() for name in line.split(separator)]


def _rows(remaining: Remaining, table: _Table) -> Iterator[Chunk]:
    while (taken := remaining.take()) is not None:
        line, batch = taken
        if line <= table.header_line:
            passed = table.header_line - line
            yield Chunk((), (), blank=passed)
            remaining.put_back(table.header_line + 1, batch.lines[passed + 1 :])
            continue
        ids = _plain_column(batch, table)
        yield Chunk(range(line, line + len(ids)), ids) if ids else _odd_rows(line, batch, table, remaining)


def _plain_column(batch: Batch, table: _Table) -> Sequence[str] | None:
    """The ids of a block at once; None: there is anything odd in it, so that each row must be looked at."""
    if len(batch.text) > LONGEST_LINE or not _is_plain(batch.text, table.separator):
        return None
    ids = _quoted(batch, table) if '"' in batch.text else _unquoted(batch, table)
    return ids if len(ids) == batch.count and _is_whole(ids) else None


def _unquoted(batch: Batch, table: _Table) -> Sequence[str]:
    """As many as lines, if each line has all its cells; else none.

    All cells are split at once, with each line's end kept in front of the next one's first cell: they are whole rows if
    these stand where first cells are due. Of one column, they are the lines.
    """
    if table.columns == 1:
        return batch.lines if table.separator not in batch.text else ()
    cells = batch.text.replace("\n", f"{table.separator}\n").split(table.separator)
    firsts = "".join(cells[:: table.columns]).split("\n")
    if len(firsts) != batch.count or len(cells) != batch.count * table.columns:
        return ()
    return firsts if table.place == 0 else cells[table.place :: table.columns]


def _quoted(batch: Batch, table: _Table) -> Sequence[str]:
    """As many as lines: then no row goes on past its line, and no quotation mark was left open. Else none."""
    try:
        rows = list(csv.reader(batch.lines, delimiter=table.separator, strict=True))
    except csv.Error:
        return ()
    return [row[table.place] for row in rows if len(row) == table.columns] if len(rows) == batch.count else ()


def _odd_rows(line: int, batch: Batch, table: _Table, remaining: Remaining) -> Chunk:
    """The rows of a block one by one; a row that goes on past its end takes from the next."""
    chosen = _Chosen()
    lines = batch.lines
    at, end = 0, len(lines)
    while at < end:
        while '"' in lines[at] and len(lines) - at < _LONGEST_ROW and (taken := remaining.take()) is not None:
            lines += taken[1].lines
        at += _one_row(chosen, line + at, lines, at, table)
    remaining.put_back(line + at, lines[at:])
    return chosen.chunk()


def _one_row(chosen: _Chosen, number: int, lines: Sequence[str], at: int, table: _Table) -> int:
    """Read the row that begins with one line; how many lines it has."""
    text = lines[at]
    cells, used, fault = _cells(lines, at, table.separator)
    if fault:
        chosen.refuse(number, fault, text)
    elif not any(cells):
        chosen.blank += 1
    elif len(cells) != table.columns:
        chosen.refuse(number, f"has {len(cells)} cells, and the first line names {table.columns} columns", text)
    else:
        chosen.add(number, cells[table.place], text)
    return used


def _cells(lines: Sequence[str], at: int, separator: str) -> tuple[list[str], int, str]:
    """The cells of a row, how many lines it has, and what is wrong with it (then it is one line, and the next counts
    for itself, so that a quotation mark that was left open swallows nobody)."""
    text = lines[at]
    if len(text) > LONGEST_LINE:
        return [], 1, f"is longer than {LONGEST_LINE:,} characters"
    if '"' not in text:
        return text.split(separator), 1, ""
    feed = (f"{each}\n" for each in lines[at : at + _LONGEST_ROW])
    reader = csv.reader(feed, delimiter=separator, strict=True)
    try:
        cells = next(reader)
    except csv.Error as error:
        return [], 1, f"is not a row of CSV: {error}"
    return cells, reader.line_num, ""
