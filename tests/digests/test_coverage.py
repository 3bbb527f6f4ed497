"""The proof finds what is wrong, and a restored dump can begin anew."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark.digests import coverage
from hark.digests.coverage import CoverageFault
from hark.digests.shown import listed, next_digests
from tests.digests.forum import MORNING, TUESDAY, digests, front_page, hand_over, morning, open_forum, post
from tests.world import NEWS, World, student

DAY = timedelta(days=1)


async def four_days(world: World) -> None:
    await open_forum(world)
    await world.know("ada")
    await world.plan()
    for day in range(1, 5):
        await post(world, f"p{day}")
        await morning(world, MORNING + day * DAY)
        await hand_over(world, "canceled" if day == 3 else "accepted")


async def faults(world: World) -> list[CoverageFault]:
    return [fault async for fault in coverage.faults(world.database, world.clock.now())]


async def test_a_life_without_faults_is_proven(world: World) -> None:
    await four_days(world)
    assert await faults(world) == []
    counted = await coverage.compared(world.database)
    assert (counted.digests, counted.sent, counted.canceled, counted.keys) == (4, 3, 1, 4)


FORGERIES = {
    "no_beginning": "update hark.digest set base = null where period = '2026-03-03'",
    "overlap": "update hark.digest set since = '1:1:' where period = '2026-03-04'",
    "gap": "update hark.digest set since = '9999999:9999999:' where period = '2026-03-06'",
    "told_twice": "update hark.digest set keys = keys || 'p1'::text where period = '2026-03-06'",
    "no_delivery": "update hark.digest set delivery_id = 4711 where period = '2026-03-05'",
}


@pytest.mark.parametrize("wrong", FORGERIES)
async def test_each_kind_of_fault_is_found(world: World, wrong: str) -> None:
    await four_days(world)
    await world.execute(FORGERIES[wrong])
    (fault,) = await faults(world)
    assert (fault.recipient_id, fault.reason, fault.fault) == ("ada", "front_page", wrong)
    assert fault.sentence().startswith(f"ada's front_page of {fault.period} ")


async def test_a_digest_that_stays_open_is_a_fault(world: World) -> None:
    await four_days(world)
    await post(world, "p5")
    await morning(world, MORNING + 5 * DAY)
    assert await faults(world) == []
    world.clock.advance(DAY + timedelta(hours=1))
    assert [fault.fault for fault in await faults(world)] == ["still_open"]


async def test_a_digest_canceled_after_the_next_was_sent_leaves_a_gap_that_is_found(world: World) -> None:
    """An answer that came a day late: nobody could know, but it is not passed over in silence."""
    await four_days(world)
    await world.execute("alter table hark.delivery disable trigger delivery_moved")
    await world.execute("update hark.delivery set state = 'CANCELED', outcome = 'refused', why = 'late' where id = 2")
    assert [fault.fault for fault in await faults(world)] == ["gap"]


async def test_after_a_rebase_everyone_begins_anew(world: World) -> None:
    await four_days(world)
    await world.execute("insert into hark.moment values (%s, '999999:999999:')", world.clock.now() + timedelta(hours=1))
    assert (await coverage.standing(world.database)).gone_back
    await post(world, "lost_between")
    world.clock.advance(timedelta(hours=2))
    await coverage.rebase(world.database, world.clock.now())
    assert not (await coverage.standing(world.database)).gone_back
    await world.know("newcomer")
    await post(world, "after")
    await morning(world, MORNING + 5 * DAY)
    await hand_over(world)
    assert (await digests(world))[-2:] == [("Sat", ["after"]), ("Sat", ["after"])]
    bases = await world.rows("select base from hark.digest where period = '2026-03-07' order by recipient_id")
    assert [row.base for row in bases] == ["rebased", "first"]
    assert await faults(world) == []


async def test_the_next_one_is_foretold(world: World) -> None:
    await open_forum(world, front_page(), front_page(name="second"), NEWS)
    await world.know("ada", student("bob", confirmed=False))
    await world.plan()
    first, second = await next_digests(world.database, "ada", world.clock.now()) or []
    assert (first.reason, second.reason) == ("front_page", "second")
    assert (first.comes, first.next_due, first.base) == (True, TUESDAY, "first")
    assert first.since_at == TUESDAY - 7 * DAY - timedelta(minutes=10)
    (bob, _) = await next_digests(world.database, "bob", world.clock.now()) or []
    assert (bob.comes, bob.reach) == (False, "unconfirmed")
    assert await next_digests(world.database, "nobody", world.clock.now()) is None
    await post(world, "a")
    await morning(world, TUESDAY)
    held, _ = await next_digests(world.database, "ada", world.clock.now()) or []
    assert held.open_delivery == (await world.delivery()).id
    await hand_over(world)
    after, _ = await next_digests(world.database, "ada", world.clock.now()) or []
    assert (after.since_at, after.base, after.next_due) == (TUESDAY, None, TUESDAY + DAY)


async def test_digests_are_listed_newest_first(world: World) -> None:
    await four_days(world)
    lines = await listed(world.database, recipient="ada")
    assert [line.state for line in lines] == ["SENT", "CANCELED", "SENT", "SENT"]
    assert [(line.total, line.listed) for line in lines] == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert [line.period.day for line in await listed(world.database, states=["CANCELED"])] == [5]
    assert await listed(world.database, reason="other") == []
