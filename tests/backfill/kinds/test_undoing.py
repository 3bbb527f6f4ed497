"""Undoing, where much has happened since: what is forgotten, rows that came and went, two hands at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from hark.backfill import control
from hark.backfill.failures import retry_failures
from hark.backfill.forgetting import forget, forgettable
from hark.backfill.kind import Applied, Batch
from hark.backfill.kinds.preferences import PREFERENCES
from hark.backfill.undo import undo
from hark.errors import BadInput
from tests.backfill.campus import Campus
from tests.backfill.kinds.test_chains import Chain

# What is forgotten, and what is still to be taken back ---------------------------------------------------------------

POISON = """
create function hark.poison() returns trigger language plpgsql as $$
begin
    raise exception 'poisoned' using errcode = '22023';
end $$;
create trigger poison before update on hark.preference for each row execute function hark.poison();
"""


async def quarantined(campus: Campus, undoes: int) -> int:
    """An undo that one of the database's triggers keeps from the one user there is; the trigger is gone again."""
    await campus.run(POISON)
    back = await campus.undone(undoes)
    await campus.run("drop trigger poison on hark.preference")
    return back


async def failed_and_taken_back(campus: Campus) -> tuple[Chain, int, int]:
    """One that a first undo failed to take back and a second one did; it, and the first undo."""
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push"])
    (first,) = chain.backfills
    late = await quarantined(campus, first)
    await campus.undone(first)
    return chain, first, late


async def test_what_failed_to_be_taken_back_is_seen_to_before_it_is_forgotten(campus: Campus) -> None:
    _, first, late = await failed_and_taken_back(campus)

    with pytest.raises(BadInput, match=f"backfill {late} .*failures {late} --retry.*cancel {late}"):
        await forget(campus.database, first, who="paul", now=campus.clock.now())
    await control.cancel(campus.database, late, who="paul", now=campus.clock.now())
    await forget(campus.database, first, who="paul", now=campus.clock.now())
    assert await campus.state(late) == "CANCELED"


async def test_what_takes_back_what_was_forgotten_by_now_is_not_applied_again_and_takes_nothing(campus: Campus) -> None:
    """As it was forgotten before that was refused."""
    chain, first, late = await failed_and_taken_back(campus)
    await chain.run(["+push"])
    await campus.run("update hark.backfill set forgotten_at = %s where id = %s", campus.clock.now(), first)
    await campus.run("delete from hark.backfill_item where backfill_id = %s", first)

    for verb in (control.apply, retry_failures):
        with pytest.raises(BadInput, match=f"takes back backfill {first}, which was forgotten"):
            await verb(campus.database, late, who="olga", now=campus.clock.now())
    async with campus.database.transaction() as connection:
        await connection.execute(b"delete from hark.backfill_item where backfill_id = %s", [late])
        did = await PREFERENCES.apply(connection, Batch(late, 1), campus.clock.now())
    assert (did.applied, did.drifted) == (0, 1)
    assert await chain.held() == ["email", "push"]


async def test_those_that_ran_before_a_forgotten_one_are_named_and_cannot_be_undone_then(campus: Campus) -> None:
    await campus.people(
        {"ann": {"like": ["email"], "reply": ["email"]}, "bob": {"like": ["email"]}, "cat": {"like": []}}
    )
    first = await applied_to(campus, ["like"], "push")
    second = await applied_to(campus, ["like", "reply"], "in_app", ["ann"])
    elsewhere = await applied_to(campus, ["reply"], "push", ["ann"])
    last = await applied_to(campus, ["like"], "in_app", ["bob"])
    planned = await undo(campus.database, first, who="olga", now=campus.clock.now())
    await campus.planned(planned)

    await refused(campus, second, f"backfill {planned} takes back what was done before.*: .* cancel {planned}")
    await control.cancel(campus.database, planned, who="olga", now=campus.clock.now())
    assert (await forgettable(campus.database, second)).outlived == (first,)
    await forget(campus.database, second, who="paul", now=campus.clock.now())
    with pytest.raises(BadInput, match=f"{first} cannot be undone any more: backfill {second} may have changed"):
        await undo(campus.database, first, who="olga", now=campus.clock.now())
    assert (await forgettable(campus.database, first)).outlived == ()
    assert (await forgettable(campus.database, last)).outlived == (first,)
    await later(campus, campus.undone(elsewhere))
    assert (await campus.channels())["ann"] == {"like": ["email", "push", "in_app"], "reply": ["email", "in_app"]}


