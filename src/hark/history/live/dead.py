"""Dead letters: messages that could not be taken, kept as they came, with their cause.

Replayed, they go through the same chunk as any message: gate, facts, position (which is the letter itself: it is gone
when its facts are there). What still cannot be taken stays, with the cause of now. Messages may be replayed however
late: each has its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.errors import BadInput
from hark.history.live.ingest import Ingestor, Letter, Message, Taken
from hark.history.live.positions import Displaced
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

AT_ONCE = 500
"""How many are replayed in one transaction."""


@dataclass(frozen=True, slots=True)
class DeadLine:
    """One letter for a list. An empty topic: a line of a file that did not say its own. `tries`: replays included."""

    id: int
    group_name: str
    topic: str
    partition: int
    at_offset: int
    cause: str
    written_at: datetime | None
    died_at: datetime
    tries: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class DeadShown:
    """One letter with what it says."""

    id: int
    group_name: str
    topic: str
    partition: int
    at_offset: int
    cause: str
    written_at: datetime | None
    died_at: datetime
    tries: int
    value: bytes | None

    @property
    def text(self) -> str | None:
        """Its value as text; bytes that are none are escaped."""
        return None if self.value is None else self.value.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters: of a group, a topic, whose cause has these words, that died since; behind a number."""

    group: str | None = None
    topic: str | None = None
    cause: str | None = None
    since: datetime | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Kept:
    id: int
    topic: str
    partition: int
    at_offset: int
    value: bytes | None
    written_at: datetime | None


async def page(database: Database, which: Filter, limit: int) -> list[DeadLine]:
    """Letters, by their numbers."""
    given = {
        "group": which.group,
        "topic": which.topic,
        "cause": which.cause,
        "since": which.since,
        "after": which.after,
        "limit": limit,
    }
    return await database.fetch(_SQL["page"], DeadLine, given)


async def show(database: Database, number: int) -> DeadShown:
    """One letter.

    Raises:
        BadInput: there is none of this number.
    """
    found = await database.fetch(_SQL["show"], DeadShown, {"id": number})
    if not found:
        raise BadInput(f"there is no dead letter {number}; hark ingest dead list shows those that there are")
    return found[0]


async def drop(database: Database, numbers: Sequence[int]) -> int:
    """Throw letters away; how many there were."""
    return await database.execute(_SQL["drop"], {"ids": list(numbers)})


async def next_numbers(database: Database, after: int, limit: int = AT_ONCE) -> list[int]:
    """The next letters behind one."""
    return [row.id for row in await database.fetch(_SQL["ids"], _Id, {"after": after, "limit": limit})]


async def replay(ingestor: Ingestor, numbers: Sequence[int]) -> Taken:
    """Take some letters again, `AT_ONCE` at most; those that are gone meanwhile are passed over.

    Raises:
        Displaced: somebody else replays them right now.
        What `Ingestor.take` raises.
    """
    kept = await ingestor.database.fetch(_SQL["some"], _Kept, {"ids": list(numbers)})
    if not kept:
        return Taken()
    letters = [
        _Again(row.topic, row.partition, row.at_offset, row.value, row.written_at, number=row.id) for row in kept
    ]
    return await ingestor.take(letters, _Letters())


@dataclass(frozen=True, slots=True)
class _Again(Message):
    """A message out of a letter: its number."""

    number: int = 0


@dataclass(frozen=True, slots=True)
class _Letters:
    """The place of letters: those that are taken are gone, the others keep the cause of now."""

    async def settle(
        self,
        connection: AsyncConnection[Any],
        messages: Sequence[Message],
        letters: Sequence[Letter],
        *,
        now: datetime,
        schema: str,
    ) -> None:
        ids, again = _numbers(messages), _numbers([each.message for each in letters])
        held = await fetch(connection, _SQL["held"], _Id, {"ids": ids}, schema=schema)
        if len(held) != len(ids):
            raise Displaced("somebody else has replayed or dropped some of these letters")
        await connection.execute(_SQL["drop"].text(schema), {"ids": sorted(set(ids) - set(again))})
        if again:
            given = {"ids": again, "causes": [each.cause for each in letters]}
            await connection.execute(_SQL["retried"].text(schema), given)

    def settled(self, messages: Sequence[Message]) -> None:
        """Letters have no position."""


def _numbers(messages: Sequence[Message]) -> list[int]:
    return [each.number for each in messages if isinstance(each, _Again)]
