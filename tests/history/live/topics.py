"""Topics on a real broker: written to, and read by streams of the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from hark.clock import DatabaseClock
from hark.config import Settings
from hark.flags import Gate
from hark.history.live import contracts
from hark.history.live.contracts import Contract
from hark.history.live.gates import Open
from hark.history.live.ingest import Ingestor, Taken
from hark.history.live.kafka import Stream
from hark.history.live.positions import streams
from hark.history.live.schemas import Schemas
from hark.history.live.switch import Watched
from hark.postgres.database import Database
from hark.worker import Loop, Pace, Progress
from tests.broker import Broker
from tests.history.live.events import value

PARTITIONS = 2
QUICK = (("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500"))


@dataclass(slots=True)
class Topics:
    """The receipts' topic and the factoids', with their groups."""

    broker: Broker
    number: int
    _producer: Producer | None = field(default=None, repr=False)

    @property
    def settings(self) -> Settings:
        """As they name these."""
        return replace(
            Settings(),
            kafka_brokers=self.broker.address,
            kafka_options=QUICK,
            ingest_receipts_topic=f"receipts-{self.number}",
            ingest_receipts_group=f"of-receipts-{self.number}",
            ingest_factoids_topic=f"factoids-{self.number}",
            ingest_factoids_group=f"of-factoids-{self.number}",
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process."""
        names = ("receipts_topic", "receipts_group", "factoids_topic", "factoids_group")
        options = ";".join(f"{name}={said}" for name, said in QUICK)
        return {
            "HARK_KAFKA_BROKERS": self.broker.address,
            "HARK_KAFKA_OPTIONS": options,
            **{f"HARK_INGEST_{name.upper()}": str(getattr(self.settings, f"ingest_{name}")) for name in names},
        }

    def create(self) -> None:
        """Make both topics."""
        admin = AdminClient({"bootstrap.servers": self.broker.address})
        settings = self.settings
        named = [settings.ingest_receipts_topic, settings.ingest_factoids_topic]
        for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in named]).values():
            future.result(30)

    def write(self, topic: str, *messages: object, partition: int | None = None) -> None:
        """Write messages, JSON unless they are bytes; to one partition, or by turns."""
        if self._producer is None:
            self._producer = Producer({"bootstrap.servers": self.broker.address, "linger.ms": 1, "log_level": 0})
        for place, said in enumerate(messages):
            body = said if isinstance(said, bytes) else value(said)
            self._producer.produce(topic, body, partition=place % PARTITIONS if partition is None else partition)
        assert self._producer.flush(30) == 0

    def receipts(self, *messages: object, partition: int | None = None) -> None:
        """Write into the receipts' topic."""
        self.write(self.settings.ingest_receipts_topic, *messages, partition=partition)

    def factoids(self, *messages: object, partition: int | None = None) -> None:
        """Write into the factoids' topic."""
        self.write(self.settings.ingest_factoids_topic, *messages, partition=partition)


def read_by(settings: Settings) -> contracts.Topics:
    """Which topic holds what."""
    known: Mapping[str, Contract] = {
        settings.ingest_receipts_topic: Contract.RECEIPTS,
        settings.ingest_factoids_topic: Contract.FACTOIDS,
    }
    return contracts.Topics(known)


@dataclass(slots=True)
class Reader:
    """A stream that is being read in the background, until it is told to stop."""

    stream: Stream
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    taken: list[Taken] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None

    def start(self, clock: DatabaseClock) -> None:
        """Begin."""

        async def chunk() -> Progress:
            done = await self.stream.step()
            return Progress(done.more)

        self.stream.ingestor.tell = self.taken.append
        loop = Loop(self.stream.streamed.group, chunk, clock, Pace())
        self._task = asyncio.create_task(loop.run(self.stopping))

    async def stop(self) -> None:
        """End with grace."""
        self.stopping.set()
        assert self._task is not None
        await self._task
        await self.stream.close()


@asynccontextmanager
async def reading(
    topics: Topics,
    database: Database,
    *,
    number: int = 0,
    gate: Gate | None = None,
    chunk: int = 100,
    schemas: Schemas | None = None,
    **more: Any,
) -> AsyncIterator[Reader]:
    """Read one of the two (0: the receipts), for the time of a block.

    Args:
        more: other settings.
    """
    settings = replace(topics.settings, **more)
    clock = await DatabaseClock.start(database)
    ingestor = Ingestor(database, clock, gate or Open(), replace(read_by(settings), schemas=schemas))
    stream = Stream(settings, ingestor, Watched(database, clock), streams(settings)[number], chunk)
    reader = Reader(stream)
    reader.start(clock)
    try:
        yield reader
    finally:
        await reader.stop()


async def soon(done: Callable[[], Awaitable[object]], what: str, patience_s: float = 90.0) -> None:
    """Wait for something that must become true."""
    deadline = time.monotonic() + patience_s
    while not await done():
        assert time.monotonic() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.05)
