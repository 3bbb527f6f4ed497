"""One chunk of a stream: who is let in, what they bought, how far that brings the stream; all or nothing.

A chunk is decided by one view of the gate, and written in one transaction that the gate fences: the facts of those
who are let in, the messages that cannot be read (dead letters, with their cause), and the position. Where the gate
moved on meanwhile, it is decided again. Messages on which the database breaks are found by halving, and buried; a
database that is away raises, and the same chunk is taken again when it is back: nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection

from hark.clock import Clock
from hark.errors import BadInput, Overtaken
from hark.flags import Gate, View
from hark.history.facts import record_facts
from hark.history.live.contracts import News, Topics, Unreadable
from hark.postgres.database import Database, is_of_the_data
from hark.postgres.queries import SCHEMA, Queries

_SQL = Queries.beside(__file__)

MOST_FACTS = 20_000
"""Of one transaction; a chunk that says more is taken in halves."""
_DECIDED_ANEW = 20
"""How often a chunk is decided again before others get their turn."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or one line of a file: where it stands, what it is, when it was written (None: not known)."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A message, and what it says."""

    message: Message
    said: News | Unreadable


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that cannot be taken, and why."""

    message: Message
    cause: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of messages: `recorded`, `left_out` by the gate, `dead`; how many facts really `changed`."""

    messages: int = 0
    recorded: int = 0
    left_out: int = 0
    dead: int = 0
    changed: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.messages + other.messages,
            self.recorded + other.recorded,
            self.left_out + other.left_out,
            self.dead + other.dead,
            self.changed + other.changed,
        )


class Place(Protocol):
    """Where messages come from, and what is written there when they are taken, in the same transaction."""

    async def settle(
        self,
        connection: AsyncConnection[Any],
        messages: Sequence[Message],
        letters: Sequence[Letter],
        *,
        now: datetime,
        schema: str,
    ) -> None:
        """These messages are taken, but for the letters among them, which cannot be.

        Raises:
            Displaced: somebody else took them; nothing must be written.
        """
        ...

    def settled(self, messages: Sequence[Message]) -> None:
        """That is written now."""
        ...


@dataclass(frozen=True, slots=True)
class Sorted:
    """A chunk as one view of the gate decides it."""

    view: View
    news: Sequence[News]
    letters: Sequence[Letter]
    left_out: int


@dataclass(slots=True)
class Ingestor:
    """Takes chunks, one at a time.

    Attributes:
        tell: told what became of each chunk, once it is written.
    """

    database: Database
    clock: Clock
    gate: Gate
    topics: Topics
    tell: Callable[[Taken], None] = field(default=lambda _taken: None)

    async def take(self, messages: Sequence[Message], place: Place) -> Taken:
        """Take a chunk. If it raises, some of it may be written: what the place was told to be settled.

        Args:
            messages: in the order of their offsets, partition by partition.

        Raises:
            Displaced: somebody else has it.
            Overtaken: the gate moves faster than it is decided; take it again.
            psycopg.Error, Unreachable: the database is away; take it again.
        """
        await self.prepare(messages)
        return await self.take_heard(self.hear(messages), place)

    async def prepare(self, messages: Sequence[Message]) -> None:
        """Learn what must be known before these are heard: the schemas of those in Avro.

        Raises:
            Unreachable: the schema registry is away.
        """
        await self.topics.prepare(each.value for each in messages)

    def hear(self, messages: Sequence[Message]) -> list[Heard]:
        """What messages say, once they are prepared for; it needs nobody, and may be done ahead."""
        read = self.topics.read
        return [Heard(message, read(message.topic, message.value)) for message in messages]

    async def take_heard(self, heard: Sequence[Heard], place: Place) -> Taken:
        """`take` what was heard already."""
        if len(heard) > 1 and sum(len(each.said.facts) for each in heard if isinstance(each.said, News)) > MOST_FACTS:
            return await self._halves(heard, place)
        try:
            return await self._decided(heard, place)
        except (psycopg.Error, BadInput, UnicodeError) as error:
            if isinstance(error, psycopg.Error) and not is_of_the_data(error):
                raise
            if len(heard) > 1:
                return await self._halves(heard, place)
            return await self._decided([Heard(heard[0].message, Unreadable(_cause(error)))], place)

    async def _halves(self, heard: Sequence[Heard], place: Place) -> Taken:
        half = len(heard) // 2
        first = await self.take_heard(heard[:half], place)
        return first + await self.take_heard(heard[half:], place)

    async def _decided(self, heard: Sequence[Heard], place: Place) -> Taken:
        for _ in range(_DECIDED_ANEW - 1):
            try:
                return await self._write(heard, sort(heard, await self.gate.view()), place)
            except Overtaken:
                continue
        return await self._write(heard, sort(heard, await self.gate.view()), place)

    async def _write(self, heard: Sequence[Heard], decided: Sorted, place: Place) -> Taken:
        now, schema = self.clock.now(), self.database.schema
        facts = list(chain.from_iterable(news.facts for news in decided.news))
        messages = [each.message for each in heard]
        changed = 0
        async with self.database.transaction() as connection:
            await self.gate.fence(connection, decided.view)
            await place.settle(connection, messages, decided.letters, now=now, schema=schema)
            if facts:
                done = await record_facts(connection, facts, now=now, by=None, schema=schema)
                changed = done.new + done.changed + done.gone
        place.settled(messages)
        taken = Taken(len(heard), len(decided.news), decided.left_out, len(decided.letters), changed)
        self.tell(taken)
        return taken


def sort(heard: Sequence[Heard], view: View) -> Sorted:
    """Who of a chunk is let in, by one view, and what cannot be read."""
    news = [each.said for each in heard if isinstance(each.said, News)]
    letters = [Letter(each.message, each.said.cause) for each in heard if isinstance(each.said, Unreadable)]
    let_in = {user: view.lets_in(user) for user in {each.user_id for each in news}}
    welcome = [each for each in news if let_in[each.user_id]]
    return Sorted(view, welcome, letters, len(news) - len(welcome))


async def bury(
    connection: AsyncConnection[Any], group: str, letters: Sequence[Letter], *, now: datetime, schema: str = SCHEMA
) -> None:
    """Keep messages that could not be taken, with their cause."""
    if not letters:
        return
    given = {
        "group": group,
        "topics": [each.message.topic for each in letters],
        "partitions": [each.message.partition for each in letters],
        "offsets": [each.message.offset for each in letters],
        "values": [each.message.value for each in letters],
        "causes": [each.cause for each in letters],
        "written": [each.message.written_at for each in letters],
        "now": now,
    }
    await connection.execute(_SQL["bury"].text(schema), given)


def _cause(error: Exception) -> str:
    """Why the database will not have it; a text of Postgres may quote rows, so only its kind is kept."""
    if isinstance(error, psycopg.Error):
        named = f", {error.diag.constraint_name}" if error.diag.constraint_name else ""
        return f"the database does not take it: {type(error).__name__} ({error.sqlstate}{named})"
    return f"it cannot be recorded: {type(error).__name__}"
