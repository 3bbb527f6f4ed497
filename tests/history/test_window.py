"""The window rolls on: what leaves it no longer counts, and moves its user on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from hark.history import window
from hark.history.answers import purchased
from hark.history.window import Rolled, roll, start_of
from tests.history.shopping import NOW, Shop, line

START = datetime(2025, 11, 27, tzinfo=UTC)
DAY = timedelta(days=1)


async def rolled(shop: Shop, now: datetime = NOW, limit: int = 100) -> Rolled:
    return await roll(shop.database, now=now, limit=limit)


@pytest.mark.parametrize("hour", range(-12, 13, 6))
def test_it_begins_with_a_day_by_utc(hour: int) -> None:
    zone = timezone(timedelta(hours=hour))
    assert start_of(datetime(2026, 11, 27, 23, 59, tzinfo=UTC).astimezone(zone)) == START


async def test_what_left_no_longer_counts_and_is_a_change(shop: Shop) -> None:
    await shop.record(line("1", at=START - DAY), line("2", at=START), line("3", user="bob"))
    done = await rolled(shop)
    assert (done.starts_at, done.users, done.facts, done.more) == (START, 1, 1, False)
    assert [await shop.version(user) for user in ("ann", "bob")] == [2, 1]
    assert [each.key for each in await purchased(shop.database, ["ann"])] == ["receipt:2:1"]
    rows = await shop.rows("select key, moved_at from hark.fact where user_id = 'ann' order by key")
    assert [tuple(row) for row in rows] == [("receipt:1:1", 2), ("receipt:2:1", 1)]


async def test_once_a_day_is_enough(shop: Shop) -> None:
    await shop.record(line("1", at=START - DAY))
    await rolled(shop)
    assert (await rolled(shop)).users == 0
    await shop.record(line("2", at=START))
    assert (await rolled(shop, NOW + DAY)).facts == 1


async def test_it_goes_on_where_it_was_stopped(shop: Shop) -> None:
    await shop.record(*(line(str(n), user=f"u{n}", at=START - n * DAY) for n in range(1, 6)))
    done = [await rolled(shop, limit=2) for _ in range(3)]
    assert [(each.facts, each.more) for each in done] == [(2, True), (2, True), (1, False)]


async def test_it_never_moves_back(shop: Shop) -> None:
    await rolled(shop)
    assert (await rolled(shop, NOW - 30 * DAY)).starts_at == START
    assert await window.starts_at(shop.database) == START


async def test_what_comes_late_and_old_is_left_out_from_the_beginning(shop: Shop) -> None:
    await rolled(shop)
    await shop.record(line("1", at=START - DAY), line("2", at=START))
    assert [each.key for each in await purchased(shop.database, ["ann"])] == ["receipt:2:1"]
    await rolled(shop)
    assert (await rolled(shop)).users == 0
