"""Flags in a process: read again when something changed, and only what did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.errors import BadInput
from hark.flags import (
    FlagReader,
    Named,
    Rollout,
    add_users,
    enrol,
    reading,
    remove_segment,
    set_segment,
    turn,
    withdraw,
)
from tests.flags.testing import HERE, author, flag_of
from tests.world import World


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(reading, "MOVED_KEPT", 3)
    yield


async def test_nothing_is_read_while_no_version_moves(world: World) -> None:
    await flag_of(world, beta=["bob"])
    reader = FlagReader(world.database)
    told: list[list[str]] = []
    reader.listen(lambda flags: told.append(list(flags)))
    first = await reader.refresh()
    assert await reader.refresh() is first
    await flag_of(world, "news")
    assert (await reader.refresh()) is not first
    assert told == [["live"], ["news"]]


async def test_a_segment_that_did_not_change_is_not_read_again(world: World) -> None:
    await flag_of(world, beta=["bob"], gamma=["cy"])
    reader = FlagReader(world.database)
    before = (await reader.refresh()).flags["live"].segments
    await add_users(world.database, "live", "gamma", Named(["di"]), author(world), reach=HERE)
    after = (await reader.refresh()).flags["live"].segments
    assert after[0] is before[0]
    assert after[1] is not before[1]


async def test_a_snapshot_stays_what_it_was(world: World) -> None:
    await flag_of(world, beta=["bob"])
    reader = FlagReader(world.database)
    before = await reader.refresh()
    await remove_segment(world.database, "live", "beta", author(world))
    await enrol(world.database, "live", ["cy"], author(world))
    after = await reader.refresh()
    assert [before.decide("live", user).lets_in for user in ("bob", "cy")] == [True, False]
    assert [after.decide("live", user).lets_in for user in ("bob", "cy")] == [False, True]


async def test_who_came_and_went_is_read_without_the_others(world: World) -> None:
    await flag_of(world)
    await enrol(world.database, "live", ["bob", "cy"], author(world))
    reader = FlagReader(world.database)
    then = (await reader.refresh()).flags["live"].enrolled.then
    await enrol(world.database, "live", ["di"], author(world))
    await withdraw(world.database, "live", ["bob"], author(world))
    now = (await reader.refresh()).flags["live"].enrolled
    assert now.then is then
    assert [user for user in ("bob", "cy", "di") if user in now] == ["cy", "di"]


async def test_of_too_many_who_came_and_went_all_are_read_anew(world: World, few_kept: None) -> None:
    await flag_of(world)
    reader = FlagReader(world.database)
    await reader.refresh()
    for n in range(5):
        await enrol(world.database, "live", [f"u{n}"], author(world))
        enrolled = (await reader.refresh()).flags["live"].enrolled
        assert enrolled.moved <= 3
        assert [f"u{m}" in enrolled for m in range(6)] == [m <= n for m in range(6)]


async def test_only_the_flags_that_are_asked_for_are_known(world: World) -> None:
    await flag_of(world, beta=["bob"])
    await flag_of(world, "news", gamma=["bob"])
    assert set((await FlagReader(world.database, frozenset(["news"])).refresh()).flags) == {"news"}


STEPS = st.one_of(
    st.tuples(st.sampled_from(["enrol", "withdraw", "add", "cut"]), st.sampled_from("abcd")),
    st.tuples(st.just("roll"), st.integers(0, 100_000)),
    st.tuples(st.just("turn"), st.booleans()),
    st.tuples(st.just("read"), st.none()),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14))
async def test_who_read_all_along_knows_what_who_reads_now_knows(
    world: World, few_kept: None, steps: list[tuple[str, object]]
) -> None:
    name = f"f{len(await world.rows('select from hark.flag'))}"
    await flag_of(world, name, **{f"{name}-beta": [], f"{name}-some": Rollout(0)})
    along = FlagReader(world.database)
    for what, given_ in steps:
        await _do(world, name, along, what, given_)
    one, other = (await along.refresh()).flags[name], (await FlagReader(world.database).refresh()).flags[name]
    assert [one.decide(user) for user in "abcd"] == [other.decide(user) for user in "abcd"]


async def _do(world: World, name: str, along: FlagReader, what: str, given_: object) -> None:
    who, database = author(world), world.database
    match what, given_:
        case "enrol", str(user):
            is_on = (await FlagReader(database).refresh()).flags[name].is_on
            with nullcontext() if is_on else pytest.raises(BadInput, match="is off and lets nobody in"):
                await enrol(database, name, [user], who)
        case "withdraw", str(user):
            await withdraw(database, name, [user], who)
        case "add", str(user):
            await add_users(database, name, f"{name}-beta", Named([user]), who, reach=HERE)
        case "cut", str(user):
            from hark.flags import remove_users

            await remove_users(database, name, f"{name}-beta", Named([user]), who, reach=HERE)
        case "turn", bool(on):
            await turn(database, name, who, on=on)
        case "roll", int(share):
            await set_segment(database, name, f"{name}-some", Rollout(share), who, reach=HERE)
        case _:
            await along.refresh()
