"""What should have come of a simulated life, worked out without Hark, held against what was handed over.

What may never be is looked at when a message is handed over: an item twice, a message without any, one that its reader
did not want or may not see, a digest at the wrong hour of their day. What must have been is looked at once it is older
than any digest waits, and again in the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Generic, TypeVar
from zoneinfo import ZoneInfo

from hark.catalogue import Frequency
from tests.year.life import FEEDS, MENTION, OFFERED, THREAD, Person

T = TypeVar("T")

SETTLED = timedelta(days=21)
"""How old something is when whoever wants it must have it: a weekly digest, and the longest trouble on top of it."""

QUIET = timedelta(days=2)
"""How long after a trouble digests may come at another hour than theirs."""

MORNING = time(8)
_PUNCTUAL = timedelta(minutes=15)
_APART = timedelta(hours=20)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_FAR_AHEAD = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Timeline(Generic[T]):
    """A value that changes at moments."""

    first: T
    moments: list[datetime] = field(default_factory=list)
    values: list[T] = field(default_factory=list)

    def set(self, at: datetime, value: T) -> None:
        """From `at` on it is this."""
        self.moments.append(at)
        self.values.append(value)

    def now(self) -> T:
        """What it has become."""
        return self.values[-1] if self.values else self.first

    def ever(self, value: T, start: datetime) -> bool:
        """Whether it is that now, or was at any time since."""
        place = bisect_right(self.moments, start)
        before = self.values[place - 1] if place else self.first
        return value in (before, *self.values[place:])


@dataclass(slots=True)
class Event:
    """What was published, as its number in the texts names it; `audience`: who follows it or was named, and did not do
    it."""

    number: int
    reason: str
    entity: str
    named: frozenset[str]
    audience: frozenset[str]
    at: datetime
    deleted: bool = False
    had: set[str] = field(default_factory=set)

    def told_as(self) -> tuple[str, ...]:
        """The reasons by which it may be told."""
        return (THREAD, MENTION) if self.reason == THREAD else (self.reason,)


@dataclass(slots=True)
class Post:
    """A post: who wrote it, when it was begun; `had`: who was sent it, by the reason, one byte a person."""

    number: int
    author: str
    begun: datetime
    version: int = 0
    deleted: bool = False
    private: bool = False
    had: dict[str, bytearray] = field(default_factory=dict)


def may_see_what_is_private(person: str) -> bool:
    """Half of the people may: the same half as the simulation's SQL says."""
    return person[-1] < "5"