async def test_one_that_was_taken_back_is_named_too_and_what_failed_of_that_is_not_tried_again(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    first = await applied_to(campus, ["like"], "push")
    failed = await quarantined(campus, first)
    back = await later(campus, campus.undone(first))
    second = await applied_to(campus, ["like"], "push")
    assert (await forgettable(campus.database, second)).outlived == (first, back)
    await forget(campus.database, second, who="paul", now=campus.clock.now())

    for verb in (control.apply, retry_failures):
        with pytest.raises(BadInput, match=f"{first} cannot be undone any more.*; call it off, .*cancel {failed}"):
            await verb(campus.database, failed, who="olga", now=campus.clock.now())
    assert await campus.channels() == {"ann": {"like": ["email", "push"]}}


async def applied_to(campus: Campus, reasons: list[str], channel: str, members: list[str] | None = None) -> int:
    """A backfill that adds a channel, a minute on."""
    campus.clock.advance(timedelta(minutes=1))
    backfill = await campus.plan(reasons, [channel], members=members)
    await campus.apply(backfill)
    return backfill


async def refused(campus: Campus, backfill: int, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        await forget(campus.database, backfill, who="paul", now=campus.clock.now())


async def test_who_drifted_for_what_is_forgotten_did_not_choose_otherwise(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}, "bob": {"like": ["email"]}})
    late = await campus.plan(["like"], ["push"])
    first = await applied_to(campus, ["like"], "in_app")
    await campus.choose("bob", "like", [])
    await forget(campus.database, first, who="paul", now=campus.clock.now())
    await campus.apply(late)
    assert set(await why(campus, late)) == {
        f"is not as it was, and what backfill {first} changed since is forgotten",
        CHOSE,
    }


async def test_an_undo_of_what_is_forgotten_is_called_off(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    first = await applied_to(campus, ["like"], "push")
    await later(campus, campus.undone(first))
    idle = await undo(campus.database, first, who="olga", now=campus.clock.now())
    await campus.planned(idle)
    await forget(campus.database, first, who="paul", now=campus.clock.now())
    with pytest.raises(BadInput, match=f"nothing is left to do but hark backfill cancel {idle}"):
        await control.apply(campus.database, idle, who="olga", now=campus.clock.now())
    await control.cancel(campus.database, idle, who="olga", now=campus.clock.now())


async def test_an_undo_that_is_called_off_when_it_had_ended_did_what_it_did(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}, "bob": {"like": ["email"]}})
    first = await applied_to(campus, ["like"], "push")
    back = await later(campus, campus.undone(first))
    await campus.run(POISON.replace("for each row", "for each row when (new.recipient_id = 'bob')"))
    restored = await later(campus, campus.undone(back))
    await campus.run("drop trigger poison on hark.preference")
    ended = await campus.column("select ended_at from hark.backfill where id = %s", restored)
    for _ in range(2):
        assert (await campus.shown(first)).head.undone_by == []
        assert (await campus.shown(back)).head.undone_by == [restored]
        if await campus.state(restored) == "APPLIED":
            campus.clock.advance(timedelta(minutes=1))
            await control.cancel(campus.database, restored, who="paul", now=campus.clock.now())
    assert await campus.state(restored) == "CANCELED"
    assert await campus.column("select ended_at from hark.backfill where id = %s", restored) == ended


# Rows that came and went ---------------------------------------------------------------------------------------------


async def rows(campus: Campus) -> list[Any]:
    """The table, but for when it was written to."""
    return await campus.rows("select recipient_id, channels, frequencies, since, chose from hark.preference order by 1")


async def test_what_was_taken_back_with_its_row_is_restored_in_the_row_that_came_since(campus: Campus) -> None:
    people = ("ann", "bob", "cat", "dan")
    await campus.people(dict.fromkeys(people))
    first = await created(campus, ["like", "tip"])
    back = await later(campus, campus.undone(first))
    assert await campus.channels() == {}
    other = await created(campus, ["page"], members=["ann", "bob", "cat"])
    await campus.choose("bob", "tip", ["email"])
    await campus.run("update hark.preference set channels = channels || '{\"like\": []}' where recipient_id = 'cat'")
    had = await campus.channels()

    again = await later(campus, campus.undone(back))

    assert await campus.counts(again) == {
        ("like", "restore"): 3,
        ("like", "changed_since"): 1,
        ("tip", "restore"): 3,
        ("tip", "changed_since"): 1,
    }
    like, tip = {"like": ["in_app", "push"]}, {"tip": ["email", "push"]}
    assert await campus.channels() == {
        "ann": {**had["ann"], **like, **tip},
        "bob": {**had["bob"], **like},
        "cat": {**had["cat"], **tip},
        "dan": {**like, **tip},
    }
    assert (await campus.verified(again)).good
    await later(campus, campus.undone(again))
    assert await campus.channels() == had
    await later(campus, campus.undone(other))
    assert await campus.channels() == {"bob": {"tip": ["email"]}, "cat": {"like": []}}


async def later(campus: Campus, does: Awaitable[int]) -> int:
    """A minute on."""
    campus.clock.advance(timedelta(minutes=1))
    return await does


