"""The audit log: a change and its line stand or fall together."""

from __future__ import annotations

import pytest

from hark import audience
from hark.access import audit
from hark.access.audit import Act
from hark.audience import Subscription
from tests.world import World


async def subscribed(world: World, *, fails: bool = False) -> None:
    async with world.database.as_one() as one:
        await audience.subscribe(one, [Subscription("bob", "post:1")], world.clock.now())
        await audit.record(one, world.clock.now(), "shop", Act.SUBSCRIBE, "recipient:bob", {"entity": "post:1"})
        if fails:
            raise RuntimeError


async def test_a_change_has_its_line(world: World) -> None:
    await subscribed(world)
    (line,) = await audit.listed(world.database)
    assert (line.who, line.what, line.target, line.detail) == (
        "shop",
        "subscribe",
        "recipient:bob",
        {"entity": "post:1"},
    )
    assert line.at == world.clock.now()


async def test_a_change_that_is_taken_back_has_none(world: World) -> None:
    with pytest.raises(RuntimeError):
        await subscribed(world, fails=True)
    assert await audit.listed(world.database) == []
    assert await world.rows("select * from hark.subscription") == []


async def test_the_log_comes_in_pages_and_by_who_and_what(world: World) -> None:
    for number in range(5):
        who, what = ("shop", Act.SUBSCRIBE) if number % 2 else ("ops", Act.PUBLISH)
        await audit.record(world.database, world.clock.now(), who, what, f"n:{number}")
    page = await audit.listed(world.database, limit=2)
    rest = await audit.listed(world.database, before=page[-1].id)
    assert [line.target for line in [*page, *rest]] == ["n:4", "n:3", "n:2", "n:1", "n:0"]
    assert [line.target for line in await audit.listed(world.database, who="shop")] == ["n:3", "n:1"]
    assert [line.target for line in await audit.listed(world.database, what="publish")] == ["n:4", "n:2", "n:0"]
