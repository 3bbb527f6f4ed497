"""Which users, as somebody says it: a small tree that goes to JSON and comes back the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hark.lists import File

MOST_PARTS = 32
"""How many lists and segments one cohort may be made of."""
MOST_IDS = 100_000
"""How many ids may be written out; more are a file."""


@dataclass(frozen=True, slots=True)
class Everyone:
    """All users of the user types that are asked for."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Users named one by one."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A saved, named set of users."""

    name: str


@dataclass(frozen=True, slots=True)
class Flag:
    """Whoever a flag lets in."""

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


@dataclass(frozen=True, slots=True)
class Buyers:
    """Whoever has facts of what they bought: everyone in the graph, which is computed from those."""


Listed = Ids | File
Who = Everyone | Buyers | Ids | File | Segment | Flag | Union | Difference


@dataclass(frozen=True, slots=True)
class Cohort:
    """The users that a backfill is about."""

    who: Who

    def as_json(self) -> dict[str, Any]:
        """The cohort as JSON can say it; `cohort_from_json` gives it back."""
        return _as_json(self.who)

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


def union_of(parts: Sequence[Who]) -> Who:
    """One part as it is, several as their union."""
    return parts[0] if len(parts) == 1 else Union(tuple(parts))


# To JSON and to words -------------------------------------------------------------------------------------------------


def _as_json(who: Who) -> dict[str, Any]:
    match who:
        case Everyone():
            return {"all": True}
        case Buyers():
            return {"buyers": True}
        case Ids(ids):
            return {"ids": list(ids)}
        case File(url, kind, column):
            told = {"format": kind and kind.value, "column": column}
            return {"file": url, **{name: value for name, value in told.items() if value is not None}}
        case Segment(name):
            return {"segment": name}
        case Flag(name):
            return {"flag": name}
        case Union(parts):
            return {"union": [_as_json(part) for part in parts]}
        case Difference(of, without):
            return {"difference": [_as_json(of), _as_json(without)]}


def _in_words(who: Who) -> str:
    match who:
        case Everyone():
            return "all users"
        case Buyers():
            return "everyone in the graph"
        case Ids(ids):
            return f"{len(ids):,} named user{'s' if len(ids) != 1 else ''}"
        case File(url):
            return url
        case Segment(name):
            return f"segment {name}"
        case Flag(name):
            return f"whoever flag {name} lets in"
        case Union(parts):
            return " and ".join(_in_words(part) for part in parts)
        case Difference(of, without):
            return f"{_in_words(of)}, except {_in_words(without)}"
