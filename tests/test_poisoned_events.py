"""An event whose own data stand in the way of its fan-out does not hold up the others, and says so."""

from __future__ import annotations

import psycopg
import pytest

from hark.batching import ChunkSize
from hark.doors import reports
from hark.doors.explain import explain
from tests.world import World


async def poisoned(world: World, reason: str = "comment") -> int:
    """An event with a recipient id that no index can hold, as one from before ids were bounded might have."""
    event = await world.publish(reason, to=["poison"])
    await world.execute(
        "update hark.event set recipients = array[(select string_agg(md5(n::text), '') from generate_series(1, 300) n)]"
        f" where id = {event}"
    )
    return event


async def test_its_neighbours_are_told(world: World) -> None:
    await world.know("ann", "bob")
    before = await world.publish("comment", to=["ann"])
    bad = await poisoned(world)
    after = await world.publish("comment", to=["bob"])
    await world.fan_out()
    assert [len(await world.told(event)) for event in (before, bad, after)] == [1, 0, 1]
    (row,) = await world.rows(f"select set_aside, fanned_out_at from hark.event where id = {bad}")
    assert row.set_aside.startswith("ProgramLimitExceeded (54000): index row")
    assert row.fanned_out_at == world.clock.now()


async def test_people_are_told_of_it(world: World) -> None:
    await world.know("ann")
    bad = await poisoned(world)
    await world.fan_out()
    answer = await explain(world.database, "ann", bad, world.clock.now())
    assert "could not be fanned out and was set aside, ProgramLimitExceeded" in answer.steps[0].why
    seen = await reports.pipeline(world.database, world.clock.now())
    assert any("1 event is set aside" in line for line in reports.advice(seen))


async def test_a_large_one_is_set_aside_where_it_fails_and_what_was_told_stays_told(world: World) -> None:
    await world.know("ann", "bob", "cleo")
    await world.follow("post:1", "ann", "bob", "cleo")
    await world.execute("alter table hark.notification add check (recipient_id <> 'cleo')")
    bad = await world.publish("comment", entities=["post:1"])
    good = await world.publish("comment", to=["ann"])
    await world.fan_out(ChunkSize(fresh=1, begun=1))
    assert [row.recipient_id for row in await world.told(bad)] == ["ann", "bob"]
    assert len(await world.told(good)) == 1
    (row,) = await world.rows(f"select set_aside from hark.event where id = {bad}")
    assert row.set_aside.startswith("CheckViolation (23514)")


async def test_what_is_not_the_datas_fault_sets_nothing_aside(world: World) -> None:
    await world.know("ann")
    event = await world.publish("comment", to=["ann"])
    await world.execute("alter table hark.inbox rename to gone")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await world.fan_out()
    await world.execute("alter table hark.gone rename to inbox")
    await world.fan_out()
    assert len(await world.told(event)) == 1
