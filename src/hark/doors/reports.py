"""What people ask to see, whichever door they come in by: the pipeline at a glance, and deliveries in pages.

Every count is cheap: it is read from an index of just what it counts, or stops at `BOUND`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.catalogue import Channel
from hark.delivery.states import Result, State
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

BOUND = 10_000
"""Counts beyond it say so, and no more."""

ANSWER_WAIT = timedelta(minutes=15)
"""How long after a hand-over its answer may still come."""

_PATIENCE = timedelta(minutes=1)
_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Count:
    """How many there are: exact up to `BOUND`; beyond it `about` is the database's own estimate, if it has one."""

    counted: int
    about: int = 0

    @property
    def bounded(self) -> bool:
        """Whether there are more than were counted."""
        return self.counted > BOUND

    def __str__(self) -> str:
        if not self.bounded:
            return f"{self.counted:,}"
        return f"{BOUND:,}+ (about {self.about:,})" if self.about > BOUND else f"{BOUND:,}+"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline at a glance.

    Attributes:
        waiting_since: when the event was published that is next to be fanned out.
        due: deliveries that may be claimed now; `next_due` is when the first of all that wait is.
        rated_until: when the rate limit has all its credit again; before that it may be what holds up what is due.
        walks_failing: how many mornings wait for a feed that fails, `feed_fault` what it says.
        passed_over: how many recipients' own data broke a feed, so that they got no digest in the latest mornings.
        not_rendered: deliveries that wait because their words broke; `again`, all that wait for another attempt.
        unanswered: deliveries handed over without an answer yet; `unknown`, those that will not get one any more.
    """

    at: datetime
    events: Count
    events_waiting: Count
    waiting_since: datetime | None
    recipients: Count
    subscriptions: Count
    reasons: int
    preferences: Count
    notifications: Count
    walks_failing: Count
    feed_fault: str | None
    passed_over: int
    passed_fault: str | None
    gathering: Count
    due: Count
    next_due: datetime | None
    rated_until: datetime | None
    sending: Count
    leases_over: Count
    set_aside: Count
    not_rendered: Count
    again: Count
    deliveries: Count
    unanswered: Count
    unknown: Count


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """One delivery as lists show it."""

    recipient_id: str
    id: int
    channel: str
    frequency: str
    state: str
    outcome: str
    due_at: datetime
    items: int
    attempt: int
    worker: str | None
    why: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class PreferenceLine:
    """How a recipient is told for one reason, by which rule, and which halves of that they chose themselves."""

    reason: str
    title: str
    channels: list[str]
    own_channels: bool
    frequency: str | None
    own_frequency: bool
    why: str


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; None: all. `since` is when they were created, at the earliest."""

    recipient: str | None = None
    state: State | None = None
    outcome: Result | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Yes:
    yes: bool


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Counted:
    events: int
    about_events: int
    events_waiting: int
    waiting_since: datetime | None
    recipients: int
    about_recipients: int
    subscriptions: int
    about_subscriptions: int
    reasons: int
    preferences: int
    about_preferences: int
    walks_failing: int
    feed_fault: str | None
    passed_over: int
    passed_fault: str | None
    gathering: int
    due: int
    next_due: datetime | None
    rated_until: datetime | None
    sending: int
    leases_over: int
    set_aside: int
    unanswered: int
    unknown: int
    not_rendered: int
    again: int
    deliveries: int
    about_deliveries: int
    notifications: int
    about_notifications: int


async def applied_migrations(database: Database) -> set[str]:
    """The migrations that made the database's tables; none: it has no tables of Hark's."""
    if not (await database.one(_SQL["migrations_table"], _Yes)).yes:
        return set()
    return {row.name for row in await database.fetch(_SQL["applied"], _Name)}


async def pipeline(database: Database, now: datetime) -> Pipeline:
    """A count at each stage, as things stand."""
    given = {
        "bound": BOUND + 1,
        "now": now,
        "settled_before": now - ANSWER_WAIT,
        "channels": [Channel.EMAIL, Channel.PUSH],
    }
    counted = await database.one(_SQL["pipeline"], _Counted, given)
    return Pipeline(
        at=now,
        events=Count(counted.events, counted.about_events),
        events_waiting=Count(counted.events_waiting),
        waiting_since=counted.waiting_since,
        recipients=Count(counted.recipients, counted.about_recipients),
        subscriptions=Count(counted.subscriptions, counted.about_subscriptions),
        reasons=counted.reasons,
        preferences=Count(counted.preferences, counted.about_preferences),
        notifications=Count(counted.notifications, counted.about_notifications),
        walks_failing=Count(counted.walks_failing),
        feed_fault=counted.feed_fault,
        passed_over=counted.passed_over,
        passed_fault=counted.passed_fault,
        gathering=Count(counted.gathering),
        due=Count(counted.due),
        next_due=counted.next_due,
        rated_until=counted.rated_until,
        sending=Count(counted.sending),
        leases_over=Count(counted.leases_over),
        set_aside=Count(counted.set_aside),
        not_rendered=Count(counted.not_rendered),
        again=Count(counted.again),
        deliveries=Count(counted.deliveries, counted.about_deliveries),
        unanswered=Count(counted.unanswered),
        unknown=Count(counted.unknown),
    )


