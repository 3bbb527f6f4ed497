"""What is due goes to one worker, leased and numbered; nothing else is touched."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import psycopg

from hark.catalogue import Channel
from hark.delivery.claim import next_due
from tests.delivery.holding import LEASE, claim, due
from tests.world import COOLDOWN, MONDAY_NOON, World

SECOND = timedelta(seconds=1)


async def test_what_is_due_is_claimed_with_a_lease_and_a_number(world: World) -> None:
    await due(world, "bob")
    (claimed,) = await claim(world, worker="web-2/411")
    assert (claimed.recipient_id, claimed.attempt, claimed.at_least_once) == ("bob", 1, False)
    row = await world.delivery()
    assert (row.state, row.attempt, row.worker, row.lease_until) == ("SENDING", 1, "web-2/411", MONDAY_NOON + LEASE)
    (line,) = await world.history()
    assert (line.to_state, line.at, line.worker) == ("SENDING", MONDAY_NOON, "web-2/411")


async def test_what_is_not_due_yet_is_left_alone_until_it_is(world: World) -> None:
    await due(world, "bob", reason="comment")
    world.clock.advance(COOLDOWN - SECOND)
    assert await claim(world) == []
    world.clock.advance(SECOND)
    assert len(await claim(world)) == 1


async def test_nobody_else_gets_what_is_claimed(world: World) -> None:
    await due(world, "bob")
    assert len(await claim(world)) == 1
    assert await claim(world, worker="w/2") == []


async def test_the_longest_due_come_first_up_to_the_limit(world: World) -> None:
    names = [f"u{n}" for n in range(6)]
    await world.know(*names)
    for late, name in enumerate(reversed(names)):
        await world.publish("mention", to=[name], at=MONDAY_NOON - late * SECOND)
    await world.fan_out()
    assert {claimed.recipient_id for claimed in await claim(world, limit=2)} == {"u0", "u1"}
    assert {claimed.recipient_id for claimed in await claim(world, limit=3)} == {"u2", "u3", "u4"}


async def test_each_channel_has_its_own_claims(world: World) -> None:
    await due(world, "bob")
    assert await claim(world, channel=Channel.PUSH) == []
    assert len(await claim(world, channel=Channel.EMAIL)) == 1


async def test_what_another_worker_has_locked_is_passed_over_not_waited_for(world: World) -> None:
    await due(world, "bob", "eve")
    async with await psycopg.AsyncConnection.connect(world.dsn) as other:
        await other.execute("select from hark.delivery where recipient_id = 'bob' for update")
        assert [claimed.recipient_id for claimed in await claim(world)] == ["eve"]
    assert [claimed.recipient_id for claimed in await claim(world)] == ["bob"]


async def test_eight_workers_claim_each_delivery_once(world: World) -> None:
    await due(world, *[f"u{n}" for n in range(100)])

    async def work(number: int) -> list[int]:
        mine: list[int] = []
        while claimed := await claim(world, worker=f"w/{number}", limit=7):
            mine += [each.id for each in claimed]
        return mine

    shares = await asyncio.gather(*[work(number) for number in range(8)])
    assert Counter(each for share in shares for each in share) == Counter(row.id for row in await world.deliveries())
    assert {row.attempt for row in await world.deliveries()} == {1}


async def test_the_next_due_moment_is_the_earliest_that_waits(world: World) -> None:
    assert await next_due(world.database, Channel.EMAIL) is None
    await due(world, "bob", "eve", reason="comment")
    await due(world, "kim", reason="news")
    assert await next_due(world.database, Channel.EMAIL) == MONDAY_NOON + COOLDOWN
    world.clock.advance(COOLDOWN)
    await claim(world)
    assert await next_due(world.database, Channel.EMAIL) == MONDAY_NOON + timedelta(hours=20)
    assert await next_due(world.database, Channel.PUSH) is None
