"""What the in-app channel shows: a recipient's notifications, newest first, and how many of them are unread.

Reading or archiving a notification here also takes it out of what is still to be mailed: the recheck sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query, chain

_SQL = Queries.beside(__file__)


def _moving_the_count(marked: Query) -> Query:
    return chain(marked, _SQL["uncounted"], end=_SQL["changed"])


MARK_READ = _moving_the_count(_SQL["read_some"])
MARK_ALL_READ = _moving_the_count(_SQL["read_all"])
ARCHIVE = _moving_the_count(_SQL["archived"])

_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One notification as its recipient sees it."""

    event_id: int
    reason: str
    title: str
    actor: str | None
    about: str | None
    payload: Mapping[str, object]
    occurred_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Unread:
    unread: int


@dataclass(frozen=True, slots=True)
class _Changed:
    changed: int


async def listed(
    database: Database,
    recipient: str,
    *,
    before: int = _NEWEST,
    limit: int = 50,
    unread: bool = False,
    archived: bool = False,
    reason: str | None = None,
) -> list[InboxItem]:
    """One page of a recipient's notifications, newest first.

    Args:
        before: only those of events older than this event: the last `event_id` of the page before.
        limit: the page's size.
        unread: only those not read yet.
        archived: the archived ones too.
        reason: only those told as this reason.
    """
    given = {
        "recipient": recipient,
        "before": before,
        "limit": limit,
        "unread": unread,
        "archived": archived,
        "reason": reason,
    }
    return await database.fetch(_SQL["listed"], InboxItem, given)


async def unread(database: Database, recipient: str) -> int:
    """How many notifications are neither read nor archived: exact, one row read however many there are."""
    return (await database.one(_SQL["unread"], _Unread, {"recipient": recipient})).unread


async def mark_seen(database: Database, recipient: str, events: Sequence[int], now: datetime) -> int:
    """The recipient saw these in a list; how many were new to them. Seen is not read: they are still mailed."""
    return await database.execute(_SQL["mark_seen"], {"recipient": recipient, "events": list(events), "now": now})


async def mark_read(database: Database, recipient: str, events: Sequence[int], now: datetime) -> int:
    """The recipient read these; how many they had not read before."""
    return await _change(database, MARK_READ, {"recipient": recipient, "events": list(events), "now": now})


async def mark_all_read(database: Database, recipient: str, now: datetime, *, up_to: int = _NEWEST) -> int:
    """The recipient read all up to an event (what came after they looked stays unread); how many changed."""
    return await _change(database, MARK_ALL_READ, {"recipient": recipient, "up_to": up_to, "now": now})


async def archive(database: Database, recipient: str, events: Sequence[int], now: datetime) -> int:
    """Put these away; how many were not put away before."""
    return await _change(database, ARCHIVE, {"recipient": recipient, "events": list(events), "now": now})


async def _change(database: Database, query: Query, given: Mapping[str, object]) -> int:
    return (await database.one(query, _Changed, given)).changed
