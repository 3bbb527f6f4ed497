"""Which users, as somebody says it: a small tree that goes to JSON and comes back the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hark.catalogue.wording import no_such, quoted, shown
from hark.errors import BadInput

DEFAULT_COLUMN = "id"
LONGEST_ID = 255
MOST_PARTS = 32
"""How many lists and segments one cohort may be made of."""
MOST_IDS = 100_000
"""How many ids may be written out; more are a file."""
_DEEPEST = 8


class Format(StrEnum):
    """What is in a file: a CSV table, one id a line, or Parquet."""

    CSV = "csv"
    LINES = "lines"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Everyone:
    """All users of the user types that are asked for."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Users named one by one."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file of users.

    `url` is a path of this machine or a URL (`s3://`, `gs://`, `az://`, `file://`). With no `format`, what the file
    looks like decides; with no `column`, it is `id`.
    """

    url: str
    format: Format | None = None
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A saved, named set of users."""

    name: str


@dataclass(frozen=True, slots=True)
class Union:
    """Whoever is in any of the parts."""

    parts: tuple[Who, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Whoever is in `of`, but not in `without`."""

    of: Who
    without: Who


Listed = Ids | File
Who = Everyone | Ids | File | Segment | Union | Difference


@dataclass(frozen=True, slots=True)
class Cohort:
    """The users that a backfill is about."""

    who: Who

    def as_json(self) -> dict[str, Any]:
        """The cohort as JSON can say it; `from_json` gives it back."""
        return _as_json(self.who)

    @classmethod
    def from_json(cls, value: object) -> Cohort:
        """A cohort out of JSON, as `{"union": [{"file": "s3://b/k", "column": "user_id"}, {"segment": "beta"}]}`.

        Raises:
            BadInput: all that is wrong with it, one a line, each with its place.
        """
        faults: list[str] = []
        who = _read(value, "cohort", faults, _DEEPEST)
        if who is not None and sum(1 for _ in leaves(who)) > MOST_PARTS:
            faults.append(f"cohort: has more than {MOST_PARTS} parts; put several of its lists into one file")
        if faults or who is None:
            raise BadInput("\n".join(faults))
        return cls(who)

    def __str__(self) -> str:
        return _in_words(self.who)


def leaves(who: Who, *, adds: bool = True) -> Iterator[tuple[Who, bool]]:
    """All that a cohort is made of, from left to right, each with whether it adds users or takes them away."""
    match who:
        case Union(parts):
            for part in parts:
                yield from leaves(part, adds=adds)
        case Difference(of, without):
            yield from leaves(of, adds=adds)
            yield from leaves(without, adds=not adds)
        case _:
            yield who, adds


@dataclass(frozen=True, slots=True)
class List:
    """A list of a cohort, its number, and whether it adds users or takes them away."""

    number: int
    listed: Listed
    adds: bool


def lists_of(who: Who) -> list[List]:
    """All lists; those that add come first."""
    found = [(leaf, adds) for leaf, adds in leaves(who) if isinstance(leaf, Ids | File)]
    ordered = sorted(found, key=lambda each: not each[1])
    return [List(number, leaf, adds) for number, (leaf, adds) in enumerate(ordered)]


def id_fault(text: str) -> str:
    """What keeps a text from being a user's id; empty: nothing."""
    if not text:
        return "has no id"
    if "\x00" in text:
        return "has a NUL character"
    if any("\ud800" <= each <= "\udfff" or each == "\ufffd" for each in text):
        return "has bytes that are no text; save the file as UTF-8"
    if any(each < " " or "\x7f" <= each < "\xa0" for each in text):
        return "has a control character"
    return f"is longer than {LONGEST_ID} characters" if len(text) > LONGEST_ID else ""


# To JSON and to words -------------------------------------------------------------------------------------------------


def _as_json(who: Who) -> dict[str, Any]:
    match who:
        case Everyone():
            return {"all": True}
        case Ids(ids):
            return {"ids": list(ids)}
        case File(url, kind, column):
            told = {"format": kind and kind.value, "column": column}
            return {"file": url, **{name: value for name, value in told.items() if value is not None}}
        case Segment(name):
            return {"segment": name}
        case Union(parts):
            return {"union": [_as_json(part) for part in parts]}
        case Difference(of, without):
            return {"difference": [_as_json(of), _as_json(without)]}


def _in_words(who: Who) -> str:
    match who:
        case Everyone():
            return "all users"
        case Ids(ids):
            return f"{len(ids):,} named user{'s' if len(ids) != 1 else ''}"
        case File(url):
            return url
        case Segment(name):
            return f"segment {name}"
        case Union(parts):
            return " and ".join(_in_words(part) for part in parts)
        case Difference(of, without):
            return f"{_in_words(of)}, except {_in_words(without)}"


# From JSON ------------------------------------------------------------------------------------------------------------


_KINDS = ("all", "ids", "file", "segment", "union", "difference")
_OF_A_FILE = ("format", "column")
_EXAMPLE = '{"ids": ["bob"]}, {"file": "s3://bucket/key"}, {"segment": "beta"} or {"all": true}'


def _read(value: object, place: str, faults: list[str], depth: int) -> Who | None:
    """One node; None: it is faulty, and `faults` says why."""
    kind = _kind_of(value, place, faults)
    if kind is None or not isinstance(value, Mapping):
        return None
    if not depth:
        return _refuse(faults, place, f"is nested deeper than {_DEEPEST} levels")
    given, place = value[kind], f"{place}.{kind}"
    match kind:
        case "all":
            return Everyone() if given is True else _refuse(faults, place, f"is {shown(given)}, expected true")
        case "ids":
            return _read_ids(given, place, faults)
        case "file":
            return _read_file(value, place, faults)
        case "segment":
            name = _text(given, place, faults)
            return None if name is None else Segment(name)
        case "union":
            parts = _read_parts(given, place, faults, depth)
            return None if parts is None else Union(parts)
        case _:
            return _read_difference(given, place, faults, depth)


def _kind_of(value: object, place: str, faults: list[str]) -> str | None:
    if not isinstance(value, Mapping):
        return _refuse(faults, place, f"is {shown(value)}, expected an object such as {_EXAMPLE}")
    kinds = [name for name in _KINDS if name in value]
    if len(kinds) != 1:
        said = f"says {' and '.join(kinds)}" if kinds else "says nothing of whom"
        return _refuse(faults, place, f"{said}; expected one of {', '.join(_KINDS)}")
    allowed = (kinds[0], *_OF_A_FILE) if kinds[0] == "file" else (kinds[0],)
    strange = [str(name) for name in value if name not in allowed]
    for name in strange:
        _refuse(faults, place, f"{quoted(name)}: {no_such('key', name, allowed)}")
    return None if strange else kinds[0]


def _read_ids(given: object, place: str, faults: list[str]) -> Ids | None:
    if not isinstance(given, list | tuple):
        return _refuse(faults, place, f"is {shown(given)}, expected a list of ids")
    if len(given) > MOST_IDS:
        return _refuse(faults, place, f"names {len(given):,} users, at most {MOST_IDS:,}; write them into a file")
    ids = [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in given]
    bad = [(n, each) for n, each in enumerate(ids) if not isinstance(each, str) or id_fault(each)]
    for number, each in bad[:MOST_PARTS]:
        why = id_fault(each) if isinstance(each, str) else "is not a text"
        _refuse(faults, f"{place}[{number}]", f"{shown(each)} {why}")
    return None if bad else Ids(tuple(ids))


def _read_file(value: Mapping[Any, Any], place: str, faults: list[str]) -> File | None:
    url = _text(value["file"], place, faults)
    column = None if value.get("column") is None else _text(value["column"], f"{place}.column", faults)
    kind = value.get("format")
    if kind is not None and kind not in list(Format):
        return _refuse(faults, f"{place}.format", f"{shown(kind)}: {no_such('format', str(kind), list(Format))}")
    return None if url is None else File(url, None if kind is None else Format(kind), column)


def _read_parts(given: object, place: str, faults: list[str], depth: int) -> tuple[Who, ...] | None:
    if not isinstance(given, list | tuple) or not 1 <= len(given) <= MOST_PARTS:
        return _refuse(faults, place, f"is {shown(given)}, expected a list of 1 to {MOST_PARTS} cohorts")
    parts = [_read(each, f"{place}[{number}]", faults, depth - 1) for number, each in enumerate(given)]
    good = tuple(part for part in parts if part is not None)
    return good if len(good) == len(parts) else None


def _read_difference(given: object, place: str, faults: list[str], depth: int) -> Difference | None:
    parts = _read_parts(given, place, faults, depth)
    if parts is None:
        return None
    if len(parts) != 2:
        return _refuse(faults, place, f"has {len(parts)} cohorts, expected two: of whom, and without whom")
    return Difference(*parts)


def _text(value: object, place: str, faults: list[str]) -> str | None:
    if isinstance(value, str) and value and len(value) <= 2000 and value.isprintable():
        return value
    return _refuse(faults, place, f"is {shown(value)}, expected a printable text")


def _refuse(faults: list[str], place: str, what: str) -> None:
    faults.append(f"{place}: {what}")


def union_of(parts: Sequence[Who]) -> Who:
    """One part as it is, several as their union."""
    return parts[0] if len(parts) == 1 else Union(tuple(parts))
