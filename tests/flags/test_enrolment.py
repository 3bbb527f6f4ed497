"""Users enrolled one by one, and the loads that asks for."""

from __future__ import annotations

import asyncio

import pytest

from hark.access import audit
from hark.errors import BadInput, OutOfDate
from hark.flags import Because, FlagReader, enrol, take, turn, waiting, withdraw
from hark.flags.enrolment import AT_ONCE
from hark.flags.listing import show
from tests.flags.testing import author, decided, flag_of
from tests.world import World


async def test_who_is_enrolled_is_let_in_and_their_load_is_asked_for(world: World) -> None:
    await flag_of(world)
    done = await enrol(world.database, "live", ["bob", "cy", "bob"], author(world))
    assert (done.version, done.changed) == (2, 2)
    assert (await decided(world, "bob")).because is Because.ENROLLED
    asked = await waiting(world.database)
    assert [(each.user_id, each.flag, each.version, each.asked_by) for each in asked] == [
        ("bob", "live", 2, "olga"),
        ("cy", "live", 2, "olga"),
    ]
    assert (await show(world.database, "live")).flag.enrolled == 2


async def test_to_enrol_twice_changes_nothing_and_asks_for_nothing(world: World) -> None:
    await flag_of(world)
    await enrol(world.database, "live", ["bob"], author(world))
    again = await enrol(world.database, "live", ["bob"], author(world))
    assert (again.version, again.changed) == (2, 0)
    assert len(await waiting(world.database)) == 1
    assert len(await audit.listed(world.database)) == 2


async def test_only_who_is_new_has_a_load_asked_for(world: World) -> None:
    await flag_of(world)
    await enrol(world.database, "live", ["bob"], author(world), load=False)
    await enrol(world.database, "live", ["bob", "cy"], author(world))
    assert [each.user_id for each in await waiting(world.database)] == ["cy"]


async def test_a_load_is_taken_by_one_run(world: World) -> None:
    await flag_of(world)
    await enrol(world.database, "live", ["bob", "cy"], author(world))
    asked = await waiting(world.database)

    async def taken(run: int) -> int:
        async with world.database.transaction() as connection:
            return await take(connection, asked, run)

    assert sorted(await asyncio.gather(taken(1), taken(2))) == [0, 2]
    assert await waiting(world.database) == []


async def test_a_load_that_was_asked_for_anew_is_not_taken_as_it_was(world: World) -> None:
    """Who left and came back is let in from a later version on, and a load must wait for that one."""
    await flag_of(world)
    await enrol(world.database, "live", ["bob"], author(world))
    asked = await waiting(world.database)
    await withdraw(world.database, "live", ["bob"], author(world))
    assert await waiting(world.database) == []
    await enrol(world.database, "live", ["bob"], author(world))
    async with world.database.transaction() as connection:
        assert await take(connection, asked, 1) == 0
    assert [each.version for each in await waiting(world.database)] == [4]


async def test_who_was_loaded_and_comes_back_is_loaded_again(world: World) -> None:
    await flag_of(world)
    await enrol(world.database, "live", ["bob"], author(world))
    async with world.database.transaction() as connection:
        assert await take(connection, await waiting(world.database), 7) == 1
    await withdraw(world.database, "live", ["bob"], author(world))
    assert [tuple(row) for row in await world.rows("select user_id, backfill_id from hark.load_asked")] == [("bob", 7)]
    await enrol(world.database, "live", ["bob"], author(world))
    assert [each.user_id for each in await waiting(world.database)] == ["bob"]


async def test_many_at_once_are_all_enrolled_and_a_reader_misses_none(world: World) -> None:
    await flag_of(world)
    reader = FlagReader(world.database)
    users = [f"u{n}" for n in range(20)]

    async def read() -> None:
        for _ in range(20):
            await reader.refresh()

    await asyncio.gather(read(), *(enrol(world.database, "live", [user], author(world)) for user in users))
    snapshot = await reader.refresh()
    assert all(snapshot.decide("live", user).lets_in for user in users)
    assert (snapshot.version("live"), (await show(world.database, "live")).flag.enrolled) == (21, 20)


async def test_nobody_is_enrolled_by_a_flag_that_is_off(world: World) -> None:
    await flag_of(world)
    await turn(world.database, "live", author(world), on=False)
    for load in (True, False):
        with pytest.raises(BadInput, match="live is off and lets nobody in; turn it on: hark flags on live"):
            await enrol(world.database, "live", ["bob"], author(world), load=load)
    assert await waiting(world.database) == await world.rows("select from hark.enrolled") == []
    assert (await show(world.database, "live")).flag.version == 2


async def test_what_is_wrong_is_refused_and_changes_nothing(world: World) -> None:
    await flag_of(world)
    for users, said in (([], "names 0 users"), (["a\n"], "control character"), (["x"] * 2 + ["y\0"], "NUL")):
        with pytest.raises(BadInput, match=said):
            await enrol(world.database, "live", users, author(world))
    with pytest.raises(BadInput, match="expected 1 to 10,000"):
        await enrol(world.database, "live", [f"u{n}" for n in range(AT_ONCE + 1)], author(world))
    with pytest.raises(BadInput, match="no such flag"):
        await enrol(world.database, "news", ["bob"], author(world))
    with pytest.raises(OutOfDate):
        await enrol(world.database, "live", ["bob"], author(world, if_version=9))
    assert await waiting(world.database) == await world.rows("select from hark.enrolled") == []
