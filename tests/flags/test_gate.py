"""Who acts on which version of a flag: nothing decided before it was effective everywhere is written after."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.errors import BadInput, Overtaken
from hark.flags import FlagGate, Named, Report, add_users, behind, enrol, wait_until_effective
from hark.flags.gate import FlagView
from hark.flags.listing import show
from tests.flags.testing import HERE, author, flag_of
from tests.world import World

LEASE = timedelta(seconds=30)


def gate(world: World, name: str = "ingest") -> FlagGate:
    return FlagGate(world.database, world.clock, "live", name, lease=LEASE)


async def late(world: World, version: int) -> list[str]:
    return [each.process for each in await behind(world.database, "live", version, world.clock.now())]


async def moved(world: World, user: str) -> int:
    return (await add_users(world.database, "live", "beta", Named([user]), author(world), reach=HERE)).version


async def written(world: World, by: FlagGate, view: FlagView) -> None:
    async with world.database.transaction() as connection:
        await by.fence(connection, view)


async def test_a_version_is_effective_once_all_act_on_it(world: World) -> None:
    await flag_of(world, beta=["bob"])
    one, two = gate(world, "one"), gate(world, "two")
    assert (await one.view()).lets_in("bob")
    await two.view()
    version = await moved(world, "cy")
    assert await late(world, version) == sorted([one.process, two.process])
    assert (await one.view()).lets_in("cy")
    assert await late(world, version) == [two.process]
    await two.view()
    assert await late(world, version) == []
    assert [each.version for each in (await show(world.database, "live")).gates] == [version, version]


async def test_with_nobody_who_acts_on_it_it_is_effective(world: World) -> None:
    await flag_of(world)
    assert await late(world, 99) == []


async def test_who_is_about_to_read_is_waited_for(world: World) -> None:
    """A process that has read, and not yet reported, would act on what nobody waits for."""
    await flag_of(world, beta=["bob"])
    one = gate(world)
    await one._register()
    assert await late(world, 1) == [one.process]
    (report,) = await behind(world.database, "live", 1, world.clock.now())
    assert "is about to read it" in str(report)


async def test_whose_lease_ran_out_is_not_waited_for_and_writes_nothing(world: World) -> None:
    await flag_of(world, beta=["bob"])
    one = gate(world)
    view = await one.view()
    version = await moved(world, "cy")
    world.clock.advance(LEASE + timedelta(seconds=1))
    assert await late(world, version) == []
    with pytest.raises(Overtaken, match="did not report for so long"):
        await written(world, one, view)
    again = await one.view()
    assert (again.version, again.lets_in("cy")) == (version, True)
    await written(world, one, again)


async def test_what_was_decided_by_an_older_version_is_not_written(world: World) -> None:
    await flag_of(world, beta=["bob"])
    one = gate(world)
    old = await one.view()
    await moved(world, "cy")
    await written(world, one, old)  # nobody has been told yet that anything else holds
    new = await one.view()
    with pytest.raises(Overtaken, match="decided by version 2 of live; decide by 3"):
        await written(world, one, old)
    await written(world, one, new)


async def test_what_is_being_written_is_waited_for_however_long_it_takes(world: World) -> None:
    await flag_of(world, beta=["bob"])
    one = gate(world)
    view = await one.view()
    version = await moved(world, "cy")
    async with world.database.transaction() as connection:
        await one.fence(connection, view)
        world.clock.advance(LEASE * 2)
        assert await late(world, version) == [one.process]
        reporting = asyncio.create_task(one.view())
        await asyncio.sleep(0.05)
        assert not reporting.done()
    await reporting
    assert await late(world, version) == []


async def test_a_wait_ends_at_its_deadline_and_says_who_is_behind(world: World) -> None:
    await flag_of(world, beta=["bob"])
    one = gate(world)
    await one.view()
    version = await moved(world, "cy")
    now = world.clock.now()
    (told,) = await wait_until_effective(world.database, "live", version, world.clock, deadline=now)
    assert (told.process, told.version, "acts on version 2" in str(told)) == (one.process, version - 1, True)

    async def catch_up() -> None:
        await one.view()

    waits = wait_until_effective(world.database, "live", version, world.clock, deadline=now + LEASE)
    found, _ = await asyncio.gather(waits, catch_up())
    assert list[Report](found) == []


async def test_a_process_that_ends_is_not_waited_for(world: World) -> None:
    await flag_of(world)
    one = gate(world)
    await one.view()
    await one.close()
    assert await late(world, 99) == []


async def test_two_processes_of_one_name_are_two(world: World) -> None:
    await flag_of(world)
    await gate(world).view()
    await gate(world).view()
    assert len(await late(world, 99)) == 2


async def test_a_gate_needs_a_flag(world: World) -> None:
    with pytest.raises(BadInput, match="no such flag"):
        await gate(world).view()
    await flag_of(world)
    assert not (await gate(world).view()).lets_in("bob")


# Any order ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Process:
    """A process that decides by a view and may write it much later."""

    gate: FlagGate
    view: FlagView | None = None
    wrote: list[int] = field(default_factory=list)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["view", "write", "restart"]), st.integers(0, 2)),
        st.tuples(st.sampled_from(["change", "ask"]), st.just(0)),
        st.tuples(st.just("time"), st.integers(0, 40)),
    ),
    max_size=30,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_nothing_decided_before_a_version_is_written_once_it_is_effective(
    world: World, steps: list[tuple[str, int]]
) -> None:
    name = f"f{len(await world.rows('select from hark.flag'))}"
    await flag_of(world, name)
    processes = [_Process(FlagGate(world.database, world.clock, name, "p", lease=LEASE)) for _ in range(3)]
    version = effective = 1
    for what, number in steps:
        process = processes[number % 3]
        match what:
            case "view":
                process.view = await process.gate.view()
            case "write" if process.view is not None:
                try:
                    async with world.database.transaction() as connection:
                        await process.gate.fence(connection, process.view)
                except Overtaken:
                    continue
                assert process.view.version >= effective
            case "restart":
                process.gate = FlagGate(world.database, world.clock, name, "p", lease=LEASE)
                process.view = None
            case "change":
                version = (await enrol(world.database, name, [f"u{version}"], author(world))).version
            case "ask":
                if not await behind(world.database, name, version, world.clock.now()):
                    effective = version
            case "time":
                world.clock.advance(timedelta(seconds=number))
