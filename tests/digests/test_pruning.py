"""Old digests go; what they covered stays covered, and nothing is told twice for it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from hark.digests import coverage
from hark.digests.pruning import Pruned, prune
from tests.digests.forum import (
    BY_TIME_SQL,
    MORNING,
    digests,
    front_page,
    hand_over,
    keys_sent,
    morning,
    open_forum,
    post,
)
from tests.world import World

DAY = timedelta(days=1)


async def wrong(world: World) -> set[str]:
    return {fault.fault async for fault in coverage.faults(world.database, world.clock.now())}


async def lived_through(world: World, days: int, outcome: str = "accepted") -> datetime:
    """A post and a digest a day; the moment after the last."""
    for day in range(1, days + 1):
        await post(world, f"p{day}")
        await morning(world, MORNING + day * DAY)
        await hand_over(world, outcome)
    return world.clock.now()


async def periods(world: World) -> list[int]:
    return [row.period.day for row in await world.rows("select period from hark.digest order by period")]


async def test_pruning_is_a_look_until_it_is_applied(world: World) -> None:
    await open_forum(world)
    await world.know("ada")
    await world.plan()
    now = await lived_through(world, 6)
    assert await prune(world.database, now, apply=False) == Pruned(old=5, needless=4)
    assert len(await periods(world)) == 6
    assert await prune(world.database, now, apply=True) == Pruned(old=5, needless=4)
    assert await periods(world) == [7, 8]


@pytest.mark.parametrize("chunk", [1, 2, 5000])
async def test_what_old_digests_covered_stays_covered_when_they_are_pruned(world: World, chunk: int) -> None:
    await open_forum(world)
    await world.know("ada", "bob")
    await world.plan()
    await lived_through(world, 4)
    kept_since = world.clock.now()
    world.clock.advance(DAY)
    await prune(world.database, kept_since, apply=True, chunk=chunk)
    await post(world, "new")
    await morning(world, MORNING + 6 * DAY)
    await hand_over(world)
    assert await wrong(world) == set()
    assert (await keys_sent(world, "ada"))[-2:] == ["p4", "new"]
    await world.execute("delete from hark.digest_kept")
    assert await wrong(world) == {"no_beginning"}


async def test_pruning_leaves_what_a_canceled_newest_one_goes_back_to(world: World) -> None:
    await open_forum(world)
    await world.know("ada")
    await world.plan()
    await lived_through(world, 3)
    await post(world, "lost")
    await morning(world, MORNING + 4 * DAY)
    await hand_over(world, "canceled")
    await prune(world.database, world.clock.now() + DAY, apply=True)
    await morning(world, MORNING + 5 * DAY)
    await hand_over(world)
    assert (await keys_sent(world, "ada"))[-1] == "lost"
    assert await wrong(world) == set()


async def test_pruning_leaves_what_lies_within_the_overlap_of_a_feed(world: World) -> None:
    await open_forum(world, front_page(sql=BY_TIME_SQL, overlap=3 * DAY))
    await world.know("ada")
    await world.plan()
    now = await lived_through(world, 8)
    await prune(world.database, now + DAY, apply=True)
    assert await periods(world) == [6, 7, 8, 9, 10]
    await post(world, "new")
    await morning(world, MORNING + 9 * DAY)
    await hand_over(world)
    assert (await digests(world))[-1] == ("Wed", ["new"])


async def test_pruning_leaves_what_still_waits(world: World) -> None:
    await open_forum(world)
    await world.know("ada")
    await world.plan()
    await lived_through(world, 2, "deferred")
    await prune(world.database, world.clock.now() + 30 * DAY, apply=True)
    assert len(await periods(world)) == 1
