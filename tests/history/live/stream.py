"""A stream of the test's own, without brokers: messages at offsets, taken a chunk at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.clock import VirtualClock
from hark.flags import Gate
from hark.history.live import positions
from hark.history.live.contracts import Contract, Topics
from hark.history.live.gates import Open
from hark.history.live.ingest import Ingestor, Letter, Message, Taken, bury
from hark.history.live.positions import Move, Position
from hark.postgres.database import Database
from tests.history.live.events import FACTOIDS, RECEIPTS
from tests.history.shopping import NOW

TOPICS = Topics({RECEIPTS: Contract.RECEIPTS, FACTOIDS: Contract.FACTOIDS})
GROUP = "unified-worker-receipts"


@dataclass(slots=True)
class Consumer:
    """Somebody who believes to own partition 0, and where it left that."""

    ingestor: Ingestor
    topic: str = RECEIPTS
    position: int = 0

    async def begin(self) -> None:
        """Where Postgres says."""
        database = self.ingestor.database
        await positions.begin(database, GROUP, [Position(self.topic, 0, 0, 0, NOW)], now=NOW)
        (known,) = await positions.positions(database, GROUP)
        self.position = known.position

    async def take(self, *values: bytes | None, topic: str | None = None) -> Taken:
        """The next messages, as one chunk."""
        messages = [Message(topic or self.topic, 0, self.position + place, each) for place, each in enumerate(values)]
        return await self.ingestor.take(messages, self)

    async def settle(
        self,
        connection: AsyncConnection[Any],
        messages: Sequence[Message],
        letters: Sequence[Letter],
        *,
        now: datetime,
        schema: str,
    ) -> None:
        reached = messages[-1].offset + 1
        move = Move(self.topic, 0, self.position, reached, reached)
        await positions.move(connection, GROUP, [move], now=now, schema=schema)
        await bury(connection, GROUP, letters, now=now, schema=schema)

    def settled(self, messages: Sequence[Message]) -> None:
        self.position = messages[-1].offset + 1


@dataclass(slots=True)
class Told:
    """What was told of chunks."""

    chunks: list[Taken] = field(default_factory=list)


def ingestor(database: Database, gate: Gate | None = None) -> Ingestor:
    """One that lets everybody in, unless told otherwise."""
    return Ingestor(database, VirtualClock(NOW), gate or Open(), TOPICS)


async def consumer(database: Database, gate: Gate | None = None) -> Consumer:
    """Where the stream stands."""
    made = Consumer(ingestor(database, gate))
    await made.begin()
    return made
