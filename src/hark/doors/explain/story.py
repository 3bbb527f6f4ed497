"""What the database knows of one event and one person, read in one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

from psycopg import AsyncConnection

from hark.delivery.recheck import NOTED
from hark.errors import BadInput
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

T = TypeVar("T")

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Happened:
    """The event. `named`: it names the recipient; `passed`: its fan-out is beyond them;
    `set_aside`: why it could not be fanned out at all."""

    id: int
    reason: str
    actor: str | None
    occurred_at: datetime
    published_at: datetime
    fanned_out_at: datetime | None
    chunks: int
    matched: int
    entities: list[str]
    named: bool
    passed: bool
    set_aside: str | None = None


@dataclass(frozen=True, slots=True)
class Habit:
    """How the reason is batched now."""

    frequency: str
    cooldown: timedelta
    max_stale: timedelta | None
    due_time: time


@dataclass(frozen=True, slots=True)
class Person:
    """The recipient now. `wants_email`: e-mail would be among their channels if it could reach them."""

    user_type: str
    zone: str
    reach: str
    suppressed: str | None
    chosen_at: datetime | None
    wants_email: bool


@dataclass(frozen=True, slots=True)
class Interest:
    """A subscription of the recipient to an entity of the event."""

    entity: str
    muted: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """The notification that the fan-out wrote; as which reason (None: the event's own), and which others applied."""

    in_app: bool
    why: str
    frequency: str | None
    own_frequency: bool
    named: bool
    reach: str | None
    email_delivery: int | None
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    as_reason: str | None = None
    also: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Narrower:
    reason: str


@dataclass(frozen=True, slots=True)
class Carried:
    """The delivery that carries the notification; `rated_until`: when its channel's rate limit has all its credit;
    `fed`: how many items of each feed it holds beside."""

    id: int
    channel: str
    batch_group: str
    frequency: str
    state: str
    outcome: str
    gathering: bool
    due_at: datetime
    stale_at: datetime
    items: int
    moved_on: int
    last_event: int | None
    attempt: int
    lease_until: datetime | None
    worker: str | None
    why: str
    left_out: Mapping[str, str] | None
    changed_at: datetime
    rated_until: datetime | None
    fed: Mapping[str, int] | None = None

    def left_out_because(self, event: int) -> str | None:
        """Why the newest recheck left an event's notification out; None: it did not, as far as was noted."""
        return (self.left_out or {}).get(str(event))

    def others_said(self) -> int | None:
        """How many other notifications the message says; None where too many were left out to note each."""
        dropped = len(self.left_out or {})
        return None if dropped >= NOTED else self.items - dropped - 1


@dataclass(frozen=True, slots=True)
class Move:
    """One arrow that the delivery moved along."""

    at: datetime
    from_state: str
    from_outcome: str
    to_state: str
    to_outcome: str
    attempt: int
    worker: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Story:
    """All of it. What is None or empty is not there. `narrower`: the reasons that the event's own has for those who
    stand nearer, most specific first."""

    recipient: str
    event: Happened
    habit: Habit | None
    person: Person | None
    interests: list[Interest]
    told: Told | None
    delivery: Carried | None
    moves: list[Move]
    narrower: Sequence[str] = ()

    @property
    def reason(self) -> str:
        """The reason that the recipient is, or was, told by."""
        return (self.told.as_reason if self.told else None) or self.event.reason


async def read_story(database: Database, recipient: str, event: int) -> Story:
    """Read it, all as it was at one moment.

    Raises:
        BadInput: there is no such event.
    """
    async with database.transaction() as connection:
        await connection.execute(_SQL["one_moment"].text(database.schema))
        return await _Reader(connection, database.schema, {"recipient": recipient, "event": event}).story()


@dataclass(frozen=True, slots=True)
class _Reader:
    connection: AsyncConnection[Any]
    schema: str
    who_and_what: Mapping[str, object]

    async def story(self) -> Story:
        event = await self._event()
        told = await self._first("told", Told)
        about = {"reason": (told.as_reason if told else None) or event.reason, "entities": event.entities}
        carried = {"delivery": told.email_delivery if told else None}
        return Story(
            recipient=str(self.who_and_what["recipient"]),
            event=event,
            habit=await self._first("reason", Habit, about),
            person=await self._first("recipient", Person, about),
            interests=await self._all("subscriptions", Interest, about),
            told=told,
            delivery=await self._first("delivery", Carried, carried),
            moves=await self._all("moves", Move, carried),
            narrower=[each.reason for each in await self._all("narrower", _Narrower, {"base": event.reason})],
        )

    async def _event(self) -> Happened:
        event = await self._first("event", Happened)
        if event is None:
            raise BadInput(
                f"there is no event {self.who_and_what['event']}; publish prints the id of each, inbox lists them"
            )
        return event

    async def _first(self, name: str, row: type[T], given: Mapping[str, object] | None = None) -> T | None:
        rows = await self._all(name, row, given)
        return rows[0] if rows else None

    async def _all(self, name: str, row: type[T], given: Mapping[str, object] | None = None) -> list[T]:
        return await fetch(self.connection, _SQL[name], row, {**self.who_and_what, **(given or {})}, schema=self.schema)
