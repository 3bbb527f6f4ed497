"""A made-up campus site on a busy evening: people, and what they do, in bursts. The same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from hark.audience import Recipient, Subscription

LENGTH = timedelta(hours=3)
_EVENTS = 2200
"""About how many things happen on a campus of the size that the numbers here say."""
_POSTS = 30
_TYPES = {"Students": 150, "Mentors": 30, "Employers": 30, "Career Services": 15, "Prospects": 15}
_ZONES = ("Europe/Berlin", "Europe/Lisbon", "America/New_York", "Asia/Kolkata", "Pacific/Auckland")
_NAMES = "ada ben cleo dan eva finn gia hugo ida jon kim lea max nia omar pia quinn rosa sam tess uma vik yara zoe"
_APPS = ("GitHub", "Notion", "Figma", "Slack", "Linear", "Overleaf")
_WORDS = (
    "Thanks, that helped.",
    "Does anybody know when the fair opens?",
    "I would ask for more time.",
    "Same here!",
    "The second link does not work for me.",
    "Good luck tomorrow.",
)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that somebody does, as the site would publish it."""

    at: datetime
    reason: str
    actor: str | None
    about: str
    to: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    payload: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody opens the site and reads all that is new."""

    at: datetime
    recipient: str


@dataclass(frozen=True, slots=True)
class Campus:
    """People, what they follow, and an evening of theirs in the order of time."""

    people: Sequence[Recipient]
    follows: Sequence[Subscription]
    happenings: Sequence[Happening]
    looks: Sequence[Look]


def campus(seed: int, begins: datetime, events: int) -> Campus:
    """Make up a campus and its evening.

    Args:
        begins: when the evening begins.
        events: about how many things happen; the campus is as large as that takes.
    """
    chance = Random(seed)  # noqa: S311  made-up data, not a secret
    size = events / _EVENTS
    people = list(_people(chance, size))
    follows = list(_follows(chance, people, size))
    happenings = [
        *_threads(chance, begins, people, size),
        *_chats(chance, begins, people, size),
        *_shares(chance, begins, people, size),
        *_resets(chance, begins, people, size),
    ]
    looks = [Look(_some_time(chance, begins), chance.choice(people).id) for _ in range(_times(120, size))]
    return Campus(
        people,
        follows,
        sorted(happenings, key=lambda each: each.at),
        sorted(looks, key=lambda each: each.at),
    )


def _times(count: int, size: float) -> int:
    return max(1, round(count * size))


def _people(chance: Random, size: float) -> Iterator[Recipient]:
    names = _NAMES.split()
    kinds = [kind for kind, count in _TYPES.items() for _ in range(_times(count, size) + 1)]
    for number, kind in enumerate(kinds):
        name = f"{names[number % len(names)]}{number // len(names) or ''}"
        yield Recipient(
            name,
            kind,
            f"{name}@campus.example",
            confirmed=chance.random() < 0.95,
            opted_in=chance.random() < 0.97,
            zone=chance.choice(_ZONES),
        )


def _follows(chance: Random, people: Sequence[Recipient], size: float) -> Iterator[Subscription]:
    for post in range(_times(_POSTS, size)):
        for person in chance.sample(people, min(len(people), chance.randint(4, 40))):
            yield Subscription(person.id, f"post:{post}")


def _threads(chance: Random, begins: datetime, people: Sequence[Recipient], size: float) -> Iterator[Happening]:
    """Posts that are quiet for long and then are answered every few seconds."""
    for _ in range(_times(45, size)):
        post = f"post:{chance.randrange(_times(_POSTS, size))}"
        for at in _burst(chance, begins, chance.randint(3, 45), pause_s=20):
            said = {"text": chance.choice(_WORDS)}
            yield Happening(at, "comment_reply", chance.choice(people).id, post, entities=(post,), payload=said)


def _chats(chance: Random, begins: datetime, people: Sequence[Recipient], size: float) -> Iterator[Happening]:
    for _ in range(_times(60, size)):
        pair = [person.id for person in chance.sample(people, 2)]
        for at in _burst(chance, begins, chance.randint(2, 30), pause_s=25):
            chance.shuffle(pair)
            said = {"text": chance.choice(_WORDS)}
            yield Happening(at, "message_received", pair[0], f"chat:{min(pair)}", to=(pair[1],), payload=said)


def _shares(chance: Random, begins: datetime, people: Sequence[Recipient], size: float) -> Iterator[Happening]:
    for _ in range(_times(120, size)):
        app = chance.choice(_APPS)
        some = tuple(person.id for person in chance.sample(people, chance.randint(1, 4)))
        actor = chance.choice(people).id
        yield Happening(_some_time(chance, begins), "app_shared", actor, f"app:{app}", to=some, payload={"app": app})


def _resets(chance: Random, begins: datetime, people: Sequence[Recipient], size: float) -> Iterator[Happening]:
    for _ in range(_times(12, size)):
        person = chance.choice(people).id
        link = {"url": f"https://campus.example/reset/{chance.randrange(10**9)}"}
        at = _some_time(chance, begins)
        yield Happening(at, "password_reset", None, f"user:{person}", to=(person,), payload=link)


def _burst(chance: Random, begins: datetime, count: int, *, pause_s: float) -> Iterator[datetime]:
    at = _some_time(chance, begins)
    for _ in range(count):
        yield min(at, begins + LENGTH)
        at += timedelta(seconds=chance.expovariate(1 / pause_s))


def _some_time(chance: Random, begins: datetime) -> datetime:
    return begins + LENGTH * chance.random()
