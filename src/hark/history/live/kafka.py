"""Streams that are topics: one consumer of one group, that takes what brokers give it and begins where Postgres says.

Offsets are committed to the brokers after the facts, for whoever watches the group; where a partition is taken up is
its position in Postgres, if there is one. A chunk moves positions only from where this consumer left them: one that
was taken for dead, and whose partitions others have by now, writes nothing, and begins anew.

Needs the extra `graph`. librdkafka's calls wait, so they are made in a thread of the consumer's own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as ConsumedMessage
from psycopg import AsyncConnection

from hark.config import Settings
from hark.history.live import positions
from hark.history.live.brokers import PATIENCE_S, options, quiet, refused
from hark.history.live.ingest import Heard, Ingestor, Letter, Message, bury
from hark.history.live.positions import Displaced, Move, Position, Streamed
from hark.history.live.switch import Watched
from hark.history.tending import Tended
from hark.logs import Log

T = TypeVar("T")

_log = Log(__name__)

POLL_S = 0.2
"""How long to wait for a chunk to become full."""
_REPORT = timedelta(seconds=1)
"""How often an idle stream reports the version of the flag that it acts on."""
_RETURN_S = 30.0
"""How long partitions that are taken away wait for the chunk under way."""

_OURS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    "log_level": 0,
}
_DEFAULTS = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 3_000}
"""One that is killed is missed soon; kafka_options may say otherwise."""

_SAY_AGAIN_S = 30
_NEVER = 2**63

Partition = tuple[str, int]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll gave: messages that are next in their partitions, and ends that were come to."""

    messages: Sequence[Message] = ()
    ends: Mapping[Partition, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing came."""
        return not self.messages and not self.ends


@dataclass(slots=True)
class Stream:
    """One topic, read as a member of its group.

    `step` does one chunk; one that could not be written is kept and taken again. One task at a time.

    Attributes:
        chunk: how many messages at most are taken together.
    """

    settings: Settings
    ingestor: Ingestor
    switch: Watched
    streamed: Streamed
    chunk: int
    _thread: ThreadPoolExecutor = field(init=False, repr=False)
    _loop: asyncio.AbstractEventLoop = field(init=False, repr=False)
    _consumer: Consumer | None = field(default=None, repr=False)
    _next: dict[Partition, int] = field(default_factory=dict, repr=False)  # of the partitions that are owned: to read
    _done: dict[Partition, int] = field(default_factory=dict, repr=False)  # and where this left their positions
    _ends: dict[Partition, int] = field(default_factory=dict, repr=False)
    _batch: Batch | None = field(default=None, repr=False)
    _idle: threading.Event = field(default_factory=threading.Event, repr=False)
    _broken: bool = False
    _paused: bool = False
    _reported_at: datetime | None = None
    _said: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self.streamed.group)
        self._idle.set()

    async def begin(self) -> None:
        """Join the group.

        Raises:
            BadInput: an option is wrong.
        """
        self._consumer = await self._in_thread(self._join)

    async def step(self) -> Tended:
        """Take the next chunk, or wait a moment for one.

        Raises:
            psycopg.Error, Unreachable: the database is away; the same chunk is taken again.
        """
        await self._steer()
        batch = self._batch if self._batch is not None else await self._in_thread(self._poll)
        self._batch = batch
        if batch.is_empty:
            self._batch = None
            await self._report()
            return Tended(more=False)
        self._idle.clear()
        try:
            await self._take(batch)
        finally:
            self._idle.set()
        self._batch = None
        return Tended(more=True)

    async def close(self) -> None:
        """Leave the group: others have its partitions at once."""
        await self._leave()
        self._thread.shutdown()
        await self.ingestor.gate.close()

    # Steering -------------------------------------------------------------------------------------------------------

    async def _steer(self) -> None:
        """Be a member, and do as the switch says; one that pauses stays a member."""
        paused = await self.switch.is_paused()
        if self._broken:
            await self._leave()
        if self._consumer is None:
            await self.begin()
        if paused is not self._paused:
            self._paused = paused
            await self._in_thread(self._switched)
            _log.info("ingest_paused" if paused else "ingest_resumed", group=self.streamed.group)

    def _switched(self) -> None:
        assert self._consumer is not None
        mine = self._consumer.assignment()
        (self._consumer.pause if self._paused else self._consumer.resume)(mine)

    async def _leave(self) -> None:
        """What is not written is read again by whoever comes next."""
        consumer, self._consumer, self._batch, self._broken = self._consumer, None, None, False
        if consumer is not None:
            await self._in_thread(consumer.close)
        self._forget()

    async def _report(self) -> None:
        """Say on which version of the flag this acts, though there is nothing to act on."""
        now = self.ingestor.clock.now()
        if self._reported_at is None or now - self._reported_at >= _REPORT:
            await self.ingestor.gate.view()
            self._reported_at = now

    async def _in_thread(self, work: Callable[[], T]) -> T:
        self._loop = asyncio.get_running_loop()
        return await self._loop.run_in_executor(self._thread, work)

    # Taking ---------------------------------------------------------------------------------------------------------

    async def _take(self, batch: Batch) -> None:
        left = [each for each in batch.messages if each.offset >= self._done[_of(each)]]
        try:
            if left:
                await self.ingestor.take_heard(await self._hear(left), self)
            await self._pass(batch.ends)
        except Displaced as error:
            # Whatever this member believed to own, it is told anew what it owns, and begins where that stands.
            _log.warning("ingest_displaced", what=str(error))
            self._broken = True
            return
        self._commit([*batch.ends, *set(map(_of, left))])

    async def _hear(self, messages: Sequence[Message]) -> list[Heard]:
        """Read messages in the consumer's thread: in the loop, another stream's statements would wait for it."""
        await self.ingestor.prepare(messages)
        return await self._in_thread(partial(self.ingestor.hear, messages))

    async def settle(
        self,
        connection: AsyncConnection[Any],
        messages: Sequence[Message],
        letters: Sequence[Letter],
        *,
        now: datetime,
        schema: str,
    ) -> None:
        """See `Place`."""
        moves = self._moves(_reached(messages))
        await positions.move(connection, self.streamed.group, moves, now=now, schema=schema)
        await bury(connection, self.streamed.group, letters, now=now, schema=schema)

    def settled(self, messages: Sequence[Message]) -> None:
        """See `Place`."""
        self._done.update(_reached(messages))

    def _moves(self, reached: Mapping[Partition, int]) -> list[Move]:
        return [
            Move(*each, self._done[each], position, max(self._ends.get(each, 0), position))
            for each, position in sorted(reached.items())
        ]

    async def _pass(self, ends: Mapping[Partition, int]) -> None:
        """Behind the last message there may be offsets without one: markers of transactions, or what was compacted."""
        ahead = {each: end for each, end in ends.items() if self._done.get(each, end) < end}
        if not ahead:
            return
        database, now = self.ingestor.database, self.ingestor.clock.now()
        async with database.transaction() as connection:
            moves = self._moves(ahead)
            await positions.move(connection, self.streamed.group, moves, now=now, schema=database.schema)
        self._done.update(ahead)

    def _commit(self, partitions: Sequence[Partition]) -> None:
        """Tell the brokers, for those who watch them; nothing depends on it."""
        offsets = [TopicPartition(*each, self._done[each]) for each in partitions if each in self._done]
        try:
            if self._consumer is not None and offsets:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _log.debug("ingest_not_told", error=error.args[0].name())

    # In the consumer's thread ---------------------------------------------------------------------------------------

    def _join(self) -> Consumer:
        given = {**_DEFAULTS, **options(self.settings), **_OURS, "group.id": self.streamed.group}
        try:
            consumer = Consumer({**given, "error_cb": self._complain}, logger=quiet)
        except KafkaException as error:
            raise refused(error, "kafka_options") from None
        consumer.subscribe(
            [self.streamed.topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        return consumer

    def _poll(self) -> Batch:
        assert self._consumer is not None
        try:
            return self._sorted(self._consumer, self._consumer.consume(self.chunk, POLL_S))
        except BaseException:
            self._broken = True
            raise

    def _sorted(self, consumer: Consumer, came: Sequence[ConsumedMessage]) -> Batch:
        messages: list[Message] = []
        ends: dict[Partition, int] = {}
        for each in came:
            self._sort(each, messages, ends)
        for topic, partition in set(map(_of, messages)):
            _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            self._ends[topic, partition] = max(high, 0)
        return Batch(messages, ends)

    def _sort(self, came: ConsumedMessage, messages: list[Message], ends: dict[Partition, int]) -> None:
        """What is not next in a partition that is owned now came before it was taken away, and comes again."""
        where, offset, error = _where(came), came.offset() or 0, came.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                self._complain(error)
            elif where in self._next:
                ends[where] = offset
        elif offset >= self._next.get(where, _NEVER):
            messages.append(Message(*where, offset, came.value(), _written_at(came)))
            self._next[where] = offset + 1

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        told = {(each.topic, each.partition): each.offset for each in consumer.committed(partitions, PATIENCE_S)}
        spans = {(each.topic, each.partition): consumer.get_watermark_offsets(each, PATIENCE_S) for each in partitions}
        starting = asyncio.run_coroutine_threadsafe(self._starts(told, spans), self._loop)
        starts = starting.result()
        self._forget()
        self._next.update(starts)
        self._done.update(starts)
        self._ends.update({each: high for each, (_, high) in spans.items()})
        given = [TopicPartition(*each, start) for each, start in starts.items()]
        consumer.assign(given)
        if self._paused:
            consumer.pause(given)
        _log.info("ingest_assigned", group=self.streamed.group, partitions=len(given))

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The chunk under way is finished first, so that whoever comes next begins behind it."""
        self._idle.wait(_RETURN_S)
        self._forget()
        consumer.unassign()

    def _forget(self) -> None:
        for each in (self._next, self._done, self._ends):
            each.clear()

    async def _starts(self, told: Mapping[Partition, int], spans: Mapping[Partition, Span]) -> dict[Partition, int]:
        """Where each partition is taken up, noted in Postgres."""
        database, now, group = self.ingestor.database, self.ingestor.clock.now(), self.streamed.group
        found = await positions.positions(database, group)
        ours = {(each.topic, each.partition): each.position for each in found}
        starts = {each: _start(ours.get(each), told[each], span, self.streamed) for each, span in spans.items()}
        new = [Position(*each, start, spans[each][1], now) for each, start in starts.items() if each not in ours]
        moves = [
            Move(*each, ours[each], start, spans[each][1])
            for each, start in starts.items()
            if ours.get(each, start) != start
        ]
        await positions.begin(database, group, new, now=now)
        async with database.transaction() as connection:
            await positions.move(connection, group, moves, now=now, schema=database.schema)
        return starts

    def _complain(self, error: KafkaError) -> None:
        """The same once in a while: librdkafka says it again and again."""
        at = time.monotonic()
        if error.fatal():
            self._broken = True
        if self._said != (error.code(), int(at) // _SAY_AGAIN_S):
            self._said = error.code(), int(at) // _SAY_AGAIN_S
            _log.warning("brokers_complain", group=self.streamed.group, error=error.name())


def _start(ours: int | None, told: int, span: Span, streamed: Streamed) -> int:
    """What is recorded here counts; else what the group told the brokers; else the beginning."""
    low, high = span
    start = ours if ours is not None else told if told >= 0 else low
    if start < low:
        _log.error("ingest_offsets_gone", group=streamed.group, topic=streamed.topic, missed=low - start)
        return low
    if start > high:
        _log.error("ingest_topic_began_anew", group=streamed.group, topic=streamed.topic, was=start, ends=high)
        return low
    return start


def _reached(messages: Sequence[Message]) -> dict[Partition, int]:
    return {_of(each): each.offset + 1 for each in messages}


def _of(message: Message) -> Partition:
    return message.topic, message.partition


def _where(message: ConsumedMessage) -> Partition:
    return message.topic() or "", message.partition() or 0


def _written_at(message: ConsumedMessage) -> datetime | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(milliseconds / 1000, UTC)
