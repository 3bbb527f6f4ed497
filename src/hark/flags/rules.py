"""What a segment is made of, as somebody says it; and what a flag may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from hark.catalogue.wording import quoted
from hark.errors import BadInput
from hark.lists import LONGEST_ID, File, id_fault

WHOLE = 100_000
"""A share of everybody is counted in these: a percent has three digits behind its point."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SegmentKind(StrEnum):
    """Where the members of a segment come from."""

    IDS = "ids"
    """From whoever names them."""
    OBJECT = "object"
    """From an object or file, which is looked at again and again."""
    INTERNAL = "internal"
    """From the addresses of users, and ids."""
    ROLLOUT = "rollout"
    """From what each user rolls."""


@dataclass(frozen=True, slots=True)
class Named:
    """Users named one by one."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """Those of a file, which is read this once."""

    file: File


@dataclass(frozen=True, slots=True)
class Kept:
    """Those of an object or file, read again whenever its ETag is another one."""

    file: File


@dataclass(frozen=True, slots=True)
class Internal:
    """One's own people: `@acme.example` stands for whoever has a confirmed address there, anything else for an id."""

    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A share of everybody, in `WHOLE`ths."""

    share: int


Rule = Named | Listed | Kept | Internal | Rollout


def kind_of(rule: Rule) -> SegmentKind:
    """The kind of segment that a rule makes."""
    match rule:
        case Named() | Listed():
            return SegmentKind.IDS
        case Kept():
            return SegmentKind.OBJECT
        case Internal():
            return SegmentKind.INTERNAL
        case Rollout():
            return SegmentKind.ROLLOUT


def check_flag(name: str) -> str:
    """A flag's name as it is.

    Raises:
        BadInput: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{quoted(name)} is no name for a flag; write letters, digits, dots and dashes, as history-live")
    return name


def segment_faults(name: str) -> list[str]:
    """What keeps a name from being a segment's."""
    good = 1 <= len(name) <= LONGEST_ID and name.isprintable()
    return [] if good else [f"{quoted(name)} is no name for a segment"]


def check_ids(ids: Iterable[str]) -> None:
    """Make sure that all of these can be users' ids.

    Raises:
        BadInput: those that cannot, one a line.
    """
    if faults := id_faults(ids):
        raise BadInput("\n".join(faults))


def id_faults(ids: Iterable[str]) -> list[str]:
    """What is wrong with each of these that cannot be a user's id."""
    return [f"{quoted(each)} {why}" for each in ids if (why := id_fault(each))]


def parse_percent(text: str) -> int:
    """A percent as a share: `25`, `0.5`, `12.345 %`.

    Raises:
        BadInput: it is none, or finer than a share can be.
    """
    try:
        percent = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        percent = Decimal("NaN")
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise BadInput(f"{quoted(text)} is not a percent; write a number from 0 to 100, as 25 or 0.5")
    share = percent * WHOLE / 100
    if share != int(share):
        raise BadInput(f"{quoted(text)} is too fine; write at most three digits behind the point")
    return int(share)


def in_percent(share: int) -> str:
    """A share for people: `25 %`."""
    return f"{(Decimal(share * 100) / WHOLE).normalize():f} %"