async def user_types(database: Database) -> list[str]:
    """The user types that the database's catalogue has."""
    return [row.name for row in await database.fetch(_SQL["user_types"], _Name)]


async def zones(database: Database) -> frozenset[str]:
    """The time zones that the database knows."""
    return frozenset(row.name for row in await database.fetch(_SQL["zones"], _Name))


async def is_idle(database: Database, now: datetime) -> bool:
    """Whether nothing is to be done by now: no fan-out, nothing due, nothing being sent."""
    return (await database.one(_SQL["idle"], _Yes, {"now": now})).yes


async def deliveries(
    database: Database, which: DeliveryFilter, *, before: int = _NEWEST, limit: int = 50
) -> list[DeliveryLine]:
    """One page of deliveries, newest first.

    Args:
        before: only those older than this one: the last `id` of the page before.
        limit: the page's size.
    """
    given = {
        "recipient": which.recipient,
        "state": which.state,
        "outcome": which.outcome,
        "since": which.since,
        "before": before,
        "limit": limit,
    }
    # Planned with the values given, so that each filter finds the index that is made for it.
    return await database.fetch(_SQL["deliveries_newest"], DeliveryLine, given, prepare=False)


async def preferences(database: Database, recipient: str) -> list[PreferenceLine]:
    """What holds for a recipient, reason by reason as the catalogue orders them; empty: nobody of that id is known."""
    return await database.fetch(_SQL["preferences"], PreferenceLine, {"recipient": recipient})


def advice(seen: Pipeline) -> list[str]:
    """What to look at next, the most pressing first; never empty."""
    return [*_set_aside(seen), *_failing(seen), *_advice(seen)] or [_quiet(seen)]


def _set_aside(seen: Pipeline) -> Iterator[str]:
    if seen.set_aside.counted:
        yield f"{_are(seen.set_aside, 'event')} set aside, told to nobody: its row in hark.event says why (set_aside)"


def _failing(seen: Pipeline) -> Iterator[str]:
    if seen.walks_failing.counted:
        mornings = "1 morning" if seen.walks_failing.counted == 1 else f"{seen.walks_failing} mornings"
        yield f"digests of {mornings} wait for a feed that fails: {seen.feed_fault}"
    if seen.passed_over:
        without = _are(Count(seen.passed_over), "recipient")
        yield f"{without} without a digest, for a feed breaks on their data: {seen.passed_fault}"


def _advice(seen: Pipeline) -> Iterator[str]:
    if not seen.reasons:
        yield "no reasons are known: name a catalogue (hark migrate --catalogue hark.toml)"
    elif not seen.recipients.counted:
        yield "nobody is known yet: hark recipients import people.csv"
    elif not seen.events.counted:
        yield "nothing has happened yet: hark publish REASON --to WHOM"
    if seen.waiting_since is not None and seen.at - seen.waiting_since > _PATIENCE:
        yield f"{_are(seen.events_waiting, 'event')} not fanned out yet: does a worker run? (hark worker)"
    if seen.next_due is not None and seen.at - seen.next_due > _PATIENCE:
        limited = seen.rated_until is not None and seen.rated_until > seen.at
        question = "the rate limit lets no more go at once" if limited else "does a worker run? (hark worker)"
        yield f"{_are(seen.due, 'message')} due and unclaimed: {question}"
    if seen.leases_over.counted:
        yield f"{_are(seen.leases_over, 'message')} held by a worker whose lease ran out; any worker takes over"
    if seen.not_rendered.counted:
        yield f"{_are(seen.not_rendered, 'message')} not rendered: hark deliveries --state PENDING says why"
    if seen.again.counted > seen.not_rendered.counted:
        yield f"{_are(seen.again, 'message')} to be attempted again: hark deliveries --state PENDING says why"
    if seen.unknown.counted:
        yield f"{_are(seen.unknown, 'message')} without an answer for good: hark deliveries --outcome unknown"


def _are(count: Count, noun: str) -> str:
    return f"{count} {noun} is" if count.counted == 1 else f"{count} {noun}s are"


def _quiet(seen: Pipeline) -> str:
    if seen.events_waiting.counted:
        return f"{_are(seen.events_waiting, 'event')} to be fanned out: hark worker"
    if seen.next_due is None:
        return "all is quiet: nothing waits"
    return f"all is well; the next message is due at {seen.next_due.astimezone():%H:%M:%S}"
