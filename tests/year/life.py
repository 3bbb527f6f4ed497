"""What happens in a simulated year: people, what they do, and what goes wrong. All of it from one seed.

A `Life` only says what happens next; `simulation.py` does it to Hark, and `ledger.py` holds what Hark did against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Literal

from hark.catalogue import Frequency
from hark.delivery.attempt import Step

START = datetime(2026, 3, 2, 23, 55, tzinfo=UTC)
"""People act five minutes before each hour: behind the planners, who look ten minutes ahead, and before what is due."""

HOUR = timedelta(hours=1)

ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "Africa/Nairobi",
    "America/Anchorage",
    "America/Argentina/Buenos_Aires",
    "America/Bogota",
    "America/Caracas",
    "America/Chicago",
    "America/Denver",
    "America/Halifax",
    "America/Havana",
    "America/Lima",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Noronha",
    "America/Nuuk",
    "America/Phoenix",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Baghdad",
    "Asia/Baku",
    "Asia/Beirut",
    "Asia/Colombo",
    "Asia/Dhaka",
    "Asia/Dubai",
    "Asia/Gaza",
    "Asia/Hong_Kong",
    "Asia/Jakarta",
    "Asia/Jerusalem",
    "Asia/Kabul",
    "Asia/Karachi",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Manila",
    "Asia/Seoul",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Asia/Yangon",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Brisbane",
    "Australia/Eucla",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Honolulu",
]
"""Sixty and more, among them those that move their clocks by half an hour, or stand fourteen hours ahead."""

ODD_ZONES = (
    "Africa/Casablanca",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
"""Where some people have a morning of their own: where the clocks are the strangest."""

ODD_MORNINGS = (time(0, 15), time(12), time(23, 30))

THREAD, MENTION, NEWS, ROUND_UP = "thread", "mention", "news", "round_up"
FRONT_PAGE, WEEKLY_PAGE = "front_page", "weekly_page"
FEEDS = (FRONT_PAGE, WEEKLY_PAGE)
EVENTS = (THREAD, MENTION, NEWS, ROUND_UP)

READERS, SUBSCRIBERS, LURKERS = "Students", "Employers", "Mentors"
OFFERED = {FRONT_PAGE: (READERS,), WEEKLY_PAGE: (READERS, SUBSCRIBERS)}
"""Which user types are offered a feed; events are for all."""

_FREQUENCIES = {
    THREAD: (Frequency.NEVER, Frequency.IMMEDIATE, Frequency.BATCHED, Frequency.DAILY, Frequency.WEEKLY),
    NEWS: (Frequency.NEVER, Frequency.BATCHED, Frequency.DAILY, Frequency.WEEKLY),
    FRONT_PAGE: (Frequency.NEVER, Frequency.DAILY, Frequency.WEEKLY),
    WEEKLY_PAGE: (Frequency.NEVER, Frequency.WEEKLY, Frequency.DAILY),
}


LENT, PLANNED, COMMITTED = "walk lent", "planned", "planned and committed"
POINTS = (*(str(step) for step in Step), LENT, PLANNED, COMMITTED)
"""Where a worker may die: behind each step of an attempt, and around what a planner commits."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a life is.

    `busy` is how many things people do a day, for each hundred of them; `posts` and `news`, how many a day; `readers`
    and `subscribers`, the shares of people who are offered both feeds, and the weekly one alone; `followers`, the share
    that hears of news; `outage`, `kill` and `sleep`, how many days lie between two of them. Of `zones`
    there are so many: where they are few, the strangest.
    """

    recipients: int
    days: int
    seed: int
    busy: float = 10.0
    posts: float = 4.0
    news: float = 1.0
    readers: float = 1.0
    subscribers: float = 0.0
    followers: float = 0.3
    outage: float = 5.0
    kill: float = 2.0
    sleep: float = 14.0
    zones: int = len(ZONES)


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient: what they are, when their morning is (None: the catalogue's), and where."""

    id: str
    user_type: str
    zone: str
    digest_at: time | None


@dataclass(frozen=True, slots=True)
class Said:
    """An event is published."""

    reason: str
    entity: str
    to: tuple[str, ...]
    actor: str


@dataclass(frozen=True, slots=True)
class Unsaid:
    """A comment is deleted; `which` picks among the newest."""

    which: float


@dataclass(frozen=True, slots=True)
class Posted:
    """A post is written; committed `late` hours later, and claims to be `backdated` hours old."""

    author: str
    late: int
    backdated: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A post is deleted, made private or edited; `which` picks among the newest."""

    which: float
    how: Literal["deleted", "private", "edited"]


@dataclass(frozen=True, slots=True)
class Chose:
    """Somebody changes how often they want to hear for a reason."""

    person: str
    reason: str
    frequency: Frequency


@dataclass(frozen=True, slots=True)
class Muted:
    """Somebody mutes a thread, or lets it speak again."""

    person: str
    entity: str
    muted: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Somebody opens the inbox and reads all that is in it."""

    person: str


