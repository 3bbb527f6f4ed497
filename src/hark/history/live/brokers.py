"""What brokers are asked beside messages: where partitions begin and end, and how far groups say that they are.

Needs the extra `graph`, as kafka.py does: nobody else imports confluent_kafka.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from hark.config import Settings
from hark.errors import BadInput, HarkError, Unreachable

T = TypeVar("T")

_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]

PATIENCE_S = 10.0
"""How long a broker may take to answer."""

_COORDINATOR_BEGINS = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
_AGAIN_S = 0.3
"""A broker that has just begun does not know its groups yet; it is asked again."""

_NO_SUCH = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)

quiet = logging.getLogger("hark.kafka")
"""librdkafka's own lines: what matters of them is said by Hark."""
quiet.addHandler(logging.NullHandler())
quiet.propagate = False


class NotReadable(HarkError):
    """Brokers answer, and not what was asked: no such topic, or it is not allowed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where one partition begins and ends: the first offset that there is, and the one behind the last."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A group as the brokers know it: its state (`stable`, `empty`, `dead`, …), and how many members it has."""

    state: str
    members: int


def options(settings: Settings) -> dict[str, Any]:
    """How brokers are reached.

    Raises:
        BadInput: no brokers are set.
    """
    if settings.kafka_brokers is None:
        raise BadInput("no brokers are set: HARK_KAFKA_BROKERS=HOST:9092; or name a file of JSON lines")
    return {"bootstrap.servers": settings.kafka_brokers, "client.id": "hark", **dict(settings.kafka_options)}


def refused(error: KafkaException | KafkaError, doing: str) -> HarkError:
    """A broker's error as one of Hark's."""
    said = error.args[0] if isinstance(error, KafkaException) else error
    name = said.name() if isinstance(said, KafkaError) else type(error).__name__
    if isinstance(said, KafkaError) and said.code() == KafkaError._INVALID_ARG:
        return BadInput(f"kafka_options: {said.str()}")
    if isinstance(said, KafkaError) and not said.retriable() and said.code() > 0:
        return NotReadable(f"{doing}: the brokers say {name}")
    return Unreachable(f"{doing}: the brokers do not answer ({name})")


@dataclass(frozen=True, slots=True)
class Brokers:
    """Asks brokers."""

    client: AdminClient
    options: Mapping[str, Any]

    async def spans(self, topic: str) -> Mapping[int, Span]:
        """Where each partition of a topic begins and ends.

        Raises:
            Unreachable: no broker answers.
            NotReadable: there is no such topic, or it may not be read.
        """
        partitions = await self._partitions(topic)
        begins = await self._offsets(topic, partitions, _EARLIEST)
        ends = await self._offsets(topic, partitions, _LATEST)
        return {each: Span(begins[each], ends[each]) for each in partitions}

    async def committed(self, group: str, topic: str, partitions: Iterable[int]) -> Mapping[int, int]:
        """How far a group has told the brokers that it is; a partition of which it said nothing is not there."""
        wanted = [TopicPartition(topic, each) for each in partitions]
        if not wanted:
            return {}
        told = await _once_begun(lambda: self._told(group, wanted))
        return {each.partition: each.offset for each in told if each.offset >= 0}

    async def group(self, group: str) -> GroupSeen:
        """How a group is; one that nobody was ever in is `dead`."""
        try:
            return await _once_begun(lambda: self._group(group))
        except NotReadable as error:
            if "GROUP_ID_NOT_FOUND" in str(error):
                return GroupSeen("dead", 0)
            raise

    async def _group(self, group: str) -> GroupSeen:
        futures = self.client.describe_consumer_groups([group], request_timeout=PATIENCE_S)
        seen = await _answer(futures[group], f"how group {group} is")
        return GroupSeen(seen.state.name.lower(), len(seen.members))

    async def _told(self, group: str, wanted: list[TopicPartition]) -> list[TopicPartition]:
        try:
            return await asyncio.to_thread(self._committed, group, wanted)
        except KafkaException as error:
            raise refused(error, f"where group {group} is") from error

    def _committed(self, group: str, wanted: list[TopicPartition]) -> list[TopicPartition]:
        """Asked by a consumer that joins nothing, not by `list_consumer_group_offsets`.

        That ends the process where a coordinator has just moved or begun: https://github.com/confluentinc/librdkafka/issues/5040
        """
        consumer = Consumer({**self.options, "group.id": group, "enable.auto.commit": False}, logger=quiet)
        try:
            told: list[TopicPartition] = consumer.committed(wanted, PATIENCE_S)
        finally:
            consumer.close()
        failed = next((each.error for each in told if each.error is not None), None)
        if failed is not None:
            raise KafkaException(failed)
        return told

    async def _partitions(self, topic: str) -> list[int]:
        try:
            listed = await asyncio.to_thread(self.client.list_topics, topic, timeout=PATIENCE_S)
        except KafkaException as error:
            raise refused(error, f"which partitions {topic} has") from error
        seen = listed.topics[topic]
        if seen.error is not None and seen.error.code() in _NO_SUCH:
            raise NotReadable(f"there is no topic {topic}; make it, or set another one")
        if seen.error is not None:
            raise refused(seen.error, f"which partitions {topic} has")
        return sorted(seen.partitions)

    async def _offsets(self, topic: str, partitions: Iterable[int], which: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic, each): which for each in partitions}
        futures = self.client.list_offsets(asked, request_timeout=PATIENCE_S)
        return {
            each.partition: (await _answer(future, f"where {topic} ends")).offset for each, future in futures.items()
        }


@asynccontextmanager
async def open_brokers(settings: Settings) -> AsyncIterator[Brokers]:
    """Ask brokers, for the time of a block.

    Raises:
        BadInput: none are set, or their options are wrong.
    """
    try:
        given = {**options(settings), "log_level": 0}
        client = AdminClient(given, logger=quiet)
    except KafkaException as error:
        raise refused(error, "kafka_options") from None
    yield Brokers(client, given)


async def _once_begun(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while a broker has only just begun, or a group is moving to another one."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await ask()
        except HarkError as error:
            cause = error.__cause__
            begins = isinstance(cause, KafkaException) and cause.args[0].code() in _COORDINATOR_BEGINS
            if not begins or time.monotonic() > until:
                raise
        await asyncio.sleep(_AGAIN_S)


async def _answer(future: Future[T], doing: str) -> T:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), PATIENCE_S * 2)
    except KafkaException as error:
        raise refused(error, doing) from error
    except TimeoutError:
        raise Unreachable(f"{doing}: the brokers do not answer in time") from None
