"""What is new for whom: asking the feeds of the catalogue. In: Due. Out: FeedItem.

An SQL feed is not asked here: it runs inside of the statement that plans digests, as `as_part` gives it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field

from hark.catalogue import CypherSource, Feed, PythonSource, SqlSource, UrlSource
from hark.errors import SourceFailed
from hark.sources import (
    Answer,
    Asking,
    Moment,
    Name,
    Payload,
    Text,
    as_part,
    ask_graph,
    call,
    post,
    unanswered,
    validated,
)

__all__ = ["Asking", "Due", "FeedItem", "SourceFailed", "as_part", "ask_feed"]

MOST_PER_RECIPIENT = 1000
"""How many new items one answer may hold for one recipient."""

COLUMNS = (
    "recipient_id::text, key::text, rank::double precision, at::timestamptz, actor::text, about::text, payload::jsonb"
)
"""What an SQL feed gives, by name, as the types that it is read as."""


HANGS_FOR = timedelta(hours=12)
"""For so long who hung is not asked about again: on the same morning, and not on the next."""


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
    """What a Python, HTTP or Cypher feed answers for these recipients, checked whole.

    Args:
        feed: of the catalogue.
        reason: its reason's name.
        due: whom to ask for, each once.
        ask: with what, and for how long.

    Returns:
        The items in the order in which they came.

    Raises:
        SourceFailed: it broke, took too long, or answered what it may not: nothing of its answer is taken.
        TypeError: it is an SQL feed.
    """
    match feed.source:
        case PythonSource() as source:
            _refuse_whom_it_is_still_at(source, due)
            answer = validated(_Items, {"items": await call(source, list(due), ask, _as_written)})
        case UrlSource() as source:
            answer = await post(source, _question(reason, due), _Items, ask)
        case CypherSource() as source:
            rows = await ask_graph(source, {"due": _due_maps(due)}, ask)
            answer = validated(_Items, {"items": [_of_row(row) for row in rows]})
        case SqlSource():
            raise TypeError("an SQL feed runs inside of the planning statement")
    _refuse_strays(answer.items, due)
    return [_item(each) for each in answer.items]


def _refuse_whom_it_is_still_at(source: PythonSource, due: Sequence[Due]) -> None:
    """Who was asked about alone and hangs, hangs: asking again costs another thread, and tells nothing new.

    But not for good: it may have hung for everybody then, and answer for them by now.
    """
    alone = [about[0] for about in unanswered(source, HANGS_FOR) if isinstance(about, list) and len(about) == 1]
    hang = {each.recipient_id for each in alone if isinstance(each, Due)}
    if any(each.recipient_id in hang for each in due):
        raise SourceFailed(f"{source.path} is still at an earlier question about the same one", of_the_data=True)


class _Item(Answer):
    recipient: Name
    key: Name
    rank: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    at: Moment
    actor: Text | None = None
    about: Text | None = None
    payload: Payload = Field(default_factory=dict)


class _Items(Answer):
    items: list[_Item]


def _question(reason: str, due: Sequence[Due]) -> dict[str, object]:
    asked = [
        {"recipient": each.recipient_id, "since": each.since, "since_at": each.since_at.isoformat()} for each in due
    ]
    return {"reason": reason, "due": asked}


def _due_maps(due: Sequence[Due]) -> list[dict[str, object]]:
    return [
        {"recipient_id": each.recipient_id, "since": each.since, "since_at": each.since_at.astimezone(UTC)}
        for each in due
    ]


def _of_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row of the graph's, as an endpoint would write it; a rank or payload that is null is left out."""
    named = {"recipient" if name == "recipient_id" else name: value for name, value in row.items()}
    return {name: value for name, value in named.items() if value is not None or name not in ("rank", "payload")}


def _as_written(answered: object) -> list[dict[str, object]]:
    """What a callable gave, as an endpoint would write it."""
    if not isinstance(answered, Iterable):
        raise SourceFailed(f"its answer: {type(answered).__name__} is no list of hark.feeds.FeedItem")
    return [_written(place, each) for place, each in enumerate(answered)]


def _written(place: int, item: object) -> dict[str, object]:
    if not isinstance(item, FeedItem):
        raise SourceFailed(f"its answer: items[{place}] is a {type(item).__name__}, not a hark.feeds.FeedItem")
    return {
        "recipient": item.recipient_id,
        "key": item.key,
        "rank": item.rank,
        "at": item.at,
        "actor": item.actor,
        "about": item.about,
        "payload": dict(item.payload) if isinstance(item.payload, Mapping) else item.payload,
    }


def _refuse_strays(items: Sequence[_Item], due: Sequence[Due]) -> None:
    asked = {each.recipient_id for each in due}
    seen: set[tuple[str, str]] = set()
    for place, item in enumerate(items):
        if item.recipient not in asked:
            raise SourceFailed(f"its answer: items[{place}].recipient was not asked for")
        if (item.recipient, item.key) in seen:
            raise SourceFailed(f"its answer: items[{place}].key is there twice for its recipient", of_the_data=True)
        seen.add((item.recipient, item.key))
    if items and Counter(item.recipient for item in items).most_common(1)[0][1] > MOST_PER_RECIPIENT:
        raise SourceFailed(f"its answer: more than {MOST_PER_RECIPIENT:,} items for one recipient", of_the_data=True)


def _item(item: _Item) -> FeedItem:
    return FeedItem(item.recipient, item.key, item.rank, item.at, item.actor, item.about, item.payload)
