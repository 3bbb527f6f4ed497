"""The clock that follows the database's: set again by a good reading, and by a bad one only where it is clearly off."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from hark import clock
from hark.clock import DatabaseClock
from hark.postgres.database import Database

DATABASE: Database = None  # type: ignore[assignment]  # what is read of it, the tests say
HOUR, MS = timedelta(hours=1), timedelta(milliseconds=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def followed(monkeypatch: pytest.MonkeyPatch, *, off: timedelta, within: float, after: float = 1.0) -> timedelta:
    """By how much a clock, known within a millisecond, is moved by a reading that is so far off, and known so well."""
    begun = time.monotonic()
    kept = DatabaseClock(NOON, begun, 0.001)
    before = kept.now() - timedelta(seconds=time.monotonic() - begun)

    async def read(_database: Database) -> tuple[datetime, float, float]:
        return NOON + timedelta(seconds=after) + off, begun + after, within

    monkeypatch.setattr(clock, "_read", read)
    await kept.follow(DATABASE)
    return kept.now() - timedelta(seconds=time.monotonic() - begun) - before


@pytest.mark.parametrize(
    ("off", "within", "moved"),
    [(3 * MS, 0.0005, True), (40 * MS, 0.05, False), (HOUR, 0.05, True), (-HOUR, 0.05, True), (-40 * MS, 0.05, False)],
    ids=["a good reading", "a bad one", "the database went on an hour", "or back", "a bad one the other way"],
)
async def test_a_reading_is_taken_if_it_says_more(
    monkeypatch: pytest.MonkeyPatch, off: timedelta, within: float, moved: bool
) -> None:
    by = await followed(monkeypatch, off=off, within=within)
    assert abs(by - (off if moved else timedelta(0))) < MS


async def test_a_clock_that_was_not_set_for_long_is_set_by_any_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(await followed(monkeypatch, off=40 * MS, within=0.05, after=3600.0) - 40 * MS) < MS
