"""What a replay came to, read from what the engine wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from hark.postgres.database import Database
from hark.postgres.queries import Queries
from hark.replay.policy import Policy

T = TypeVar("T")

_SQL = Queries.beside(__file__)
_FRACTIONS = [0.5, 0.99, 1.0]


@dataclass(frozen=True, slots=True)
class Spread(Generic[T]):
    """How something is spread: half are at most `p50`, 99 of 100 at most `p99`. Each is a value that occurred."""

    p50: T
    p99: T
    max: T


@dataclass(frozen=True, slots=True)
class Figures:
    """What one policy makes of a history.

    Attributes:
        policy: which one.
        events: how many happened; each is one notification, as each names one recipient.
        recipients: how many they named.
        messages: how many messages the engine handed over.
        user_days: on how many days, summed over the recipients, a recipient got at least one message.
        per_user_day: messages a user a day, over those user-days: days without a message do not count.
        wait: from an event until its message is due. An idle worker sends it then; a busy one later.
        biggest_batch: the most notifications in one message.
    """

    policy: Policy
    events: int
    recipients: int
    messages: int
    user_days: int
    per_user_day: Spread[int]
    wait: Spread[timedelta]
    biggest_batch: int


def spell(wait: timedelta) -> str:
    """A wait for people, to its two largest units: `4m`, `25m 21s`, `1d 3h`; tenths below ten seconds: `2.5s`."""
    seconds = wait.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    return " ".join(_parts(round(seconds)))


def _parts(seconds: int) -> list[str]:
    """The largest unit that is not nought, and the next if that is not nought either."""
    counts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next(place for place, (count, _) in enumerate(counts) if count)
    return [f"{count}{unit}" for count, unit in counts[first : first + 2] if count]


@dataclass(frozen=True, slots=True)
class _Counts:
    messages: int
    unsent: int
    notifications: int
    biggest_batch: int
    recipients: int


@dataclass(frozen=True, slots=True)
class _PerDay:
    user_days: int
    quantiles: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Waits:
    quantiles: Sequence[timedelta]


async def measure(database: Database, policy: Policy, zone: str, *, handed_over: int) -> Figures:
    """Read a finished run's figures.

    Args:
        zone: where the recipients' days begin, an IANA name.
        handed_over: how many messages came out at the end, to be held against what the database says.
    """
    counts = await database.one(_SQL["counts"], _Counts)
    if counts.unsent or counts.messages != handed_over:
        raise AssertionError(f"{handed_over} messages came out, the database says {counts}")
    per_day = await database.one(_SQL["per_day"], _PerDay, {"fractions": _FRACTIONS, "zone": zone})
    waits = await database.one(_SQL["waits"], _Waits, {"fractions": _FRACTIONS})
    return Figures(
        policy=policy,
        events=counts.notifications,
        recipients=counts.recipients,
        messages=counts.messages,
        user_days=per_day.user_days,
        per_user_day=Spread(*per_day.quantiles),
        wait=Spread(*waits.quantiles),
        biggest_batch=counts.biggest_batch,
    )
