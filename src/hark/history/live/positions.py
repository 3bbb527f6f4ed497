"""How far each stream was taken: the next offset of each partition that was not handled yet.

It is moved in the transaction that records what lies below it, by whoever finds it where it was left: so a message is
recorded, left out by the gate or buried exactly once for each time that the position passes it, whoever else believes
to own its partition. Brokers are told afterwards, for those who watch them; they are asked only where nothing is
known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.config import Settings
from hark.errors import HarkError
from hark.postgres.database import Database
from hark.postgres.queries import SCHEMA, Queries

_SQL = Queries.beside(__file__)


class Displaced(HarkError):
    """Somebody else has taken these messages, or moved the stream: nothing was written; begin where it stands now."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of one partition, as a broker said it: offsets below it are taken."""

    group: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far one partition was taken, and where its end was when that was looked at."""

    topic: str
    partition: int
    position: int
    end_position: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """Of one partition: from where to where. `end`: its end as it was last seen."""

    topic: str
    partition: int
    expected: int
    position: int
    end: int


@dataclass(frozen=True, slots=True)
class _Reached:
    group_name: str
    topic: str
    partition: int
    position: int


async def ends_now(database: Database, settings: Settings) -> tuple[End, ...]:
    """Where all streams end at this moment, as the brokers say; none, if no brokers are set.

    Raises:
        Unreachable: no broker answers.
    """
    if settings.kafka_brokers is None:
        return ()
    from hark.history.live.brokers import open_brokers

    async with open_brokers(settings) as brokers:
        spans = [(stream, await brokers.spans(stream.topic)) for stream in streams(settings)]
    return tuple(
        End(stream.group, stream.topic, partition, span.end)
        for stream, found in spans
        for partition, span in sorted(found.items())
    )


async def passed(database: Database, ends: Sequence[End]) -> bool:
    """Whether all that lay before these ends is recorded, left out by the gate, or a dead letter."""
    given = {"groups": sorted({end.group for end in ends})}
    found = await database.fetch(_SQL["reached"], _Reached, given)
    reached = {(row.group_name, row.topic, row.partition): row.position for row in found}
    return all(reached.get((end.group, end.topic, end.partition), 0) >= end.offset for end in ends)


@dataclass(frozen=True, slots=True)
class Streamed:
    """One stream: a topic, and the group that reads it."""

    group: str
    topic: str


def streams(settings: Settings) -> tuple[Streamed, Streamed]:
    """The streams of Kafka, as the settings name them: receipts, then factoids."""
    return (
        Streamed(settings.ingest_receipts_group, settings.ingest_receipts_topic),
        Streamed(settings.ingest_factoids_group, settings.ingest_factoids_topic),
    )


async def positions(database: Database, group: str) -> list[Position]:
    """How far a group's partitions were taken."""
    return await database.fetch(_SQL["of_group"], Position, {"group": group})


async def begin(database: Database, group: str, starts: Sequence[Position], *, now: datetime) -> None:
    """Note where partitions begin of which nothing is known yet; the others stay where they are."""
    given = {
        "group": group,
        "topics": [each.topic for each in starts],
        "partitions": [each.partition for each in starts],
        "positions": [each.position for each in starts],
        "ends": [each.end_position for each in starts],
        "now": now,
    }
    await database.execute(_SQL["begin"], given)


async def move(
    connection: AsyncConnection[Any], group: str, moves: Sequence[Move], *, now: datetime, schema: str = SCHEMA
) -> None:
    """Move positions on, as part of the connection's transaction.

    Raises:
        Displaced: one of them is not where it was left; the transaction is to be rolled back.
    """
    given = {
        "group": group,
        "topics": [each.topic for each in moves],
        "partitions": [each.partition for each in moves],
        "expected": [each.expected for each in moves],
        "positions": [each.position for each in moves],
        "ends": [each.end for each in moves],
        "now": now,
    }
    moved = await connection.execute(_SQL["move"].text(schema), given)
    if moved.rowcount != len(moves):
        raise Displaced(f"{group}: somebody else moved {len(moves) - moved.rowcount} of {len(moves)} partitions")
