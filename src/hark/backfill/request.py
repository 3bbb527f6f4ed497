"""What an operator asks for: a kind's request over a staged cohort, at a pace, in a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from unicodedata import normalize

from hark.backfill.enlist import ToStage
from hark.backfill.kind import Json
from hark.backfill.windows import Window
from hark.errors import BadInput

T = TypeVar("T")

BATCH_SIZE = 500
LARGEST_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Notify:
    """Whom to tell when a run ends or stalls: an event of this reason is published to them."""

    reason: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast.

    Attributes:
        rate: users a second, of all workers together; None: as many as the database bears.
        adaptive: give way to live work, and to a database that grows slow.
        window: the hours to work in; None: any.
    """

    rate: float | None = None
    adaptive: bool = True
    window: Window | None = None

    def __str__(self) -> str:
        rate = "no rate" if self.rate is None else f"{self.rate:g} users/s"
        return f"{rate}, {'adaptive' if self.adaptive else 'not adaptive'}, {self.window or 'at any time'}"


@dataclass(frozen=True, slots=True)
class PaceChange:
    """What is to be different of a pace; all else stays.

    Attributes:
        rate: users a second; `any_rate`: as many as the database bears.
        adaptive: None: as it is.
        window: the hours; `any_time`: no hours.
    """

    rate: float | None = None
    any_rate: bool = False
    adaptive: bool | None = None
    window: Window | None = None
    any_time: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A backfill to plan.

    Attributes:
        kind: its name, as in `hark.backfill.kinds.KINDS`.
        request: what that kind needs to know, as it is stored.
        cohort: the staged cohort's id; or one that workers are still to stage.
        who: who asks for it, for the audit log.
        approval_over: how many users may be changed without a second person; None: any number.
        notify: whom to tell of its end; None: nobody.
        undoes: the backfill that it takes back.
    """

    kind: str
    request: Json
    cohort: int | ToStage
    who: str
    batch_size: int = BATCH_SIZE
    pace: Pace = field(default_factory=Pace)
    approval_over: int | None = None
    notify: Notify | None = None
    undoes: int | None = None


def check_batch_size(size: int, said_by: str = "--batch-size") -> int:
    """A size that a batch may have.

    Args:
        said_by: the option or variable that it comes from.

    Raises:
        BadInput: it is not from 1 to `LARGEST_BATCH`.
    """
    if not 1 <= size <= LARGEST_BATCH:
        raise BadInput(f"{said_by}: {size} is not from 1 to {LARGEST_BATCH:,}; write {BATCH_SIZE}")
    return size


def check_rate(rate: float | None) -> float | None:
    """A rate that a run may have, in users a second.

    Raises:
        BadInput: it is not more than nothing, or more than can be said.
    """
    if rate is not None and not 0.001 <= rate <= 10_000_000:
        raise BadInput(f"--rate: {rate:g} is not from 0.001 to 10,000,000 users a second; to stop, pause")
    return rate


def check_opposites(*, rate: bool, any_rate: bool, window: bool, any_time: bool) -> None:
    """What a change of pace names, and its opposite, are not both said.

    Raises:
        BadInput: all of which that is not so.
    """
    faults = []
    if rate and any_rate:
        faults.append("--rate and --no-rate exclude each other")
    if window and any_time:
        faults.append("--window and --any-time exclude each other")
    if faults:
        raise BadInput("\n".join(faults))


def check_who(who: str) -> str:
    """A name for the audit log, without blanks around it.

    Raises:
        BadInput: it is empty, too long or not printable.
    """
    if not who.strip() or len(who) > 200 or not who.isprintable():
        raise BadInput("who does this? write a name of up to 200 printable characters (--as NAME)")
    return who.strip()


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are one, however they are written: `alice`, ` Alice`."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    return " ".join(normalize("NFKC", name).casefold().split())


def names(text: str | None) -> Sequence[str]:
    """Names with commas between them, as on the command line and in variables."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