@dataclass(slots=True)
class Ledger:
    """Everything that the invariants speak of."""

    usual: Mapping[str, Frequency]
    people: dict[str, Person]
    events: dict[int, Event] = field(default_factory=dict)
    posts: dict[int, Post] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    late: int = 0
    handed: int = 0
    digests: int = 0
    handed_ids: set[int] = field(default_factory=set)
    cut: list[int] = field(default_factory=list)
    """Messages that were too long to list all that they held."""

    disputed: Mapping[str, datetime] = field(default_factory=dict)
    """From when on this machine's time zones and the database's say another hour: then it is the database's."""

    _choices: dict[tuple[str, str], Timeline[Frequency]] = field(default_factory=dict)
    _mutes: dict[tuple[str, str], Timeline[bool]] = field(default_factory=dict)
    _read: dict[str, int] = field(default_factory=dict)
    _restless: dict[str, datetime] = field(default_factory=dict)
    _troubled_until: datetime = _LONG_AGO
    _places: dict[str, int] = field(default_factory=dict)
    _excused: set[tuple[str, str, int]] = field(default_factory=set)
    _newest_digest: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _unsettled_posts: list[int] = field(default_factory=list)
    _unsettled_events: list[int] = field(default_factory=list)
    _missing: list[tuple[str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = {person: place for place, person in enumerate(self.people)}

    # What happens ---------------------------------------------------------------------------------------------------

    def chose(self, person: str, reason: str, at: datetime, frequency: Frequency) -> None:
        """A choice of theirs."""
        self._choices.setdefault((person, reason), Timeline(self.usual[reason])).set(at, frequency)
        self._restless[person] = at

    def muted(self, person: str, entity: str, at: datetime, muted: bool) -> None:
        """They muted an entity, or let it speak again."""
        self._mutes.setdefault((person, entity), Timeline(False)).set(at, muted)

    def is_muted(self, person: str, entity: str) -> bool:
        """Whether they have it muted."""
        mute = self._mutes.get((person, entity))
        return mute is not None and mute.now()

    def read(self, person: str) -> None:
        """They read all that is in their inbox: whatever was published up to now."""
        self._read[person] = next(reversed(self.events), 0)

    def moved(self, person: Person, at: datetime) -> None:
        """They live elsewhere."""
        self.people[person.id] = person
        self._restless[person.id] = at

    def said(self, event: Event) -> None:
        """An event was published."""
        self.events[event.number] = event
        self._unsettled_events.append(event.number)

    def posted(self, post: Post) -> None:
        """A post was begun."""
        post.had = {reason: bytearray(len(self.people)) for reason in FEEDS}
        self.posts[post.number] = post
        self._unsettled_posts.append(post.number)

    def troubled(self, until: datetime) -> None:
        """Something is wrong up to then, so that messages may come late."""
        self._troubled_until = max(self._troubled_until, until)

    def quiet(self, at: datetime) -> bool:
        """Whether nothing was wrong for a good while."""
        return at - self._troubled_until > QUIET

    # What is handed over --------------------------------------------------------------------------------------------

    def hand_over(
        self, at: datetime, delivery: int, person: str, items: Sequence[tuple[str, int, int]], *, cut: bool
    ) -> None:
        """One message was taken, by the provider's word or by nobody's: of each item the reason, number and version."""
        self.handed += 1
        self.handed_ids.add(delivery)
        if cut:
            self.cut.append(delivery)
        if not items:
            self._fault(f"{person} was sent nothing at {at}")
        for reason, number, version in items:
            if self._given(person, reason, number):
                self._fault(f"{person} was sent {reason} {number} twice, again at {at} by delivery {delivery}")
            if why := self._why_unwanted(person, reason, number, version):
                self._fault(f"{person} was sent {reason} {number} at {at} by delivery {delivery}, though {why}")
        for reason in {reason for reason, _, _ in items if reason in FEEDS}:
            self.digests += 1
            self._digest_came(at, person, reason)

    def _given(self, person: str, reason: str, number: int) -> bool:
        """Note that they have it; whether they had it before."""
        if reason in FEEDS:
            had, place = self.posts[number].had[reason], self._places[person]
            before, had[place] = bool(had[place]), 1
            return before
        event = self.events[number]
        again = person in event.had
        event.had.add(person)
        return again

    def _why_unwanted(self, person: str, reason: str, number: int, version: int) -> str:
        choice = self._choices.get((person, reason))
        if (choice.now() if choice else self.usual[reason]) is Frequency.NEVER:
            return "they want it never"
        if reason in FEEDS:
            return self._why_not_this_post(person, reason, self.posts[number], version)
        return self._why_not_this_event(person, reason, self.events[number])

    def _why_not_this_post(self, person: str, reason: str, post: Post, version: int) -> str:
        if self.people[person].user_type not in OFFERED[reason]:
            return "it is not for them"
        if post.deleted:
            return "the post was deleted"
        if post.private and not may_see_what_is_private(person):
            return "the post was made private"
        if person == post.author:
            return "they wrote it"
        return "" if version == post.version else f"it is version {version} of {post.version}"

    def _why_not_this_event(self, person: str, reason: str, event: Event) -> str:
        if person not in event.audience or reason not in event.told_as():
            return "it is none of their business"
        if event.deleted:
            return "it was deleted"
        if person not in event.named and self.is_muted(person, event.entity):
            return "they muted it"
        return "they had read it" if self._has_read(person, event) else ""

    def _has_read(self, person: str, event: Event) -> bool:
        return self._read.get(person, 0) >= event.number

    def _digest_came(self, at: datetime, person: str, reason: str) -> None:
        before = self._newest_digest.get((person, reason))
        self._newest_digest[person, reason] = at
        if before == at:
            self._fault(f"{person} was sent two digests of {reason} at {at}")
        restless = self._restless.get(person)
        if not self.quiet(at) or (restless is not None and at - restless < 2 * QUIET):
            return
        if before is not None and at - before < _APART:
            self._fault(f"{person} was sent digests of {reason} at {before} and already at {at}")
        lives = self.people[person]
        if at < self.disputed.get(lives.zone, _FAR_AHEAD) and not _is_morning(
            lives.zone, lives.digest_at or MORNING, at
        ):
            self._fault(f"{person} in {lives.zone} was sent {reason} at {at}, and their hour is {lives.digest_at}")

    def _fault(self, fault: str) -> None:
        self.faults.append(fault)

    # What must have come --------------------------------------------------------------------------------------------

    def excuse(self, lost: Iterable[tuple[str, str, int]]) -> None:
        """Of these items nobody can tell whether they came: (person, reason, number)."""
        self._excused.update(lost)

    def excuse_posts(self, person: str, reason: str) -> None:
        """A digest of theirs held more than it could list."""
        self._excused.update((person, reason, post.number) for post in self.posts.values())

    def settle(self, at: datetime) -> None:
        """Look at what is old enough: who wanted it all the time and does not have it."""
        old = at - SETTLED
        while self._unsettled_events and self.events[self._unsettled_events[0]].at < old:
            self._missing += self._missing_event(self.events[self._unsettled_events.pop(0)])
        while self._unsettled_posts and self.posts[self._unsettled_posts[0]].begun < old:
            self._missing += self._missing_post(self.posts[self._unsettled_posts.pop(0)])
        self.late = len(self._missing)

    def close(self) -> list[str]:
        """Everything that was found to be wrong; what only was late has come by now."""
        events, posts = self._unsettled_events, self._unsettled_posts
        for number in events:
            self._missing += self._missing_event(self.events[number])
        for number in posts:
            self._missing += self._missing_post(self.posts[number])
        for person, reason, number in self._missing:
            if reason in FEEDS:
                still = self._wants_post(self._places[person], person, reason, self.posts[number])
                at = self.posts[number].begun
            else:
                still, at = self._wants_event(person, self.events[number]), self.events[number].at
            if still:
                self._fault(f"{person} was never sent {reason} {number} of {at}")
        return self.faults

    def _missing_event(self, event: Event) -> Iterator[tuple[str, str, int]]:
        yield from ((p, event.reason, event.number) for p in sorted(event.audience) if self._wants_event(p, event))

    def _wants_event(self, person: str, event: Event) -> bool:
        """Whether they lack it, though they wanted it all the time and did not read it elsewhere."""
        if person in event.had or event.deleted or self._has_read(person, event):
            return False
        mute = self._mutes.get((person, event.entity))
        if person not in event.named and mute is not None and mute.ever(True, event.at):
            return False
        if any((person, reason, event.number) in self._excused for reason in event.told_as()):
            return False
        return not any(self._ever_never(person, reason, event.at) for reason in event.told_as())

    def _missing_post(self, post: Post) -> Iterator[tuple[str, str, int]]:
        for reason in FEEDS:
            for place, (person, had) in enumerate(zip(self.people, post.had[reason], strict=True)):
                if not had and self._wants_post(place, person, reason, post):
                    yield person, reason, post.number

    def _wants_post(self, place: int, person: str, reason: str, post: Post) -> bool:
        if post.had[reason][place] or post.deleted or person == post.author:
            return False
        if self.people[person].user_type not in OFFERED[reason]:
            return False
        if post.private and not may_see_what_is_private(person):
            return False
        if (person, reason, post.number) in self._excused:
            return False
        return not self._ever_never(person, reason, post.begun)

    def _ever_never(self, person: str, reason: str, since: datetime) -> bool:
        choice = self._choices.get((person, reason))
        return choice.ever(Frequency.NEVER, since) if choice else self.usual[reason] is Frequency.NEVER


def _is_morning(zone: str, hour: time, at: datetime) -> bool:
    """Whether that hour began there just now. On a day that the clocks move, an hour more or less is right, too."""
    here = at.astimezone(ZoneInfo(zone))
    begun = datetime.combine(here.date(), hour, here.tzinfo)
    return any(timedelta(0) <= at - moment <= _PUNCTUAL for moment in _mornings(zone, begun.replace(tzinfo=None)))


@lru_cache(maxsize=4096)
def _mornings(zone: str, local: datetime) -> tuple[datetime, ...]:
    """The instants that a local moment may mean: two where it comes twice or never."""
    both = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    return tuple(dict.fromkeys(both))
