"""A cohort out of JSON, as it comes over HTTP and as it was kept: all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from hark.backfill.cohort.spec import (
    MOST_IDS,
    MOST_PARTS,
    Buyers,
    Cohort,
    Difference,
    Everyone,
    Flag,
    Ids,
    Segment,
    Union,
    Who,
    leaves,
)
from hark.backfill.reading import Reading
from hark.catalogue.wording import no_such, quoted, shown
from hark.errors import FAULTS_SHOWN, BadInput
from hark.lists import File, Format, id_fault

T = TypeVar("T")

_DEEPEST = 8
_KINDS = ("all", "buyers", "ids", "file", "segment", "flag", "union", "difference")
_OF_A_FILE = ("format", "column")
_EXAMPLE = '{"ids": ["bob"]}, {"file": "s3://bucket/key"}, {"segment": "beta"}, {"flag": "live"} or {"all": true}'


def cohort_from_json(value: object) -> Cohort:
    """A cohort out of JSON, as `{"union": [{"file": "s3://b/k", "column": "user_id"}, {"segment": "beta"}]}`.

    Raises:
        BadInput: all that is wrong with it, one a line, each with its place.
    """
    who = _read(value, "cohort", _DEEPEST)
    if sum(1 for _ in leaves(who)) > MOST_PARTS:
        raise BadInput(f"cohort: has more than {MOST_PARTS} parts; put several of its lists into one file")
    return Cohort(who)


def _read(value: object, place: str, depth: int) -> Who:
    given, kind = _kind_of(value, place)
    if not depth:
        raise BadInput(f"{place}: is nested deeper than {_DEEPEST} levels")
    said, place = given[kind], f"{place}.{kind}"
    match kind:
        case "all":
            return _read_everyone(said, place)
        case "buyers":
            _read_everyone(said, place)
            return Buyers()
        case "ids":
            return _read_ids(said, place)
        case "file":
            return _read_file(given, place)
        case "segment":
            return Segment(_text(said, place))
        case "flag":
            return Flag(_text(said, place))
        case "union":
            return Union(_read_parts(said, place, depth))
        case _:
            return _read_difference(said, place, depth)


def _kind_of(value: object, place: str) -> tuple[Mapping[Any, Any], str]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{place}: is {shown(value)}, expected an object such as {_EXAMPLE}")
    kinds = [name for name in _KINDS if name in value]
    if len(kinds) != 1:
        said = f"says {' and '.join(kinds)}" if kinds else "says nothing of whom"
        raise BadInput(f"{place}: {said}; expected one of {', '.join(_KINDS)}")
    allowed = (kinds[0], *_OF_A_FILE) if kinds[0] == "file" else (kinds[0],)
    strange = [str(name) for name in value if name not in allowed]
    _refuse(f"{place}: {quoted(name)}: {no_such('key', name, allowed)}" for name in strange)
    return value, kinds[0]


def _read_everyone(said: object, place: str) -> Everyone:
    if said is not True:
        raise BadInput(f"{place}: is {shown(said)}, expected true")
    return Everyone()


def _read_ids(said: object, place: str) -> Ids:
    if not isinstance(said, list | tuple):
        raise BadInput(f"{place}: is {shown(said)}, expected a list of ids")
    if len(said) > MOST_IDS:
        raise BadInput(f"{place}: names {len(said):,} users, at most {MOST_IDS:,}; write them into a file")
    ids = [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in said]
    whys = (id_fault(each) if isinstance(each, str) else "is not a text" for each in ids)
    faults = [f"{place}[{n}]: {shown(ids[n])} {why}" for n, why in enumerate(whys) if why]
    _refuse(faults[:FAULTS_SHOWN])
    return Ids(tuple(ids))


def _read_file(given: Mapping[Any, Any], place: str) -> File:
    reading = Reading()
    url = reading.take(lambda: _text(given["file"], place))
    column = reading.take(lambda: _optional(given, "column", place, _text))
    kind = reading.take(lambda: _optional(given, "format", place, _format))
    reading.end()
    return File(url or "", kind, column)


def _optional(given: Mapping[Any, Any], key: str, place: str, read: Callable[[object, str], T]) -> T | None:
    return None if given.get(key) is None else read(given[key], f"{place}.{key}")


def _format(said: object, place: str) -> Format:
    if not isinstance(said, str) or said not in list(Format):
        raise BadInput(f"{place}: {shown(said)}: {no_such('format', str(said), list(Format))}")
    return Format(said)


def _read_parts(said: object, place: str, depth: int) -> tuple[Who, ...]:
    if not isinstance(said, list | tuple) or not 1 <= len(said) <= MOST_PARTS:
        raise BadInput(f"{place}: is {shown(said)}, expected a list of 1 to {MOST_PARTS} cohorts")
    reading = Reading()
    parts = [reading.take(partial(_read, each, f"{place}[{n}]", depth - 1)) for n, each in enumerate(said)]
    reading.end()
    return tuple(part for part in parts if part is not None)


def _read_difference(said: object, place: str, depth: int) -> Difference:
    parts = _read_parts(said, place, depth)
    if len(parts) != 2:
        raise BadInput(f"{place}: has {len(parts)} cohorts, expected two: of whom, and without whom")
    return Difference(*parts)


def _text(said: object, place: str) -> str:
    if isinstance(said, str) and said and len(said) <= 2000 and said.isprintable():
        return said
    raise BadInput(f"{place}: is {shown(said)}, expected a printable text")


def _refuse(faults: Iterable[str]) -> None:
    if told := list(faults):
        raise BadInput("\n".join(told))
