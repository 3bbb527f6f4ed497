"""What should have come of a simulated year, worked out without Hark, held against what was handed over."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from hark.catalogue import Frequency
from tests.year.life import FEEDS, MENTION, THREAD

T = TypeVar("T")


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

    def at(self, moment: datetime) -> T:
        """What it is at a moment, changes of that very moment included."""
        place = bisect_right(self.moments, moment)
        return self.values[place - 1] if place else self.first

    def before(self, moment: datetime) -> T:
        """What it was just before a moment: people act after the messages of that moment went out."""
        place = bisect_left(self.moments, moment)
        return self.values[place - 1] if place else self.first

    def between(self, start: datetime, end: datetime) -> list[T]:
        """Every value that it has from `start` to `end`."""
        changes = zip(self.moments, self.values, strict=True)
        return [self.at(start), *(value for moment, value in changes if start <= moment <= end)]


@dataclass(frozen=True, slots=True)
class Event:
    """What was published, as its number in the texts names it."""

    number: int
    reason: str
    entity: str | None
    to: tuple[str, ...]
    actor: str
    at: datetime
    followers: frozenset[str]


@dataclass(slots=True)
class Post:
    """A post: when it began and was committed, and when it was withdrawn."""

    number: int
    begun: datetime
    withdrawn: datetime | None = None


@dataclass(frozen=True, slots=True)
class Handed:
    """One message that was taken: by the provider's word, or by nobody's (`unknown`)."""

    at: datetime
    delivery: int
    person: str
    items: tuple[tuple[str, int], ...]
    cut: bool


@dataclass(slots=True)
class Ledger:
    """Everything that the year's invariants speak of."""

    usual: Mapping[str, Frequency]
    choices: dict[tuple[str, str], Timeline[Frequency]] = field(default_factory=dict)
    mutes: dict[tuple[str, str], Timeline[bool]] = field(default_factory=dict)
    reads: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    events: dict[int, Event] = field(default_factory=dict)
    posts: dict[int, Post] = field(default_factory=dict)
    handed: list[Handed] = field(default_factory=list)
    unanswered: dict[int, str] = field(default_factory=dict)
    """Deliveries of which nobody knows whether they arrived, and whose they are."""

    def chose(self, person: str, reason: str, at: datetime, frequency: Frequency) -> None:
        """A choice of theirs."""
        self.choices.setdefault((person, reason), Timeline(self.usual[reason])).set(at, frequency)

    def muted(self, person: str, entity: str, at: datetime, muted: bool) -> None:
        """They muted an entity, or let it speak again."""
        self.mutes.setdefault((person, entity), Timeline(False)).set(at, muted)

    def frequencies(self, person: str, reason: str, start: datetime, end: datetime) -> list[Frequency]:
        """Every frequency that they had for a reason in a while."""
        timeline = self.choices.get((person, reason))
        return timeline.between(start, end) if timeline else [self.usual[reason]]

    def silenced(self, person: str, entity: str | None, start: datetime, end: datetime) -> bool:
        """Whether they had an entity muted at any time of a while."""
        timeline = self.mutes.get((person, entity or ""))
        return timeline is not None and any(timeline.between(start, end))

    def faults(self, people: Sequence[str], end: datetime) -> list[str]:
        """Everything that is wrong, in words; empty: every invariant holds."""
        return [
            *self._twice(),
            *self._empty(),
            *self._unwanted(),
            *self._missing_events(end),
            *self._missing_posts(people, end),
        ]

    def _twice(self) -> Iterator[str]:
        seen = Counter((handed.person, item) for handed in self.handed for item in handed.items)
        yield from (f"{person} was sent {item} {times} times" for (person, item), times in seen.items() if times > 1)

    def _empty(self) -> Iterator[str]:
        yield from (f"{each.person} was sent nothing at {each.at}" for each in self.handed if not each.items)

    def _unwanted(self) -> Iterator[str]:
        for handed in self.handed:
            for reason, number in handed.items:
                why = self._why_unwanted(handed, reason, number)
                if why:
                    yield f"{handed.person} was sent {reason} {number} at {handed.at}, though {why}"

    def _why_unwanted(self, handed: Handed, reason: str, number: int) -> str:
        choice = self.choices.get((handed.person, reason))
        if choice is not None and choice.before(handed.at) is Frequency.NEVER:
            return "they want it never"
        return self._post_gone(handed, number) if reason in FEEDS else self._event_gone(handed, number)

    def _post_gone(self, handed: Handed, number: int) -> str:
        post = self.posts[number]
        gone = post.withdrawn is not None and post.withdrawn < handed.at
        return "the post was withdrawn" if gone else "it was not written yet" if post.begun > handed.at else ""

    def _event_gone(self, handed: Handed, number: int) -> str:
        event, person = self.events[number], handed.person
        if person == event.actor:
            return "they did it themselves"
        if person not in event.to and person not in event.followers:
            return "they never asked for it"
        mute = self.mutes.get((person, event.entity or ""))
        if person not in event.to and mute is not None and mute.before(handed.at):
            return "they muted it"
        if any(event.at < read < handed.at for read in self.reads[person]):
            return "they had read it"
        return ""

    def _missing_events(self, end: datetime) -> Iterator[str]:
        had, excused = self._had()
        for event in self.events.values():
            for person in {*event.to, *event.followers} - {event.actor} - excused:
                if self._surely_wanted(event, person, end) and not any(
                    (person, (r, event.number)) in had for r in _told_as(event)
                ):
                    yield f"{person} was never sent {event.reason} {event.number} of {event.at}"

    def _surely_wanted(self, event: Event, person: str, end: datetime) -> bool:
        """Whatever they chose since, they wanted it all the time, and did not read it elsewhere."""
        if any(read > event.at for read in self.reads[person]):
            return False
        if person not in event.to and self.silenced(person, event.entity, event.at, end):
            return False
        return all(Frequency.NEVER not in self.frequencies(person, reason, event.at, end) for reason in _told_as(event))

    def _missing_posts(self, people: Sequence[str], end: datetime) -> Iterator[str]:
        had, excused = self._had()
        for post in self.posts.values():
            if post.withdrawn is not None:
                continue
            for person in people:
                for reason in FEEDS:
                    wanted = Frequency.NEVER not in self.frequencies(person, reason, post.begun, end)
                    if wanted and person not in excused and (person, (reason, post.number)) not in had:
                        yield f"{person} was never sent {reason} {post.number} of {post.begun}"

    def _had(self) -> tuple[set[tuple[str, tuple[str, int]]], set[str]]:
        """What everybody had, and of whom that cannot be told: a message was too long to be listed whole, or its worker
        died between the mark and the hand-over."""
        had = {(handed.person, item) for handed in self.handed for item in handed.items}
        arrived = {handed.delivery for handed in self.handed}
        lost = {person for delivery, person in self.unanswered.items() if delivery not in arrived}
        return had, lost | {handed.person for handed in self.handed if handed.cut}


def _told_as(event: Event) -> tuple[str, ...]:
    """The reasons by which an event may be told."""
    return (THREAD, MENTION) if event.reason == THREAD else (event.reason,)