async def created(campus: Campus, reasons: list[str], members: list[str] | None = None) -> int:
    """A backfill that adds `push` and creates rows, applied a minute on."""
    campus.clock.advance(timedelta(minutes=1))
    backfill = await campus.plan(reasons, ["push"], create_rows=True, members=members)
    await campus.apply(backfill)
    return backfill


async def test_a_row_that_was_there_before_stays_though_backfills_had_made_one_once(campus: Campus) -> None:
    await campus.people({"ann": None})
    once = await created(campus, ["tip"])
    await later(campus, campus.undone(once))
    await campus.run("insert into hark.preference (recipient_id, updated_at) values ('ann', %s)", campus.clock.now())
    before = await rows(campus)
    backfill = await created(campus, ["like"])
    await later(campus, campus.undone(backfill))
    assert await rows(campus) == before == [("ann", {}, {}, {}, {})]


async def test_a_row_that_backfills_made_goes_with_the_last_of_them_also_after_undos_of_undos(campus: Campus) -> None:
    await campus.people({"ann": None, "bob": None})
    first = await created(campus, ["tip"])
    back = await later(campus, campus.undone(first))
    await later(campus, campus.undone(back))
    second = await created(campus, ["like"])
    await later(campus, campus.undone(first))
    await campus.run("update hark.preference set channels = '{}' where recipient_id = 'bob'")
    assert await campus.channels() == {"ann": {"like": ["in_app", "push"]}, "bob": {}}
    await later(campus, campus.undone(second))
    assert await campus.channels() == {"bob": {}}


# Why somebody drifted ------------------------------------------------------------------------------------------------

OTHER = "another backfill changed it since"
CHOSE = "chose otherwise since the plan"


async def why(campus: Campus, backfill: int) -> list[str]:
    return await campus.column("select why from hark.backfill_item where backfill_id = %s", backfill)


async def raced(campus: Campus, first: int, second: int) -> list[str]:
    """Two that are planned write to one row, the second while the first has not committed: why it did not."""
    campus.clock.advance(timedelta(minutes=1))
    now = campus.clock.now()
    async with campus.database.transaction() as connection:
        assert (await PREFERENCES.apply(connection, Batch(first, 1), now)).applied == 1
        late = asyncio.create_task(applied(campus, second))
        while await campus.column(WAITING) == [0]:
            assert not late.done()
    assert (await late).drifted == 1
    return await why(campus, second)


WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def applied(campus: Campus, backfill: int) -> Applied:
    async with campus.database.transaction() as connection:
        return await PREFERENCES.apply(connection, Batch(backfill, 1), campus.clock.now())


async def test_of_two_at_once_the_one_that_came_too_late_says_what_came_before(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    push, in_app = await campus.plan(["like"], ["push"]), await campus.plan(["like"], ["in_app"])
    assert await raced(campus, push, in_app) == [OTHER]
    await campus.run("update hark.backfill set state = 'APPLYING' where id = %s", push)
    await campus.run("update hark.backfill_batch set state = 'DONE', applied = 1 where backfill_id = %s", push)
    await campus.run("update hark.backfill set state = 'APPLIED' where id = %s", push)
    campus.clock.advance(timedelta(minutes=1))
    backs = [await undo(campus.database, push, who="olga", now=campus.clock.now()) for _ in range(2)]
    for back in backs:
        await campus.planned(back)
    assert await raced(campus, *backs) == [OTHER]
    assert await campus.channels() == {"ann": {"like": ["email"]}}


async def test_two_that_create_a_row_at_once_say_so_too(campus: Campus) -> None:
    await campus.people({"ann": None})
    like, tip = [await campus.plan([reason], ["push"], create_rows=True) for reason in ("like", "tip")]
    assert await raced(campus, like, tip) == [OTHER]


@pytest.mark.parametrize("since", ["+email", "-1"])
async def test_what_drifted_is_told_by_what_came_since_it_was_planned(since: str, campus: Campus) -> None:
    await campus.people({"ann": {"like": []}})
    chain = Chain(campus, "ann")
    late = await campus.ask(["like"], ["push"])
    await chain.run(["!", "+in_app"])
    campus.clock.advance(timedelta(minutes=1))
    await campus.planned(late)
    if since == "-1":
        await later(campus, campus.undone(chain.backfills[0]))
    else:
        await chain.run([since])
    await campus.apply(late)
    assert await why(campus, late) == [OTHER]


async def test_who_chose_since_it_was_planned_did_so_though_a_backfill_came_too(campus: Campus) -> None:
    await campus.people({"ann": {"like": []}})
    chain = Chain(campus, "ann")
    late = await campus.plan(["like"], ["push"])
    await chain.run(["+in_app", "!email"])
    await campus.apply(late)
    assert await why(campus, late) == [CHOSE]
