"""What is new for whom: asking the feeds of the catalogue. In: Due. Out: FeedItem.

A stand-in with the agreed names only: the branch that asks Python and HTTP feeds replaces this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.catalogue import Feed
from hark.errors import SourceFailed


@dataclass(frozen=True, slots=True)
class Asking:
    """With what sources are asked, and how long an answer may take."""

    timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Due:
    """A recipient whose digest is being planned, and since when: `since` is a `pg_snapshot` as text, `since_at` the
    time at which it was taken, aware."""

    recipient_id: str
    since: str
    since_at: datetime


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One thing that is new for one recipient.

    `key` names it for good, so that it is told once; a higher `rank` comes first; `at` is when it happened, aware.
    """

    recipient_id: str
    key: str
    rank: float
    at: datetime
    actor: str | None = None
    about: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)


async def ask_feed(feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
    """What a Python or HTTP feed answers for these recipients, checked whole.

    Raises:
        SourceFailed: it broke, took too long, or answered what it may not: nothing of its answer is taken.
    """
    raise SourceFailed(f"asking {type(feed.source).__name__} is not in this build ({len(due)} due for {ask.timeout})")
