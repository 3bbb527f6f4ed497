"""Undoing, where much has happened since: what is forgotten, rows that came and went, two hands at once."""

from __future__ import annotations

import pytest

from hark.backfill import control
from hark.backfill.failures import retry_failures
from hark.backfill.forgetting import forget
from hark.backfill.kind import Batch
from hark.backfill.kinds.preferences import PREFERENCES
from hark.backfill.undo import undo
from hark.errors import BadInput
from tests.backfill.campus import Campus
from tests.backfill.kinds.test_chains import MINE, OTHERS, Chain


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


async def test_what_failed_to_be_taken_back_is_seen_to_before_it_is_forgotten(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push"])
    (first,) = chain.backfills
    late = await quarantined(campus, first)
    await campus.undone(first)

    with pytest.raises(BadInput, match=f"backfill {late} .*failures {late} --retry.*cancel {late}"):
        await forget(campus.database, first, who="paul", now=campus.clock.now())
    await control.cancel(campus.database, late, who="paul", now=campus.clock.now())
    await forget(campus.database, first, who="paul", now=campus.clock.now())
    assert await campus.state(late) == "CANCELED"


async def test_what_takes_back_what_was_forgotten_by_now_is_not_applied_again_and_takes_nothing(campus: Campus) -> None:
    """As it was forgotten before that was refused."""
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push"])
    (first,) = chain.backfills
    late = await quarantined(campus, first)
    await campus.undone(first)
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


async def test_what_a_forgotten_one_may_have_given_since_is_left_alone(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"], "reply": ["email"]}})
    chain = Chain(campus, "ann")
    elsewhere = await campus.plan(["reply"], ["push"])
    await campus.apply(elsewhere)
    await chain.run(["+push", "=email", "+push"])
    await campus.run("update hark.preference set channels = channels || '{\"reply\": [\"email\", \"push\"]}'")
    first, second = chain.backfills
    late = await undo(campus.database, first, who="olga", now=campus.clock.now())
    await campus.planned(late)
    await control.cancel(campus.database, late, who="olga", now=campus.clock.now())
    await forget(campus.database, second, who="paul", now=campus.clock.now())

    assert await chain.whose(1) == OTHERS
    again = await campus.undone(elsewhere)
    assert (await campus.shown(again)).totals.applied == 1
    assert await campus.channels() == {"ann": {"like": ["email", "push"], "reply": ["email"]}}


async def test_an_undo_that_was_planned_before_takes_nothing_that_a_forgotten_one_gave(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push"])
    late = await undo(campus.database, chain.backfills[0], who="olga", now=campus.clock.now())
    await campus.planned(late)
    await chain.run(["=email", "+push"])
    await forget(campus.database, chain.backfills[1], who="paul", now=campus.clock.now())
    await campus.apply(late)
    assert await chain.held() == ["email", "push"]


async def test_of_a_forgotten_one_that_was_undone_the_undo_says_whom_it_left_as_they_were(campus: Campus) -> None:
    await campus.people({"ann": {"like": ["email"]}})
    chain = Chain(campus, "ann")
    await chain.run(["+push", "+in_app"])
    back = await campus.undone(chain.backfills[1])
    await forget(campus.database, chain.backfills[1], who="paul", now=campus.clock.now())
    assert await chain.whose(1) == MINE
    await campus.undone(back)
    await campus.run("update hark.preference set channels = '{\"like\": [\"email\", \"push\"]}'")
    assert await chain.whose(1) == OTHERS
