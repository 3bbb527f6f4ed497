"""Forgetting: who the users of a backfill were goes, how many got what stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark.backfill import control
from hark.backfill.forgetting import Forgettable, forget, forget_ownerless, forgettable
from hark.backfill.undo import undo
from hark.errors import BadInput
from tests.backfill.campus import Campus
from tests.backfill.test_run import twelve


async def test_who_they_were_goes_and_how_many_got_what_stays(campus: Campus) -> None:
    backfill, now = await twelve(campus, batch_size=1), campus.clock.now()
    await campus.apply(backfill)
    held, counted = await campus.channels(), await campus.counts(backfill)
    assert await forgettable(campus.database, backfill) == Forgettable(backfill, 12, 12, 0, shared=False)
    assert await campus.column("select count(*) from hark.backfill_item") == [12]

    await forget(campus.database, backfill, who="paul", now=now)

    for table in ("hark.backfill_item", "hark.cohort_member", "hark.cohort_fault"):
        assert await campus.column(f"select count(*) from {table}") == [0]
    assert await campus.column(
        "select count(*) from hark.backfill_part where members <> '{}' or change is not null"
    ) == [0]
    assert (await campus.channels(), await campus.counts(backfill)) == (held, counted)
    shown = await campus.shown(backfill)
    assert (shown.totals.applied, shown.samples, shown.events[0].what) == (12, [], "forgotten")
    for verb in (
        campus.verified(backfill),
        undo(campus.database, backfill, who="olga", now=now),
        control.apply(campus.database, backfill, who="olga", now=now),
    ):
        with pytest.raises(BadInput, match="was forgotten"):
            await verb


async def test_what_was_forgotten_is_not_counted_again_but_for_what_is_left(campus: Campus) -> None:
    backfill, now = await twelve(campus, batch_size=3), campus.clock.now()
    await campus.apply(backfill)
    await campus.run("update hark.backfill set forgotten_at = %s", now)
    await campus.run("update hark.backfill_part set members = '{}' where batch = 1")
    left = await forget(campus.database, backfill, who="paul", now=now)
    assert left == Forgettable(backfill, 9, 9, 0, shared=False, forgotten=True)
    again = Forgettable(backfill, 0, 0, 0, shared=False, forgotten=True)
    assert await forgettable(campus.database, backfill) == again
    assert (await campus.shown(backfill)).head.forgotten_at == now


async def test_what_goes_on_or_is_being_taken_back_is_not_forgotten(campus: Campus) -> None:
    backfill, now = await twelve(campus), campus.clock.now()
    with pytest.raises(BadInput, match="let it end, or cancel it"):
        await forget(campus.database, backfill, who="paul", now=now)
    await campus.apply(backfill)
    back = await undo(campus.database, backfill, who="olga", now=now)
    with pytest.raises(BadInput, match=f"being taken back by backfill {back}"):
        await forget(campus.database, backfill, who="paul", now=now)
    await control.cancel(campus.database, back, who="olga", now=now)
    assert (await forget(campus.database, backfill, who="paul", now=now)).shared
    assert await campus.column("select count(*) from hark.cohort_member") == [12]
    await forget(campus.database, back, who="paul", now=now)
    assert await campus.column("select count(*) from hark.cohort_member") == [0]


async def test_a_cohort_that_is_nobodys_is_forgotten_after_a_day(campus: Campus) -> None:
    await campus.people({"ann": {}})
    await campus.plan()
    await campus.cohort()
    assert await forget_ownerless(campus.database, now=campus.clock.now()) == 0
    assert await forget_ownerless(campus.database, now=campus.clock.now() + timedelta(days=2)) == 1
    assert await campus.column("select count(*) from hark.cohort_member") == [1]


async def test_what_took_something_back_is_forgotten_after_what_it_took_back(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}})
    first, now = await campus.plan(), campus.clock.now()
    await campus.apply(first)
    back = await campus.undone(first)
    again = await campus.undone(back)
    idle = await undo(campus.database, first, who="olga", now=now)
    await control.cancel(campus.database, idle, who="olga", now=now)
    await forget(campus.database, idle, who="paul", now=now)
    with pytest.raises(
        BadInput, match=f"backfill {again} took back what backfill {back} .*forget {first} and {back} first"
    ):
        await forget(campus.database, again, who="paul", now=now)
    with pytest.raises(BadInput, match=f"forget {first} first"):
        await forgettable(campus.database, back)
    for each in (first, back, again):
        await forget(campus.database, each, who="paul", now=now)
    assert await campus.column("select count(*) from hark.backfill_item") == [0]


async def test_what_is_forgotten_explains_nothing_and_is_named(campus: Campus) -> None:
    """As it was forgotten before the order was kept."""
    await campus.people({"ann": {"reply": ["email"]}, "bob": {"reply": ["email"], "like": []}})
    first, now = await campus.plan(members=["ann"]), campus.clock.now()
    await campus.apply(first)
    back = await campus.undone(first)
    again = await campus.undone(back)
    other = await campus.plan(["like"], members=["bob"])
    await campus.apply(other)
    await forget(campus.database, other, who="paul", now=now)
    await campus.run('update hark.preference set channels = \'{"reply": ["email"]}\'')
    await forgotten_before(campus, again)
    seen = await campus.verified(first)
    assert (seen.good, seen.whys) == (False, {f"does not hold, and what backfill {again} changed is forgotten": 1})
    await forgotten_before(campus, back)
    seen = await campus.verified(first)
    assert seen.whys == {f"does not hold, and what backfills {back} and {again} changed is forgotten": 1}


async def forgotten_before(campus: Campus, backfill: int) -> None:
    await campus.run("update hark.backfill set forgotten_at = %s where id = %s", campus.clock.now(), backfill)
    await campus.run("delete from hark.backfill_item where backfill_id = %s", backfill)


async def test_what_ran_before_one_that_is_forgotten_cannot_be_undone_any_more(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}})
    first = await campus.plan(channels=["push"])
    await campus.apply(first)
    campus.clock.advance(timedelta(minutes=1))
    second = await campus.plan(channels=["in_app"])
    await campus.apply(second)
    campus.clock.advance(timedelta(minutes=1))
    back = await campus.undone(second)
    assert (await forgettable(campus.database, second)).outlived == (first,)
    await forget(campus.database, second, who="paul", now=campus.clock.now())
    assert (await campus.verified(first)).good
    with pytest.raises(BadInput, match=f"{first} cannot be undone any more: backfill {second} may have changed"):
        await campus.undone(first)
    await forget(campus.database, back, who="paul", now=campus.clock.now())
    assert (await campus.verified(first)).good
    assert await campus.channels() == {"ann": {"reply": ["email", "push"]}}