@dataclass(frozen=True, slots=True)
class Moved:
    """Somebody moves to another zone, and has the morning that everybody has there."""

    person: str
    zone: str


@dataclass(frozen=True, slots=True)
class Outage:
    """The provider takes nothing for so many hours; `lost_answers`: it takes all and answers nothing."""

    hours: int
    lost_answers: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker dies at one of an attempt's or of a planner's points, the n-th time that one gets there."""

    point: str
    after: int


@dataclass(frozen=True, slots=True)
class Slept:
    """All workers are down for so many hours; `planners`: only nobody plans."""

    hours: int
    planners: bool


Happening = Said | Unsaid | Posted | Changed | Chose | Muted | Read | Moved | Outage | Kill | Slept


class Life:
    """One seed's people and what happens to them, hour by hour."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._random = Random(scale.seed)
        self._zones = ZONES if scale.zones >= len(ZONES) else ODD_ZONES[: scale.zones]
        self.threads = tuple(f"post:t{n}" for n in range(max(4, scale.recipients // 10)))
        self.people = tuple(self._person(n) for n in range(scale.recipients))
        self.follows = tuple(self._follows())

    def day(self) -> Iterator[list[Happening]]:
        """What happens in each of the next 24 hours, in order."""
        for _ in range(24):
            yield list(self._happenings())

    def _person(self, n: int) -> Person:
        random = self._random
        zone, share = random.choice(self._zones), random.random()
        own_morning = zone in ODD_ZONES and random.random() < 0.4
        user_type = (
            READERS
            if share < self.scale.readers
            else SUBSCRIBERS
            if share < self.scale.readers + self.scale.subscribers
            else LURKERS
        )
        return Person(f"u{n:06}", user_type, zone, random.choice(ODD_MORNINGS) if own_morning else None)

    def _follows(self) -> Iterator[tuple[str, str]]:
        for person in self.people:
            for thread in self._random.sample(self.threads, 2):
                yield person.id, thread
            if self._random.random() < self.scale.followers:
                yield person.id, "topic:news"

    def _happenings(self) -> Iterator[Happening]:
        random, scale = self._random, self.scale
        for _ in range(self._about(scale.recipients * scale.busy / 100 / 24)):
            yield self._act()
        for _ in range(self._about(scale.posts / 24)):
            yield Posted(
                self._anyone(), late=random.choice((0, 0, 0, 1, 5)), backdated=random.choice((0, 0, 0, 3, 400))
            )
        for _ in range(self._about(scale.news / 24)):
            yield Said(NEWS, "topic:news", (), self._anyone())
        for _ in range(self._about(scale.news / 3 / 24)):
            yield Said(ROUND_UP, "topic:news", (), self._anyone())
        yield from self._changes()
        yield from self._troubles()

    def _act(self) -> Happening:
        random, kind = self._random, self._random.random()
        if kind < 0.20:
            return Said(THREAD, random.choice(self.threads), (), self._anyone())
        if kind < 0.32:
            mentioned = tuple(sorted({self._anyone() for _ in range(2)}))
            return Said(THREAD, random.choice(self.threads), mentioned, self._anyone())
        if kind < 0.60:
            reason = random.choice(list(_FREQUENCIES))
            return Chose(self._anyone(), reason, random.choice(_FREQUENCIES[reason]))
        if kind < 0.75:
            # Two in three mute a thread that they follow, or let it speak again.
            person, entity = random.choice(self.follows) if random.random() < 0.67 else ("", "")
            return Muted(person or self._anyone(), entity or random.choice(self.threads), random.random() < 0.55)
        if kind < 0.94:
            return Read(self._anyone())
        return Moved(self._anyone(), random.choice(self._zones))

    def _changes(self) -> Iterator[Happening]:
        """What becomes of posts and comments: of every third post something."""
        random = self._random
        for _ in range(self._about(self.scale.posts / 3 / 24)):
            yield Changed(random.random(), random.choice(("deleted", "private", "edited")))
        for _ in range(self._about(self.scale.recipients * self.scale.busy / 100 / 24 / 10)):
            yield Unsaid(random.random())

    def _troubles(self) -> Iterator[Happening]:
        random, scale = self._random, self.scale
        if random.random() < 1 / 24 / scale.outage:
            yield Outage(hours=random.randint(1, 9), lost_answers=random.random() < 0.2)
        if random.random() < 1 / 24 / scale.kill:
            yield Kill(random.choice(POINTS), after=random.randrange(3))
        if random.random() < 1 / 24 / scale.sleep:
            yield Slept(hours=random.choice((2, 5, 30, 80)), planners=random.random() < 0.5)

    def _anyone(self) -> str:
        return self._random.choice(self.people).id

    def _about(self, mean: float) -> int:
        whole = int(mean)
        return whole + (self._random.random() < mean - whole)
