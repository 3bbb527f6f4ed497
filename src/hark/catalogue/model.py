"""What a catalogue is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import time, timedelta
from enum import StrEnum
from hashlib import sha256

from hark.durations import format_duration, format_local_time

USUAL_CAP = 10
"""How many items of a feed a digest lists, unless the catalogue says otherwise."""


class Channel(StrEnum):
    """By which way a notification reaches its recipient."""

    EMAIL = "email"
    IN_APP = "in_app"
    PUSH = "push"


class Frequency(StrEnum):
    """How often a recipient is written to for a reason."""

    NEVER = "never"
    IMMEDIATE = "immediate"
    BATCHED = "batched"
    DAILY = "daily"
    WEEKLY = "weekly"


class Category(StrEnum):
    """What a reason is to the recipient; `transactional` passes caps and quiet hours."""

    ACTIVITY = "activity"
    TRANSACTIONAL = "transactional"


@dataclass(frozen=True, slots=True)
class Windows:
    """When a batch closes: `cooldown` after its newest event, or `max_stale` after its oldest, whichever is first."""

    cooldown: timedelta
    max_stale: timedelta | None


@dataclass(frozen=True, slots=True)
class Templates:
    """The words of one reason, as Jinja sources. None: Hark's own words, made of the reason's title."""

    subject: str | None = None
    """The subject of a message with one notification."""
    subject_many: str | None = None
    """The subject of a message with several notifications, all of this reason."""
    text: str | None = None
    """One notification as plain text."""
    html: str | None = None
    """One notification as HTML; autoescaped."""


NAMED = "named"
"""The kind of a facet for those whom an event names."""

ABOUT = "about"
"""The word of `auto_subscribe` for what an event is about."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A narrower reason for those who stand nearer to an event: whom it names (`NAMED`), or who follows an entity of
    this `kind` of it, which is the text before the entity's first colon."""

    reason: str
    kind: str


@dataclass(frozen=True, slots=True)
class SqlSource:
    """A query over the product's own tables: one `select`; `file` is its name as hark.toml has it, if it has one."""

    sql: str
    file: str | None = None


@dataclass(frozen=True, slots=True)
class PythonSource:
    """A callable of the product's, named `package.module:function`."""

    path: str


@dataclass(frozen=True, slots=True)
class UrlSource:
    """An HTTP endpoint of the product's. The URL may hold a secret, so it is kept out of `repr` and of fingerprints."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CypherSource:
    """A query over the graph of purchases; `file` is its name as hark.toml has it."""

    cypher: str
    file: str | None = None


Source = SqlSource | PythonSource | UrlSource
"""Where an answer comes from: to what is new for whom (a feed), to what may still be said (a recheck)."""

FeedSource = Source | CypherSource
"""A feed can ask the graph, too."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What is new for whom: its source, how many items a digest lists of it at most, and how far back an item that was
    already covered is known again (for sources that know times only)."""

    source: FeedSource
    cap: int = USUAL_CAP
    overlap: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of notification.

    `channels` maps each user type that gets this reason to its default channels; `group` names the message that the
    reason's notifications share with those of other reasons of the same group. `feed` says where its digests come from
    (None: from events alone), `recheck` whom to ask at the last moment whether an item may still be said.
    `narrower` are the reasons that it is told as to those who stand nearer, most specific first; of the entities of the
    kinds in `auto_subscribe` (and, with `ABOUT`, of what an event is about), who publishes becomes a follower.
    """

    name: str
    title: str
    channels: Mapping[str, tuple[Channel, ...]]
    frequency: Frequency
    windows: Windows
    group: str
    category: Category
    templates: Templates
    at_least_once: bool = False
    feed: Feed | None = None
    recheck: Source | None = None
    narrower: tuple[Facet, ...] = ()
    auto_subscribe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Email:
    """How e-mail leaves: `sender` as an address with or without a name, `smtp` as a URL (None: no server set)."""

    sender: str
    smtp: str | None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """When daily and weekly messages are due, in the recipient's own zone; `weekday` counts from Monday, 0."""

    at: time = time(8, 0)
    weekday: int = 0


@dataclass(frozen=True, slots=True)
class Backfills:
    """What holds for all backfills.

    Attributes:
        approval_over: how many users one may change without a second person's approval; None: any number.
        notify_reason, notify_to: the event that is published when one ends or stalls, and to whom; None: none is.
        webhook: where that is told, too; None: nowhere.
    """

    approval_over: int | None = None
    notify_reason: str | None = None
    notify_to: tuple[str, ...] = ()
    webhook: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that hark.toml declares, checked."""

    user_types: Mapping[str, str]
    reasons: Mapping[str, Reason]
    email: Email | None
    calendar: Calendar
    backfills: Backfills = Backfills()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of all that is declared, templates included, but for where e-mail is handed over (a secret).

        Another value: something changed. It depends neither on the layout of the file nor on the machine.
        """
        return _digest(
            {
                "user_types": list(self.user_types.items()),
                "reasons": [[name, self.reason_fingerprint(name)] for name in self.reasons],
                "email": None if self.email is None else [self.email.sender, self.email.reply_to],
            }
        )

    def reason_fingerprint(self, name: str) -> str:
        """SHA-256 in hex of one reason with its templates, and of the calendar that its daily and weekly messages keep.

        Raises:
            KeyError: there is no such reason.
        """
        reason = self.reasons[name]
        windows = (reason.windows.cooldown, reason.windows.max_stale)
        return _digest(
            {
                "name": reason.name,
                "title": reason.title,
                "channels": {user_type: sorted(channels) for user_type, channels in reason.channels.items()},
                "frequency": reason.frequency,
                "windows": [None if window is None else format_duration(window) for window in windows],
                "group": reason.group,
                "category": reason.category,
                "templates": asdict(reason.templates),
                "at_least_once": reason.at_least_once,
                **({"feed": _feed(reason.feed)} if reason.feed else {}),
                **({"recheck": _source(reason.recheck)} if reason.recheck else {}),
                "calendar": [format_local_time(self.calendar.at), self.calendar.weekday],
                **_nearness(reason),
            }
        )


def _feed(feed: Feed) -> list[object]:
    return [_source(feed.source), feed.cap, format_duration(feed.overlap)]


def _source(source: FeedSource) -> list[str]:
    match source:
        case CypherSource(cypher):
            return ["cypher", cypher]
        case SqlSource(sql):
            return ["sql", sql]
        case PythonSource(path):
            return ["python", path]
        case UrlSource():
            return ["url"]


def _nearness(reason: Reason) -> dict[str, object]:
    """Only what there is: a reason without any of it keeps the fingerprint from before there was such a thing."""
    said: dict[str, Sequence[object]] = {
        "narrower": [[facet.reason, facet.kind] for facet in reason.narrower],
        "auto_subscribe": sorted(reason.auto_subscribe),
    }
    return {key: value for key, value in said.items() if value}


def _digest(content: Mapping[str, object]) -> str:
    return sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
