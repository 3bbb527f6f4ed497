"""What people ask to see of backfills; the command line and the API share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hark.backfill.cohort import Staged, load
from hark.backfill.control import Stand, remembered, stand
from hark.backfill.kind import Through
from hark.backfill.kinds import KINDS, STEPWISE
from hark.backfill.states import State
from hark.lists.writing import written
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_NEWEST = 2**63 - 1
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Line:
    """One backfill as lists show it."""

    id: int
    kind: str
    state: str
    undoes: int | None
    members: int
    to_change: int
    created_by: str
    created_at: datetime
    changed_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class _Held:
    stopped: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many users of a type get which outcome, for one subject (for preferences: a reason)."""

    subject: str
    user_type: str | None
    outcome: str
    users: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One user as an example of many alike: what they hold, and what they will hold."""

    recipient_id: str
    user_type: str | None
    outcomes: dict[str, str]
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a run is.

    Attributes:
        done: users of the cohort whose batches are done, of `members`.
        took: how long batches were worked at, all workers together.
        last_at: when the last batch was done.
        through: users of batches that are begun and not done, for whom all is done already.
    """

    batches: int
    batches_done: int
    batches_failed: int
    members: int
    done: int
    to_change: int
    applied: int
    drifted: int
    quarantined: int
    took: timedelta
    last_at: datetime | None
    through: int = 0

    @property
    def left(self) -> int:
        """Users still to be changed."""
        return self.to_change - self.applied - self.drifted - self.quarantined - self.through


@dataclass(frozen=True, slots=True)
class Waited:
    """Seconds waited, all workers together, for one thing."""

    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of the audit log."""

    at: datetime
    who: str
    what: str
    from_state: str | None
    to_state: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost, by its rehearsal: seconds from `low` to `high`, bytes, rows locked at once, how long.

    Of what cannot be rehearsed: from what its rate allows to what it takes as it goes. It is of what is left.
    """

    low: float
    high: float
    wal_bytes: int
    rows_locked: int
    locked_seconds: float


