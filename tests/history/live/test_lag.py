"""What two looks at a stream come to; the brokers are the test's, so that what comes between the looks is known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from hark.config import Settings
from hark.history.live import brokers, lag
from hark.history.live.brokers import GroupSeen, Span
from hark.history.live.lag import LagReport
from tests.history.shopping import Shop

SETTINGS = replace(Settings(), kafka_brokers="nowhere:9092")
RECEIPTS = SETTINGS.ingest_receipts_topic


@dataclass(slots=True)
class Ends:
    """Brokers whose one partition of receipts ends, at each look, where the test says."""

    ends: list[int]
    looks: int = field(default=0)

    async def spans(self, topic: str) -> Mapping[int, Span]:
        """Where it begins and ends now."""
        if topic != RECEIPTS:
            return {}
        self.looks += 1
        return {0: Span(0, self.ends[self.looks - 1])}

    async def committed(self, _group: str, _topic: str, _partitions: Iterable[int]) -> Mapping[int, int]:
        """Postgres knows it."""
        return {}

    async def group(self, _group: str) -> GroupSeen:
        """Somebody is in it."""
        return GroupSeen("stable", 1)


async def looked(bought: Shop, monkeypatch: pytest.MonkeyPatch, *ends: int) -> LagReport:
    """Two looks at a partition that was taken up to offset 5 an hour ago."""

    @asynccontextmanager
    async def opened(_settings: Settings) -> AsyncIterator[Ends]:
        yield Ends(list(ends))

    monkeypatch.setattr(brokers, "open_brokers", opened)
    async with bought.database.connection() as connection:
        await connection.execute(
            "insert into hark.ingest_position (group_name, topic, partition, position, end_position, seen_at)"
            " values (%s, %s, 0, 5, 5, now() - interval '1 hour')",
            (SETTINGS.ingest_receipts_group, RECEIPTS),
        )
    return await lag.preflight(bought.database, SETTINGS, between=timedelta(0))


async def test_what_comes_between_the_looks_to_an_idle_partition_is_no_standstill(
    bought: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = await looked(bought, monkeypatch, 5, 6)
    assert (report.groups[0].lag, report.warnings, report.faults) == (1, [], [])


async def test_what_is_behind_at_both_looks_stands_still(bought: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await looked(bought, monkeypatch, 6, 6)
    (warning,) = report.warnings
    assert f"{SETTINGS.ingest_receipts_group}: 1 partitions with lag stand still since " in warning
    assert report.is_good
