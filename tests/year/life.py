"""What happens in a simulated year: people, what they do, and what goes wrong. All of it from one seed.

A `Life` only says what happens next; `simulation.py` does it to Hark, and `ledger.py` holds what Hark did against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random

from hark.catalogue import Frequency

START = datetime(2026, 3, 3, tzinfo=UTC)
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

THREAD, MENTION, NEWS, ROUND_UP = "thread", "mention", "news", "round_up"
FRONT_PAGE, WEEKLY_PAGE = "front_page", "weekly_page"
FEEDS = (FRONT_PAGE, WEEKLY_PAGE)
EVENTS = (THREAD, MENTION, NEWS, ROUND_UP)

_FREQUENCIES = {
    THREAD: (Frequency.NEVER, Frequency.IMMEDIATE, Frequency.BATCHED, Frequency.DAILY, Frequency.WEEKLY),
    NEWS: (Frequency.NEVER, Frequency.BATCHED, Frequency.DAILY, Frequency.WEEKLY),
    FRONT_PAGE: (Frequency.NEVER, Frequency.DAILY, Frequency.WEEKLY),
    WEEKLY_PAGE: (Frequency.NEVER, Frequency.WEEKLY, Frequency.DAILY),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a life is. `busy` is how many things people do a day, for each hundred of them."""

    recipients: int
    days: int
    seed: int
    busy: float = 10.0


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient: when their morning is (None: the catalogue's), and where."""

    id: str
    zone: str
    digest_at: time | None


@dataclass(frozen=True, slots=True)
class Said:
    """An event is published."""

    reason: str
    entity: str | None
    to: tuple[str, ...]
    actor: str


@dataclass(frozen=True, slots=True)
class Posted:
    """A post is written; committed `late` hours later, and claims to be `backdated` hours old."""

    late: int
    backdated: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A post is deleted (`privately`: hidden from all but its author); `which` picks among the newest."""

    which: float
    privately: bool


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
    """Somebody moves to another zone."""

    person: str
    zone: str


@dataclass(frozen=True, slots=True)
class Outage:
    """The provider takes nothing for so many hours; `lost_answers`: it takes all and answers nothing."""

    hours: int
    lost_answers: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """The worker dies at one of an attempt's steps, the n-th time that it gets there."""

    step: int
    after: int


@dataclass(frozen=True, slots=True)
class Slept:
    """All workers are down for so many hours."""

    hours: int


Happening = Said | Posted | Withdrawn | Chose | Muted | Read | Moved | Outage | Kill | Slept


class Life:
    """One seed's people and what happens to them, hour by hour."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._random = Random(scale.seed)
        self.threads = tuple(f"post:t{n}" for n in range(max(4, scale.recipients // 10)))
        self.people = tuple(self._person(n) for n in range(scale.recipients))
        self.follows = tuple(self._follows())

    def hours(self) -> Iterator[tuple[datetime, list[Happening]]]:
        """What happens in each hour of it, in order."""
        for hour in range(self.scale.days * 24):
            yield START + hour * HOUR, list(self._happenings())

    def _person(self, n: int) -> Person:
        random = self._random
        at = random.choice((time(0, 15), time(12), time(23, 30))) if random.random() < 0.2 else None
        return Person(f"u{n:06}", random.choice(ZONES), at)

    def _follows(self) -> Iterator[tuple[str, str]]:
        for person in self.people:
            for thread in self._random.sample(self.threads, 2):
                yield person.id, thread
            if self._random.random() < 0.3:
                yield person.id, "topic:news"

    def _happenings(self) -> Iterator[Happening]:
        random, people = self._random, self.scale.recipients
        for _ in range(self._about(people * self.scale.busy / 100 / 24)):
            yield self._act()
        for _ in range(self._about(max(4.0, people / 200) / 24)):
            yield Posted(late=random.choice((0, 0, 0, 1, 5)), backdated=random.choice((0, 0, 0, 3, 400)))
        for _ in range(self._about(1 / 24)):
            yield Said(NEWS, "topic:news", (), self._anyone())
        for _ in range(self._about(0.3 / 24)):
            yield Said(ROUND_UP, "topic:news", (), self._anyone())
        yield from self._troubles()

    def _act(self) -> Happening:
        random, kind = self._random, self._random.random()
        if kind < 0.35:
            return Said(THREAD, random.choice(self.threads), (), self._anyone())
        if kind < 0.5:
            mentioned = tuple(sorted({self._anyone() for _ in range(2)}))
            return Said(THREAD, random.choice(self.threads), mentioned, self._anyone())
        if kind < 0.7:
            reason = random.choice(list(_FREQUENCIES))
            return Chose(self._anyone(), reason, random.choice(_FREQUENCIES[reason]))
        if kind < 0.8:
            return Muted(self._anyone(), random.choice(self.threads), random.random() < 0.6)
        if kind < 0.93:
            return Read(self._anyone())
        if kind < 0.96:
            return Withdrawn(random.random(), random.random() < 0.5)
        return Moved(self._anyone(), random.choice(ZONES))

    def _troubles(self) -> Iterator[Happening]:
        random = self._random
        if random.random() < 1 / 24 / 5:
            yield Outage(hours=random.randint(1, 9), lost_answers=random.random() < 0.2)
        if random.random() < 1 / 24 / 2:
            yield Kill(step=random.randrange(6), after=random.randrange(3))
        if random.random() < 1 / 24 / 14:
            yield Slept(hours=random.choice((2, 5, 30, 80)))

    def _anyone(self) -> str:
        return self._random.choice(self.people).id

    def _about(self, mean: float) -> int:
        whole = int(mean)
        return whole + (self._random.random() < mean - whole)
