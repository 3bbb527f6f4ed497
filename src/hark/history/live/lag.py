"""Lag: how far each group is behind its topic, and whether that is well.

Whether what is loaded is right does not rest on it: facts have versions, so what a group has not come to yet may come
before, while or after a load, and once more. It says how fresh the facts are, and for how long a load will have to
wait.

What is handled is what Postgres says (`ingest_position`); where it says nothing, what the group told the brokers. Two
looks, a few seconds apart: a lag grows if it is larger at the second one, and larger than what came in between, so
that a group that is as near as can be is not accused. It stands still if its position has not moved for a minute, and
both looks found it behind: what came just now to a partition that was idle for an hour is no standstill.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hark.config import Settings
from hark.errors import BadInput, HarkError, Unreachable
from hark.history.live import switch
from hark.history.live.positions import Streamed, streams
from hark.history.live.switch import Switched
from hark.postgres.database import Database
from hark.postgres.queries import Queries

if TYPE_CHECKING:
    from hark.history.live.brokers import Brokers, Span

_SQL = Queries.beside(__file__)

BETWEEN = timedelta(seconds=3)
"""Between the two looks."""
_STANDS_STILL = timedelta(minutes=1)
_AT_WORK = frozenset(("stable", "preparing_rebalancing", "completing_rebalancing", "assigning", "reconciling"))


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition.

    Attributes:
        stands: whether it was behind at the first look, too, at the same position.
        moved_at: when its position last moved; None: it is not known here yet.
    """

    partition: int
    position: int
    end: int
    grows: bool
    stands: bool
    moved_at: datetime | None

    @property
    def lag(self) -> int:
        """How many offsets lie before its end."""
        return max(self.end - self.position, 0)


@dataclass(frozen=True, slots=True)
class GroupLag:
    """One group and its topic. `state`: as the brokers call it; empty: unknown, `faults` says why."""

    group: str
    topic: str
    state: str = ""
    members: int = 0
    partitions: Sequence[PartitionLag] = ()
    faults: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def lag(self) -> int:
        """Of all its partitions."""
        return sum(each.lag for each in self.partitions)


@dataclass(frozen=True, slots=True)
class LagReport:
    """What a look at all groups found.

    Attributes:
        configured: whether brokers are set; if not, there is nothing to look at, and that is well.
        faults: what must stop a load: a lag that cannot be read, a group that nobody is in, also if it is not behind.
        warnings: what an operator should know: a lag that grows, or stands still; all of it paused.
        unreachable: whether no broker answers.
    """

    configured: bool
    groups: Sequence[GroupLag] = ()
    faults: Sequence[str] = ()
    warnings: Sequence[str] = ()
    unreachable: bool = False

    @property
    def is_good(self) -> bool:
        """Whether a load may begin."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Kept:
    group_name: str
    topic: str
    partition: int
    position: int
    end_position: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one stream: by partition, where it is and where that ends."""

    at: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    moved_at: Mapping[int, datetime] = field(default_factory=dict)


async def preflight(database: Database, settings: Settings, *, between: timedelta = BETWEEN) -> LagReport:
    """Look at all groups, twice.

    Args:
        between: how long to wait for the second look.

    Returns:
        What was found; also that it cannot be read, which is a fault and no exception.

    Raises:
        BadInput: the driver is not installed, or the brokers' options are wrong.
    """
    if settings.kafka_brokers is None:
        return LagReport(configured=False)
    try:
        from hark.history.live.brokers import open_brokers
    except ImportError:
        raise BadInput("Kafka needs the extra graph: pip install 'hark[graph]'") from None

    paused, now = await switch.look(database), await database.now()
    async with open_brokers(settings) as brokers:
        seen = [_Looking(database, brokers, each) for each in streams(settings)]
        await asyncio.gather(*(each.look() for each in seen))
        if any(not each.fault for each in seen):
            await asyncio.sleep(between.total_seconds())
        groups = await asyncio.gather(*(each.judged(now + between, paused) for each in seen))
    return LagReport(
        configured=True,
        groups=groups,
        faults=[fault for each in groups for fault in each.faults],
        warnings=[*_said_of(paused), *(warning for each in groups for warning in each.warnings)],
        unreachable=any(each.unreachable for each in seen),
    )


