"""Undoing, where much has happened since: what is forgotten, rows that came and went, two hands at once."""

from __future__ import annotations

import pytest

from hark.backfill import control
from hark.backfill.failures import retry_failures
from hark.backfill.forgetting import forget
from hark.backfill.kind import Batch
from hark.backfill.kinds.preferences import PREFERENCES
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
