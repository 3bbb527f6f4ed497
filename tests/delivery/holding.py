"""Bringing deliveries to where a test begins."""

from __future__ import annotations

from datetime import timedelta

from hark.catalogue import Channel
from hark.delivery.claim import Claimed, claim_due
from hark.delivery.recheck import Rechecked, recheck
from hark.delivery.settle import mark
from tests.world import World

LEASE = timedelta(minutes=1)


async def due(world: World, *names: str, reason: str = "mention") -> None:
    """One delivery for each of these students, due at once."""
    await world.know(*names)
    await world.publish(reason, to=names)
    await world.fan_out()


async def claim(
    world: World, *, worker: str = "w/1", limit: int = 100, channel: Channel = Channel.EMAIL
) -> list[Claimed]:
    """Claim what is due."""
    return await claim_due(world.database, channel, world.clock.now(), worker=worker, lease=LEASE, limit=limit)


async def hold(world: World, *, worker: str = "w/1") -> list[Rechecked]:
    """Claim what is due, and recheck it."""
    return await recheck(world.database, await claim(world, worker=worker))


async def hand_over(world: World, *, worker: str = "w/1") -> list[Rechecked]:
    """Bring what is due to the moment of its hand-over."""
    held = await hold(world, worker=worker)
    assert await mark(world.database, held, world.clock.now()) == {delivery.id for delivery in held}
    return held