@dataclass(slots=True)
class _Looking:
    """One stream, looked at twice; the first fault ends it."""

    database: Database
    brokers: Brokers
    streamed: Streamed
    fault: str = ""
    unreachable: bool = False
    first: _Look = field(default_factory=_Look)

    async def look(self) -> None:
        """The first time."""
        try:
            self.first = await self._look()
        except HarkError as error:
            self._failed(error)

    async def judged(self, now: datetime, paused: Switched) -> GroupLag:
        """The second time, and what to think of both."""
        group, topic = self.streamed.group, self.streamed.topic
        if not self.fault:
            try:
                second, seen = await self._look(), await self.brokers.group(group)
                partitions = _partitions(self.first, second)
                faults, warnings = _judge(self.streamed, seen.state, partitions, now, paused)
                return GroupLag(group, topic, seen.state, seen.members, partitions, faults, warnings)
            except HarkError as error:
                self._failed(error)
        return GroupLag(group, topic, faults=(f"{group}: its lag cannot be read: {self.fault}",))

    def _failed(self, error: HarkError) -> None:
        self.fault, self.unreachable = str(error), isinstance(error, Unreachable)

    async def _look(self) -> _Look:
        group, topic = self.streamed.group, self.streamed.topic
        spans = await self.brokers.spans(topic)
        rows = await self.database.fetch(_SQL["kept"], _Kept, {"groups": [group]})
        kept = {row.partition: row for row in rows if row.topic == topic}
        told = await self.brokers.committed(group, topic, sorted(spans.keys() - kept.keys()))
        return _Look(
            {each: (_position(each, kept, told, span), span.end) for each, span in spans.items()},
            {each: row.seen_at for each, row in kept.items()},
        )


def _position(partition: int, kept: Mapping[int, _Kept], told: Mapping[int, int], span: Span) -> int:
    """What was removed from a topic cannot be come to any more."""
    known = kept[partition].position if partition in kept else told.get(partition, span.begin)
    return max(known, span.begin)


def _partitions(first: _Look, second: _Look) -> list[PartitionLag]:
    found = []
    for each, (position, end) in sorted(second.at.items()):
        before = first.at.get(each)
        grows, stands = _grows(before, (position, end)), _stands(before, position)
        found.append(PartitionLag(each, position, end, grows, stands, second.moved_at.get(each)))
    return found


def _grows(first: tuple[int, int] | None, second: tuple[int, int]) -> bool:
    if first is None:
        return False
    lag_then, lag_now, came = first[1] - first[0], second[1] - second[0], second[1] - first[1]
    return lag_now > max(lag_then, came, 0)


def _stands(first: tuple[int, int] | None, position: int) -> bool:
    return first is not None and first[0] == position < first[1]


def _judge(
    streamed: Streamed, state: str, partitions: Sequence[PartitionLag], now: datetime, paused: Switched
) -> tuple[list[str], list[str]]:
    """Faults, and warnings."""
    group, lag = streamed.group, sum(each.lag for each in partitions)
    if state not in _AT_WORK:
        behind = f"{group} is {lag:,} behind, and" if lag else f"{group} is not behind, but"
        return [f"{behind} nobody is in it ({state}): run hark ingest"], []
    grows = [str(each.partition) for each in partitions if each.grows]
    still = [each for each in partitions if each.stands and each.moved_at and now - each.moved_at > _STANDS_STILL]
    warnings = [f"{group}: the lag of partition {', '.join(grows)} grows; it is {lag:,} in all"] if grows else []
    if still and not paused.is_paused:
        since = min(each.moved_at for each in still if each.moved_at)
        warnings.append(f"{group}: {len(still)} partitions with lag stand still since {since:%H:%M:%S} UTC")
    return [], warnings


def _said_of(paused: Switched) -> list[str]:
    if paused.paused_at is None:
        return []
    return [f"paused by {paused.paused_by} since {paused.paused_at:%Y-%m-%d %H:%M:%S} UTC: hark ingest resume"]
