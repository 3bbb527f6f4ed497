"""Which of a file's columns say to whom, by whom and when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from hark.errors import Fault, FileFaults
from hark.replay.tables import Form, Row

Place = int | str
"""Where a cell is in its row: its number, from 0, or its name in JSON lines."""

USUAL_NAMES: Mapping[str, Sequence[str]] = {
    "recipient": ("recipient", "recipient_id", "to", "target", "tgt", "dst", "user", "user_id"),
    "actor": ("actor", "actor_id", "from", "source", "src", "sender"),
    "time": ("time", "at", "timestamp", "occurred_at", "created_at", "published_at", "unixtime", "ts", "date"),
}
"""What a column is usually called, the likeliest first."""

_USUAL_PLACES: Mapping[int, Mapping[str, Place]] = {
    2: {"recipient": 0, "time": 1},
    3: {"actor": 0, "recipient": 1, "time": 2},
}
_CLOCK = re.compile(r"[0-9]{1,2}:[0-9]{2}.*")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read, each by its name or by its number, counted from 1; None: to be found.

    A column to be found is known by its usual names (`recipient`, `to`, `tgt` …) in the first line. If that line is an
    event already and no column is given at all, the columns are actor, recipient, time; if there are only two,
    recipient, time.
    """

    recipient: str | int | None = None
    actor: str | int | None = None
    time: str | int | None = None


FOUND = Columns()
"""All columns are to be found."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the cells are; `header` says that the first row names the columns."""

    form: Form
    recipient: Place
    actor: Place | None
    time: Place
    header: bool


def layout_of(path: str, first: Row, form: Form, columns: Columns) -> Layout:
    """Where a file has what is looked for, judged by its first row.

    Raises:
        FileFaults: columns that are not there or cannot be told; says which there are.
    """
    given = {wanted: _name_or_number(key, form) for wanted, key in asdict(columns).items()}
    header = not isinstance(first.cells, Mapping) and _is_header(first.cells, given)
    names = _names(first, header)
    places = _usual_places(first, names, given) | _given_places(first, names, given)
    faults = [
        Fault(first.line, wanted, _missing(first, key, names))
        for wanted, key in given.items()
        if wanted not in places and (key is not None or wanted != "actor")
    ]
    faults += _split_time(first, places.get("time"), form)
    if faults:
        raise FileFaults(path, faults)
    return Layout(form, places["recipient"], places.get("actor"), places["time"], header)


def _name_or_number(key: str | int | None, form: Form) -> str | int | None:
    if isinstance(key, str) and key.isdecimal() and form is not Form.JSON:
        return int(key)
    return str(key) if isinstance(key, int) and form is Form.JSON else key


def _is_header(cells: Sequence[str], given: Mapping[str, str | int | None]) -> bool:
    """Whether the first row names the columns: it must if one is given by its name; else it has no digit for a time."""
    if any(isinstance(key, str) for key in given.values()):
        return True
    number = given["time"]
    place = number - 1 if isinstance(number, int) else min(len(cells), 3) - 1
    return 0 <= place < len(cells) and not any(character.isdigit() for character in cells[place])


def _names(first: Row, header: bool) -> dict[str, Place]:
    if isinstance(first.cells, Mapping):
        return {name: name for name in first.cells}
    return {cell.strip().casefold(): place for place, cell in enumerate(first.cells)} if header else {}


def _usual_places(first: Row, names: Mapping[str, Place], given: Mapping[str, str | int | None]) -> dict[str, Place]:
    """The places of what is not given."""
    if not names:
        guessed = {} if any(given.values()) else _USUAL_PLACES.get(min(len(first.cells), 3), {})
        return dict(guessed)
    return {
        wanted: names[name]
        for wanted, usual in USUAL_NAMES.items()
        for name in reversed(usual)
        if given[wanted] is None and name in names
    }


def _given_places(first: Row, names: Mapping[str, Place], given: Mapping[str, str | int | None]) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for wanted, key in given.items():
        if isinstance(key, int) and 1 <= key <= len(first.cells):
            places[wanted] = key - 1
        elif isinstance(key, str) and isinstance(first.cells, Mapping):
            places[wanted] = key
        elif isinstance(key, str) and key.strip().casefold() in names:
            places[wanted] = names[key.strip().casefold()]
    return places


def _missing(first: Row, key: str | int | None, names: Mapping[str, Place]) -> str:
    there = ", ".join(cell if cell.isprintable() else ascii(cell) for cell in list(first.cells)[:20])
    if isinstance(key, int):
        return f"there is no column {key}; the first line has {len(first.cells)}: {there}"
    if key is None:
        return f"which column is it? Give its name or number; the first line has {there}"
    close = get_close_matches(key.strip().casefold(), list(names), 1)
    hint = f"did you mean {close[0]}?" if close else f"the first line has {there}"
    return f"there is no column {key!r}; {hint}"


def _split_time(first: Row, place: Place | None, form: Form) -> list[Fault]:
    """A date and a time of day with a space between them look like two columns; read as one they would be midnight."""
    if form is not Form.SPACES or not isinstance(place, int) or isinstance(first.cells, Mapping):
        return []
    behind = first.cells[place + 1 : place + 2]
    if not behind or not _CLOCK.fullmatch(behind[0]) or ":" in first.cells[place]:
        return []
    moment = f"{first.cells[place]} {behind[0]}"
    what = f"{moment!r} is in two columns; write a T between them, or separate the columns by commas or tabs"
    return [Fault(first.line, "time", what)]