@dataclass(frozen=True, slots=True)
class Head:
    """What was asked for, and how it stands.

    Attributes:
        forgotten_at: since when nobody knows who its users were.
        held_with_all: the stop-all switch.
        forgotten_since: those that may have changed the same since and are forgotten: it cannot be undone any more.
    """

    id: int
    kind: str
    state: str
    undoes: int | None
    undone_by: list[int]
    request: dict[str, Any]
    cohort_id: int | None
    batch_size: int
    rate: float | None
    adaptive: bool
    window: str | None
    approval_over: int | None
    hash: str | None
    rehearsal: dict[str, Any] | None
    created_by: str
    created_at: datetime
    approved_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    compared: int | None
    holding: int | None
    why: str
    forgotten_at: datetime | None = None
    held_with_all: bool = False
    forgotten_since: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """All that there is to see of one backfill.

    `cohort`: None while it is still to be staged; `more`: what its kind has to show of it; `warnings`: what was seen
    when it was asked for, and stopped nothing: only what shows it then has them.
    """

    head: Head
    totals: Totals
    counts: list[Count]
    samples: list[Sample]
    estimate: Estimate | None
    waited: list[Waited]
    events: list[Happened]
    needs_approval: bool
    cohort: Staged | None
    more: Mapping[str, Any] | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One user of the plan, with what becomes of them."""

    recipient_id: str
    user_type: str | None
    outcomes: dict[str, str]

    @property
    def said(self) -> str:
        """The outcomes in words."""
        return ", ".join(f"{on}: {what}" for on, what in self.outcomes.items())


async def backfills(database: Database, *, before: int = _NEWEST, limit: int = 50) -> list[Line]:
    """One page of them, newest first."""
    return await database.fetch(_SQL["backfills"], Line, {"before": before, "limit": limit})


async def are_held(database: Database) -> bool:
    """Whether all of them are held: the stop-all switch."""
    return (await database.one(_SQL["held"], _Held)).stopped


async def show(database: Database, backfill: int, *, samples: int = 10, events: int = 20) -> Shown:
    """One backfill with its plan, how far it is, what it waited for and who did what.

    Raises:
        BadInput: there is none of that number.
    """
    found = await stand(database, backfill)
    given = {"backfill": backfill, "samples": samples, "events": events}
    head = await database.one(_SQL["head"], Head, given)
    seen, through = await _far(database, backfill)
    return Shown(
        head,
        seen,
        await counts(database, backfill),
        await database.fetch(_SQL["samples"], Sample, given),
        _estimate(head, seen, through),
        await database.fetch(_SQL["waited"], Waited, given),
        await database.fetch(_SQL["events"], Happened, given),
        needs_approval(found),
        None if head.cohort_id is None else await load(database, head.cohort_id),
        await KINDS[head.kind].shown(database, backfill) if head.kind in KINDS else None,
    )


def needs_approval(found: Stand) -> bool:
    """Whether it waits for a second person."""
    return found.state is State.PLANNED and found.needs_approval


async def totals(database: Database, backfill: int) -> Totals:
    """How far it is: cheap enough to be asked every second."""
    return (await _far(database, backfill))[0]


async def _far(database: Database, backfill: int) -> tuple[Totals, Through]:
    """In this order: of a batch that ends in between nobody is counted for a moment, rather than everybody twice."""
    seen = await database.one(_SQL["totals"], Totals, {"backfill": backfill})
    through = await _through(database, backfill)
    return replace(seen, through=through.users), through


async def _through(database: Database, backfill: int) -> Through:
    """Of a kind that is done with users one by one; of others it is nobody."""
    every = [await kind.through(database, backfill) for kind in STEPWISE]
    return max(every, key=lambda each: each.users)


async def counts(database: Database, backfill: int) -> list[Count]:
    """How many users of which type get which outcome."""
    return await database.fetch(_SQL["counts"], Count, {"backfill": backfill})


async def members(
    database: Database, backfill: int, outcome: str, *, after: str = "", limit: int = 100
) -> list[Member]:
    """One page of the users with an outcome, for any subject: whom the plan finds malformed, for instance.

    Raises:
        BadInput: the backfill was forgotten, or there is none of that number.
    """
    await remembered(database, backfill)
    given = {"backfill": backfill, "outcome": outcome, "after": after, "limit": limit}
    return await database.fetch(_SQL["members"], Member, given)


async def export_members(database: Database, backfill: int, outcome: str, path: Path) -> int:
    """Write all users with an outcome as CSV with the columns user, type, outcomes; how many there are.

    Raises:
        BadInput: there is no such backfill, it was forgotten, or the file cannot be written there.
        Unreachable: the disk is full.
    """
    count, after = 0, ""
    with written(path, ("user", "type", "outcomes")) as write:
        while page := await members(database, backfill, outcome, after=after, limit=_PAGE):
            write([(each.recipient_id, each.user_type or "", each.said) for each in page])
            count, after = count + len(page), page[-1].recipient_id
    return count


def _estimate(head: Head, seen: Totals, through: Through) -> Estimate | None:
    """Alone on a calm database a run takes what its batches take; a shared one may bear half of that."""
    if not head.rehearsal:
        return None
    if not head.rehearsal["users"]:
        return _by_rate(head, seen, through)
    times = seen.left / head.rehearsal["users"]
    seconds = times * head.rehearsal["seconds"]
    paced = seen.left / head.rate if head.rate else 0.0
    return Estimate(
        round(max(seconds / 2, paced), 1),
        round(max(seconds * 2, paced), 1),
        round(times * head.rehearsal["wal_bytes"]),
        head.rehearsal["users"],
        head.rehearsal["seconds"],
    )


def _by_rate(head: Head, seen: Totals, through: Through) -> Estimate | None:
    """Of what cannot be rehearsed, the least that it takes is known where it goes by a rate; the most, once it goes."""
    if not head.rate or head.kind not in KINDS or not KINDS[head.kind].goes_outside:
        return None
    seconds = seen.left / head.rate
    return Estimate(round(seconds, 1), round(max(seconds, through.rest(seen.left)), 1), 0, 0, 0.0)
