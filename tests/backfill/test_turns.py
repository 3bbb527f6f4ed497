"""Several runs at one worker: each gets its turn, however long another one goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark.backfill import control
from hark.backfill.batches import Step
from hark.backfill.request import Notify
from hark.backfill.run import Runner
from hark.backfill.undo import undo
from tests.backfill.campus import Campus

LONG = 40
"""Batches of a run that does not end while a test looks."""


async def endless(campus: Campus, **asked: object) -> int:
    """A run of many batches, being applied."""
    await campus.people({f"u{number:02}": {"reply": ["email"]} for number in range(LONG)})
    return await applying(campus, batch_size=1, **asked)


async def applying(campus: Campus, *given: object, **asked: object) -> int:
    """Planned, and started."""
    backfill = await campus.plan(*given, **asked)
    await started(campus, backfill)
    return backfill


async def started(campus: Campus, backfill: int) -> None:
    await control.apply(campus.database, backfill, who="olga", now=campus.clock.now())


async def steps_until(campus: Campus, runner: Runner, backfill: int, state: str) -> int:
    """How many steps of a worker it takes."""
    for taken in range(LONG // 2):
        if await campus.state(backfill) == state:
            return taken
        await runner.step_any()
    pytest.fail(f"is still {await campus.state(backfill)}")


async def done(campus: Campus, backfill: int) -> int:
    """Its batches that are done."""
    return (await campus.shown(backfill)).totals.batches_done


async def waited(campus: Campus, backfill: int) -> dict[str, float]:
    return {each.why: each.seconds for each in (await campus.shown(backfill)).waited}


async def test_a_plan_does_not_wait_for_a_long_run(campus: Campus) -> None:
    long, runner = await endless(campus), campus.runner()
    await runner.step_any()
    asked = await campus.ask(["tip"], ["push"], batch_size=500)
    assert await steps_until(campus, runner, asked, "PLANNED") <= 4
    assert (await campus.shown(asked)).estimate is not None
    assert await campus.state(long) == "APPLYING"


async def test_a_small_run_and_an_undo_do_not_wait_for_a_long_one_nor_that_one_for_them(campus: Campus) -> None:
    await campus.people({"ann": {"reply": ["email"]}})
    ended = await campus.plan(members=["ann"])
    await campus.apply(ended)
    long, runner = await endless(campus), campus.runner()
    small = await applying(campus, ["tip"], ["push"], members=["ann", "u01", "u02"], batch_size=1)
    back = await undo(campus.database, ended, who="olga", now=campus.clock.now())
    assert await steps_until(campus, runner, back, "PLANNED") <= 9
    await started(campus, back)
    assert await steps_until(campus, runner, small, "APPLIED") <= 15
    assert await steps_until(campus, runner, back, "APPLIED") <= 6
    assert (await campus.channels())["ann"] == {"reply": ["email"], "tip": ["email", "push"]}
    before = await done(campus, long)
    assert before >= 4
    for _ in range(5):
        await runner.step_any()
    assert (await campus.state(long), await done(campus, long)) == ("APPLYING", before + 5)


async def test_two_long_runs_go_on_alike(campus: Campus) -> None:
    first, runner = await endless(campus), campus.runner()
    second = await applying(campus, ["tip"], ["push"], batch_size=1)
    for _ in range(20):
        assert (await runner.step_any()).did
    assert (await done(campus, first), await done(campus, second)) == (10, 10)


async def test_a_run_that_has_nothing_to_do_takes_no_turn(campus: Campus) -> None:
    first, runner = await endless(campus), campus.runner()
    await control.pause(campus.database, first, who="olga", now=campus.clock.now())
    second = await applying(campus, ["tip"], ["push"], batch_size=1)
    await control.resume(campus.database, first, who="olga", now=campus.clock.now())
    await campus.run("update hark.backfill_batch set due_at = now() + '1 year' where backfill_id = %s", first)
    for _ in range(5):
        assert (await runner.step_any()).did
    assert (await done(campus, first), await done(campus, second)) == (0, 5)


async def test_to_wait_for_its_turn_is_accounted_as_that_and_is_no_stall(campus: Campus) -> None:
    def slowly(step: object) -> None:
        if step is Step.COMMITTED:
            campus.clock.advance(timedelta(minutes=7))

    long, runner = await endless(campus), campus.runner(passed=slowly)
    longer = await applying(campus, ["tip"], ["push"], batch_size=1)
    told = await applying(campus, ["like"], ["push"], batch_size=30, notify=Notify("done", ("olga",)))
    for _ in range(3):
        await runner.step_any()
    assert [await done(campus, each) for each in (long, longer, told)] == [1, 1, 1]
    await campus.run(
        "update hark.backfill_batch set state = 'CLAIMED', worker = 'other/1', attempt = 1, lease_until = %s"
        " where backfill_id = %s and state = 'WAITING'",
        campus.clock.now() + timedelta(days=1),
        told,
    )
    for _ in range(3):
        await runner.step_any()
    assert [await done(campus, each) for each in (long, longer, told)] == [3, 2, 1]
    assert await waited(campus, told) == {"turn": 28 * 60}
    assert await campus.column("select payload ->> 'why' from hark.event") == []

    campus.clock.advance(timedelta(minutes=11))
    await runner.step(told)
    assert await campus.column("select payload ->> 'why' from hark.event") == ["stalled: others"]
