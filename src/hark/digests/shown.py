"""Digests as people list them, when the next one is due, and which feeds fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from hark.catalogue import Frequency
from hark.digests.planning import ANSWER_WAIT, FIRST_COVERS, LEAD, WILLING
from hark.postgres.database import Database
from hark.postgres.queries import Queries, chain

_SQL = Queries.beside(__file__)

NEXT = chain(_SQL["walked_one"], _SQL["willing_any"], *WILLING[1:], end=_SQL["next"])
_FAR = date(9999, 1, 1)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One digest as lists show it: what it covers (`since_at` to `until_at`), how many of how many items it lists, and
    which of them its newest recheck left out, and why (`left_out`, by their keys)."""

    recipient_id: str
    reason: str
    period: date
    delivery_id: int
    state: str
    outcome: str
    total: int
    listed: int
    base: str | None
    missed: int
    since_at: datetime
    until_at: datetime
    planned_at: datetime
    due_at: datetime
    why: str
    left_out: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class NextDigest:
    """A recipient's next digest of a reason: when, and of what is new since when; or why there will be none."""

    recipient_id: str
    reason: str
    email: bool
    frequency: str | None
    why: str
    reach: str
    next_due: datetime | None
    since_at: datetime | None
    base: str | None
    open_delivery: int | None

    @property
    def comes(self) -> bool:
        """Whether there will be one, if there is something new."""
        return self.email and self.frequency in (Frequency.DAILY, Frequency.WEEKLY)


@dataclass(frozen=True, slots=True)
class FailingFeed:
    """A feed that fails: in how many slots, how often by now, when it is asked again, what it said last, and how many
    recipients it was not asked for any more, since it breaks on their data (`passed_over`)."""

    reason: str
    walks: int
    failures: int
    retry_at: datetime
    fault: str
    passed_over: int


@dataclass(frozen=True, slots=True)
class _Feed:
    reason: str


async def listed(
    database: Database,
    *,
    recipient: str | None = None,
    reason: str | None = None,
    states: Sequence[str] | None = None,
    before: datetime | None = None,
    limit: int = 50,
) -> list[DigestLine]:
    """Digests, newest first: those that were planned up to `before`."""
    given = {
        "recipient": recipient,
        "reason": reason,
        "states": list(states) if states else None,
        "before": before or _LAST,
        "limit": limit,
    }
    return await database.fetch(_SQL["listed"], DigestLine, given, prepare=False)


async def next_digests(
    database: Database, recipient: str, now: datetime, lead: timedelta = LEAD
) -> list[NextDigest] | None:
    """A recipient's next digest of each reason with a feed; None: there is no such recipient."""
    found: list[NextDigest] = []
    for feed in await database.fetch(_SQL["feeds"], _Feed):
        given = {
            "recipient": recipient,
            "reason": feed.reason,
            "period": _FAR,
            "due_at": _LAST,
            "frequency": None,
            "ago": now - FIRST_COVERS - lead,
            "answered_by": now - ANSWER_WAIT,
            "expected": 1,
        }
        rows = await database.fetch(NEXT, NextDigest, given, prepare=False)
        if not rows:
            return None
        found += [_begun(row, lead) for row in rows]
    return found


def _begun(row: NextDigest, lead: timedelta) -> NextDigest:
    """A first digest begins a week before its own morning, not before now."""
    if row.base != "first" or row.next_due is None:
        return row
    return replace(row, since_at=row.next_due - FIRST_COVERS - lead)


async def failing(database: Database) -> list[FailingFeed]:
    """The feeds that fail just now."""
    return await database.fetch(_SQL["failing"], FailingFeed)
