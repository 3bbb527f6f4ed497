"""Whether a flag lets a user in: in Python as in SQL, the same for ever, and more of them where a rollout grows."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark.errors import BadInput
from hark.flags import (
    FlagReader,
    Internal,
    Named,
    Rollout,
    Rule,
    enrol,
    parse_internal,
    parse_percent,
    set_segment,
    turn,
)
from hark.flags.deciding import Enrolled, FlagSeen, Rolling, SegmentSeen, Snapshot, rolled
from hark.flags.listing import check, members
from hark.flags.members import Members
from hark.flags.rules import SegmentKind, in_percent
from tests.flags.testing import HERE, author, flag_of
from tests.world import World

USERS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=20)
SHARES = st.integers(0, 100_000)
POOL = ["bob", "cy", "di", "ed", "fay", "Zoë", "a\\b", "日本"]


# Rollouts -------------------------------------------------------------------------------------------------------------


def test_what_is_rolled_never_changes() -> None:
    """Of other numbers, everybody would be in or out otherwise after an upgrade."""
    assert [rolled("live", user) for user in ("bob", "Zoë", "")] == [72126642, 626579464, 2970785895]


@settings(deadline=None)
@given(user=USERS, salt=st.text("abc-.", min_size=1, max_size=8), shares=st.tuples(SHARES, SHARES))
def test_to_grow_a_rollout_only_adds(user: str, salt: str, shares: tuple[int, int]) -> None:
    small, large = sorted(shares)
    assert user not in Rolling(salt, small) or user in Rolling(salt, large)
    assert user not in Rolling(salt, 0)
    assert user in Rolling(salt, 100_000)


def test_a_rollout_is_of_as_many_as_it_says_and_of_others_for_another_flag() -> None:
    users = [f"user-{n}" for n in range(20_000)]
    live, news = ({user for user in users if user in Rolling(salt, 25_000)} for salt in ("live", "news"))
    assert abs(len(live) - 5000) < 300 and abs(len(news) - 5000) < 300  # five standard deviations
    assert abs(len(live & news) - 1250) < 200


async def test_a_rollout_keeps_whom_it_had_when_it_is_set_anew(world: World) -> None:
    users = [f"u{n}" for n in range(200)]
    await flag_of(world, some=Rollout(20_000))
    reader = FlagReader(world.database)
    few = {user for user in users if (await reader.refresh()).decide("live", user).lets_in}
    await set_segment(world.database, "live", "some", Rollout(50_000), author(world), reach=HERE)
    many = {user for user in users if (await reader.refresh()).decide("live", user).lets_in}
    assert 0 < len(few) < len(many) < 200 and few < many


@pytest.mark.parametrize(("text", "share"), [("25", 25_000), ("0.5 %", 500), ("12.345%", 12_345), ("100", 100_000)])
def test_a_percent_is_read_and_said(text: str, share: int) -> None:
    assert parse_percent(text) == share
    assert parse_percent(in_percent(share)) == share


@pytest.mark.parametrize("text", ["", "many", "-1", "100.001", "nan", "1e999", "0.0001", "inf"])
def test_what_is_no_percent_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"is not a percent|too fine"):
        parse_percent(text)


def test_who_is_internal_is_read_once_each_and_refused_with_all_faults() -> None:
    assert parse_internal([" @Acme.example", "bob", "@acme.example"]) == ("@acme.example", "bob")
    with pytest.raises(BadInput, match=r'"@" is no domain.*\n.*"@a b" is no domain|"@a b".*\n?'):
        parse_internal(["@", "@a b", "bob"])


# Large sets -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(inside=st.sets(USERS, max_size=15), asked=st.lists(USERS, max_size=8))
def test_members_are_a_set(inside: set[str], asked: list[str]) -> None:
    who = Members.of(inside)
    assert set(who) == inside and len(who) == len(inside)
    assert all((user in who) == (user in inside) for user in [*asked, *inside, "", "\ud800"])


@settings(deadline=None)
@given(st.sets(st.sampled_from("abcdef"), max_size=6))
def test_ids_of_one_hash_are_not_taken_for_each_other(inside: set[str]) -> None:
    who = Members.of(inside)
    alike = Members(who._bytes, who._begins, array("q", [hash(b"a")] * len(who)))
    assert ("a" in alike) == ("a" in inside)


def test_a_member_costs_its_bytes_and_twelve_more() -> None:
    assert Members.of(f"user-{n:05}" for n in range(1000)).size == 1000 * (10 + 12) + 4


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=12), st.sets(st.sampled_from("abc")))
def test_who_came_and_went_is_who_is_enrolled(moves: list[tuple[bool, str]], then: set[str]) -> None:
    enrolled, now = Enrolled(Members.of(then)), set(then)
    for comes, user in moves:
        now = now | {user} if comes else now - {user}
        one = frozenset([user])
        enrolled = enrolled.after(one if comes else frozenset(), frozenset() if comes else one)
    assert {user for user in "abc" if user in enrolled} == now


def test_the_first_segment_by_name_is_the_reason() -> None:
    parts = tuple(SegmentSeen(name, 1, SegmentKind.IDS, Members.of(["bob"])) for name in ("a", "b"))
    assert Snapshot({"live": FlagSeen("live", 3, True, parts)}).decide("live", "bob").segment == "a"


# In SQL as in Python --------------------------------------------------------------------------------------------------

RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Named, st.lists(st.sampled_from(POOL), max_size=4)),
    st.builds(Rollout, SHARES),
    st.builds(Internal, st.lists(st.sampled_from(["@school.example", *POOL[:3]]), max_size=2, unique=True).map(tuple)),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=st.dictionaries(st.sampled_from(["a", "b", "c"]), RULES, max_size=3),
    enrolled=st.sets(st.sampled_from(POOL), max_size=3),
    on=st.booleans(),
    data=st.data(),
)
async def test_sql_and_python_say_the_same_of_everybody(
    world: World, rules: dict[str, Rule], enrolled: set[str], on: bool, data: st.DataObject
) -> None:
    await world.know(*POOL[:5])
    name = f"f{await _count(world)}"
    await flag_of(world, name, **{f"{name}-{segment}": rule for segment, rule in rules.items()})
    if enrolled:
        await enrol(world.database, name, sorted(enrolled), author(world))
    await turn(world.database, name, author(world), on=on)
    users = [*POOL, data.draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9))]
    seen = (await FlagReader(world.database).refresh()).flags[name]
    in_sql = {(v.user_id, v.because, v.segment, v.version) for v in await check(world.database, users, flag=name)}
    in_python = {(user, (d := seen.decide(user)).because.value, d.segment, d.version) for user in users}
    assert in_sql == in_python
    known = {*POOL[:5], *enrolled, *(user for rule in rules.values() if isinstance(rule, Named) for user in rule.ids)}
    listed = {each.user_id for each in await members(world.database, name, limit=100)}
    assert {user for user in users if user in known and seen.decide(user).lets_in} == listed & set(users) & known


async def test_members_come_in_pages_without_gap_or_twice(world: World) -> None:
    people = [f"s{n:02}" for n in range(30)]
    await world.know(*people)
    await flag_of(world, beta=people[::3], gamma=people[::4], some=Rollout(40_000))
    await enrol(world.database, "live", people[1::7], author(world))
    whole = [each.user_id for each in await members(world.database, "live", limit=100)]
    paged: list[str] = []
    while page := await members(world.database, "live", after=paged[-1] if paged else "", limit=3):
        paged += [each.user_id for each in page]
    seen = (await FlagReader(world.database).refresh()).flags["live"]
    assert paged == whole == [user for user in people if seen.decide(user).lets_in]


async def _count(world: World) -> Any:
    return (await world.rows("select count(*) from hark.flag"))[0][0]
