"""Flags made and changed: what each change does, what it is refused for, and that each is in the audit log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hark.access import audit
from hark.audience import Recipient
from hark.backfill.cohort import (
    Cohort,
    CohortWords,
    Flag,
    Segment,
    cohort_from_json,
    cohort_of,
    stage,
    unchanged,
)
from hark.errors import BadInput, FileFaults, OutOfDate
from hark.flags import (
    Author,
    Because,
    FlagReader,
    Internal,
    Kept,
    Listed,
    Named,
    Rollout,
    add_users,
    create,
    enrol,
    put_segment,
    remove_segment,
    remove_users,
    set_segment,
    turn,
)
from hark.flags.listing import flags, segment_members, show
from hark.lists import File, FileReach
from tests.flags.testing import HERE, author, decided, flag_of, let_in, written
from tests.world import World

NOWHERE = FileReach()
PEOPLE = ["bob", "cy", "di", "ed"]


async def version(world: World, flag: str = "live") -> int:
    return (await show(world.database, flag)).flag.version


async def audited(world: World) -> list[tuple[str, str, str]]:
    return [(line.who, line.what, line.target) for line in reversed(await audit.listed(world.database))]


# What a change does ---------------------------------------------------------------------------------------------------


async def test_a_new_flag_lets_nobody_in(world: World) -> None:
    assert (await create(world.database, "live", author(world))).version == 1
    assert (await decided(world, "bob")).because is Because.NOBODY_SAYS_SO
    assert (await decided(world, "bob", "other")).because is Because.NO_FLAG


async def test_a_segment_lets_its_members_in_and_says_that_it_did(world: World) -> None:
    assert (await flag_of(world, beta=["bob", "cy", "bob"])).version == 2
    said = await decided(world, "bob")
    assert (said.because, said.segment, said.version) == (Because.SEGMENT, "beta", 2)
    assert await let_in(world, PEOPLE) == ["bob", "cy"]


async def test_users_are_added_and_removed(world: World) -> None:
    await flag_of(world, beta=["bob"])
    added = await add_users(world.database, "live", "beta", Named(["cy", "bob"]), author(world), reach=HERE)
    assert (added.version, added.members, added.joined, added.gone) == (3, 2, 1, 0)
    gone = await remove_users(world.database, "live", "beta", Named(["bob", "no"]), author(world), reach=HERE)
    assert (gone.version, gone.members, gone.joined, gone.gone) == (4, 1, 0, 1)
    assert await let_in(world, PEOPLE) == ["cy"]


async def test_to_set_a_segment_replaces_who_was_in_it(world: World) -> None:
    await flag_of(world, beta=["bob", "cy"])
    changed = await set_segment(world.database, "live", "beta", Named(["cy", "di"]), author(world), reach=HERE)
    assert (changed.joined, changed.gone, changed.members) == (1, 1, 2)
    assert await let_in(world, PEOPLE) == ["cy", "di"]


async def test_a_change_of_nothing_moves_no_version_and_is_not_audited(world: World) -> None:
    await flag_of(world, beta=["bob"], some=Rollout(5000), staff=Internal(("ann",)))
    before, lines = await version(world), await audited(world)
    for segment, rule in (("beta", Named(["bob"])), ("some", Rollout(5000)), ("staff", Internal(("ann",)))):
        changed = await set_segment(world.database, "live", segment, rule, author(world), reach=HERE)
        assert (changed.moved, changed.version) == (False, before)
    await add_users(world.database, "live", "beta", Named(["bob"]), author(world), reach=HERE)
    assert not (await turn(world.database, "live", author(world), on=True)).moved
    assert (await version(world), await audited(world)) == (before, lines)


async def test_a_flag_that_is_off_lets_nobody_in_and_forgets_nobody(world: World) -> None:
    await flag_of(world, beta=["bob"])
    await turn(world.database, "live", author(world), on=False)
    assert (await decided(world, "bob")).because is Because.OFF
    await turn(world.database, "live", author(world), on=True)
    assert (await decided(world, "bob")).lets_in


async def test_a_segment_is_part_of_several_flags_and_moves_them_all(world: World) -> None:
    await flag_of(world, "live", beta=["bob"])
    await flag_of(world, "news")
    await set_segment(world.database, "news", "beta", None, author(world), reach=HERE)
    await add_users(world.database, "live", "beta", Named(["cy"]), author(world), reach=HERE)
    assert [(line.name, line.version) for line in await flags(world.database)] == [("live", 3), ("news", 3)]
    assert await let_in(world, PEOPLE, "news") == ["bob", "cy"]


async def test_a_segment_that_is_taken_out_stays_unless_it_is_to_be_forgotten(world: World) -> None:
    await flag_of(world, beta=["bob"])
    await remove_segment(world.database, "live", "beta", author(world))
    assert not (await decided(world, "bob")).lets_in
    await set_segment(world.database, "live", "beta", None, author(world), reach=HERE)
    assert (await decided(world, "bob")).lets_in
    await remove_segment(world.database, "live", "beta", author(world), forget=True)
    assert await world.rows("select from hark.segment") == await world.rows("select from hark.segment_member") == []


async def test_what_code_puts_into_a_segment_moves_its_flags_and_cohorts_see_it(world: World) -> None:
    await world.know(*PEOPLE)
    await flag_of(world, beta=["bob"])
    assert await put_segment(world.database, "beta", ["cy"], world.clock.now()) == 2
    assert (await version(world), await let_in(world, PEOPLE)) == (3, ["cy"])
    found = await stage(
        world.database, Cohort(Segment("beta")), user_types=None, now=world.clock.now(), reach=FileReach()
    )
    assert found.members == 1


async def test_a_segment_is_put_in_a_transaction_of_the_callers(world: World) -> None:
    await flag_of(world, beta=["bob"])
    with pytest.raises(ZeroDivisionError):
        async with world.database.as_one() as one:
            await put_segment(one, "beta", ["cy"], world.clock.now())
            raise ZeroDivisionError
    assert await let_in(world, PEOPLE) == ["bob"]
    async with world.database.as_one() as one:
        await put_segment(one, "beta", ["cy"], world.clock.now())
        await put_segment(one, "gamma", ["di"], world.clock.now())
    assert await let_in(world, PEOPLE) == ["cy"]


async def test_a_file_is_read_and_its_lines_become_members(world: World, tmp_path: Path) -> None:
    await flag_of(world, beta=["bob"])
    path = written(tmp_path, "user\ncy\ndi\n")
    await add_users(world.database, "live", "beta", Listed(File(path, column="user")), author(world), reach=HERE)
    assert await let_in(world, PEOPLE) == ["bob", "cy", "di"]


async def test_ids_are_taken_as_they_are(world: World) -> None:
    odd = ["a\\b", "\\N", "\\.", "it's", 'q"q', " x", "%s", "Zoë", "NULL", "{0}", "日本", "a\\nb"]
    await flag_of(world, beta=odd)
    assert await let_in(world, [*odd, "a\nb", "zoë"]) == odd
    found = await segment_members(world.database, "live", "beta", limit=50)
    assert [each.user_id for each in found] == sorted(odd, key=str.encode)


async def test_internal_users_are_those_with_a_confirmed_address_and_those_named(world: World) -> None:
    await world.know(
        Recipient("ann", "Students", "Ann@ACME.example", True),
        Recipient("eve", "Students", "eve@acme.example", False),
        Recipient("mal", "Students", "mal@acme.example.evil.example", True),
        Recipient("bob", "Students", "bob@school.example", True),
    )
    await flag_of(world, staff=Internal(("@acme.example", "cy")))
    assert await let_in(world, ["ann", "eve", "mal", "bob", "cy"]) == ["ann", "cy"]


# Compare and set ------------------------------------------------------------------------------------------------------


async def test_a_change_by_a_version_that_is_gone_is_refused_and_changes_nothing(world: World) -> None:
    await flag_of(world, beta=["bob"])
    late = author(world, if_version=1)
    for change in (
        lambda: set_segment(world.database, "live", "beta", Named(["cy"]), late, reach=HERE),
        lambda: add_users(world.database, "live", "beta", Named(["cy"]), late, reach=HERE),
        lambda: remove_users(world.database, "live", "beta", Named(["bob"]), late, reach=HERE),
        lambda: remove_segment(world.database, "live", "beta", late),
        lambda: turn(world.database, "live", late, on=False),
    ):
        with pytest.raises(OutOfDate, match="flag live is at version 2, not 1; look at it again"):
            await change()
    assert (await version(world), await let_in(world, PEOPLE)) == (2, ["bob"])


async def test_of_many_who_change_the_same_version_one_does(world: World) -> None:
    await flag_of(world, beta=["bob"])

    async def change(user: str) -> bool:
        wish = Author(user, world.clock.now(), 2)
        try:
            await add_users(world.database, "live", "beta", Named([user]), wish, reach=HERE)
        except OutOfDate:
            return False
        return True

    names = [f"u{n}" for n in range(6)]
    done = await asyncio.gather(*(change(name) for name in names))
    assert done.count(True) == 1
    assert (await version(world), await let_in(world, names)) == (3, [names[done.index(True)]])


async def test_changes_that_name_no_version_all_happen_whatever_locks_whom(world: World) -> None:
    await flag_of(world, "live", beta=["bob"], gamma=["bob"])
    await flag_of(world, "news", delta=["bob"])
    for segment in ("beta", "gamma"):
        await set_segment(world.database, "news", segment, None, author(world), reach=HERE)
    before = await version(world, "live"), await version(world, "news")

    async def change(n: int) -> None:
        flag, segment = ("live", "beta") if n % 2 else ("news", "gamma")
        await add_users(world.database, flag, segment, Named([f"u{n}"]), author(world), reach=HERE)

    await asyncio.gather(*(change(n) for n in range(12)))
    assert (await version(world, "live"), await version(world, "news")) == (before[0] + 12, before[1] + 12)
    assert len(await let_in(world, [f"u{n}" for n in range(12)])) == 12


# What is refused ------------------------------------------------------------------------------------------------------


async def test_what_is_wrong_is_said_with_how_to_mend_it(world: World, tmp_path: Path) -> None:
    await flag_of(world, beta=["bob"], some=Rollout(1))
    before = await audited(world)
    bad = written(tmp_path, "bob\nx\x00y\n")
    for said, change in (
        ('"a b" is no name for a flag', lambda: create(world.database, "a b", author(world))),
        ("there is a flag live already", lambda: create(world.database, "live", author(world))),
        ('"lvie": no such flag; did you mean live', lambda: turn(world.database, "lvie", author(world), on=False)),
        (
            '"bet": no such segment of flag live; did you mean beta',
            lambda: add_users(world.database, "live", "bet", Named(["cy"]), author(world), reach=HERE),
        ),
        (
            'segment "some" is a rollout: nobody is added',
            lambda: add_users(world.database, "live", "some", Named(["cy"]), author(world), reach=HERE),
        ),
        (
            'there is no segment "new" yet',
            lambda: set_segment(world.database, "live", "new", None, author(world), reach=HERE),
        ),
        (
            "has no id",
            lambda: set_segment(world.database, "live", "new", Named(["a", ""]), author(world), reach=HERE),
        ),
        (
            "is no name for a segment",
            lambda: set_segment(world.database, "live", "a\nb", Named(["a"]), author(world), reach=HERE),
        ),
        (
            "may not be read: object_stores allows nothing",
            lambda: set_segment(world.database, "live", "n", Kept(File("s3://flags/k")), author(world), reach=NOWHERE),
        ),
    ):
        with pytest.raises(BadInput, match=said):
            await change()
    with pytest.raises(FileFaults, match=f"{bad}:2 .*NUL"):
        await add_users(world.database, "live", "beta", Listed(File(bad)), author(world), reach=HERE)
    assert (await audited(world), await let_in(world, PEOPLE)) == (before, ["bob"])


async def test_a_segment_of_two_flags_is_not_forgotten(world: World) -> None:
    await flag_of(world, "live", beta=["bob"])
    await flag_of(world, "news")
    await set_segment(world.database, "news", "beta", None, author(world), reach=HERE)
    with pytest.raises(BadInput, match="is part of another flag too"):
        await remove_segment(world.database, "live", "beta", author(world), forget=True)
    assert await let_in(world, PEOPLE) == ["bob"]


async def test_every_change_has_its_line_which_names_no_user(world: World) -> None:
    await flag_of(world, beta=["bob"])
    await add_users(world.database, "live", "beta", Named(["cy"]), author(world), reach=HERE)
    await remove_users(world.database, "live", "beta", Named(["cy"]), author(world), reach=HERE)
    await turn(world.database, "live", author(world), on=False)
    await remove_segment(world.database, "live", "beta", author(world))
    acts = ["flag.create", "segment.set", "segment.add", "segment.cut", "flag.turn", "segment.remove"]
    assert await audited(world) == [("olga", act, "flag:live") for act in acts]
    told = str([line.detail for line in await audit.listed(world.database)])
    assert "bob" not in told and "cy" not in told


async def test_members_that_were_brought_are_gone_with_the_call(world: World) -> None:
    """A connection of the pool that was used for a change is used for the next."""
    await flag_of(world, beta=["bob"])
    with pytest.raises(OutOfDate):
        await add_users(world.database, "live", "beta", Named(["x"]), author(world, if_version=1), reach=HERE)
    await add_users(world.database, "live", "beta", Named(["cy"]), author(world), reach=HERE)
    reader = FlagReader(world.database)
    assert [user for user in ("bob", "cy", "x") if (await reader.refresh()).decide("live", user).lets_in] == [
        "bob",
        "cy",
    ]


# For cohorts ----------------------------------------------------------------------------------------------------------


async def test_a_cohort_of_a_flag_is_whoever_it_lets_in_and_its_plan_knows_the_version(world: World) -> None:
    people = [f"s{n:02}" for n in range(40)]
    await world.know(*people)
    await flag_of(world, beta=["s01", "nobody"], some=Rollout(30_000))
    await enrol(world.database, "live", ["s02"], author(world))
    wish = cohort_of(CohortWords(flags=["live"]))
    assert cohort_from_json(wish.as_json()) == wish
    now = world.clock.now()
    staged = await stage(world.database, wish, user_types=None, now=now, reach=NOWHERE)
    rows = await world.rows("select recipient_id from hark.cohort_member order by 1")
    assert [row.recipient_id for row in rows] == await let_in(world, people)
    assert {"s01", "s02"} < {row.recipient_id for row in rows} < set(people)
    await unchanged(world.database, staged.cohort_id, reach=NOWHERE)
    await turn(world.database, "live", author(world), on=False)
    with pytest.raises(BadInput, match=r"flag live was changed since the plan \(version 4, now 5\)"):
        await unchanged(world.database, staged.cohort_id, reach=NOWHERE)
    assert (await stage(world.database, wish, user_types=None, now=now, reach=NOWHERE)).members == 0
    with pytest.raises(BadInput, match='"lvie": no such flag; did you mean live'):
        await stage(world.database, Cohort(Flag("lvie")), user_types=None, now=now, reach=NOWHERE)


async def test_a_cohort_of_a_rollout_is_whoever_rolls_so(world: World) -> None:
    people = [f"s{n:02}" for n in range(40)]
    await world.know(*people)
    await flag_of(world, some=Rollout(30_000))
    who = Cohort(Segment("some"))
    staged = await stage(world.database, who, user_types=None, now=world.clock.now(), reach=NOWHERE)
    assert staged.members == len(await let_in(world, people)) > 0
