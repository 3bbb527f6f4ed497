"""Backfills, steered: apply, approve, pause, resume, cancel, speed, stop-all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.verbs.backfill_words import (
    AdaptiveOrAsIs,
    AnyTime,
    Detach,
    Hours,
    Id,
    NoRate,
    Rate,
    Who,
    say,
    say_stand,
    who_does_it,
)


@dataclass(frozen=True, slots=True)
class _Switch:
    stopped: bool
    turned: bool


@dataclass(frozen=True, slots=True)
class _Speed:
    id: int
    rate: float | None
    adaptive: bool
    window: str | None


async def apply(
    call: Call,
    backfill: Id,
    plan_hash: Annotated[
        str | None, typer.Option("--hash", metavar="HASH", help="Of the plan that you looked at; refuse another.")
    ] = None,
    detach: Detach = False,
    who: Who = None,
) -> ExitCode:
    """Apply a plan, exactly as it was shown; or take part in one that is being applied.

    What is still to be planned, as who asked for it went away, is planned; what it would do is shown, not done.
    """
    from hark.backfill import control
    from hark.backfill.states import State
    from hark.doors.cli import backfill_pages as pages
    from hark.doors.cli import backfilling

    async with backfilling.bench(call) as at:
        control.check_hash(await control.remembered(at.database, backfill), plan_hash)
        plan = await backfilling.plan_what_is_left(at, backfill)
        if at.stop.event.is_set():
            return at.stop.end(call)
        if plan is not None and plan.head.state in (State.PLANNED, State.FAILED):
            call.output.note(f"backfill {backfill} was still to be planned; this is its plan, and nothing is applied")
            call.output.show(plan, pages.plan(plan, plan.cohort))
            return ExitCode.NOT_GOOD
        code = await backfilling.start(at, backfill, who_does_it(who), plan_hash, detach=detach)
        await say(call, at.database, backfill)
        return code


async def approve(call: Call, backfill: Id, who: Who = None) -> None:
    """Agree to a plan, as a second person."""
    from hark.backfill import control

    async with call.session(size=1) as session:
        now = await session.database.now()
        say_stand(call, await control.approve(session.database, backfill, who=who_does_it(who), now=now))


async def pause(call: Call, backfill: Id, who: Who = None) -> None:
    """Stop after the batches under way. When this returns, nothing is being written."""
    from hark.backfill import control

    async with call.session(size=1) as session:
        now = await session.database.now()
        say_stand(call, await control.pause(session.database, backfill, who=who_does_it(who), now=now))


async def resume(call: Call, backfill: Id, detach: Detach = False, who: Who = None) -> ExitCode:
    """Go on where it was paused."""
    from hark.backfill import control
    from hark.doors.cli import backfilling

    async with backfilling.bench(call) as at:
        await control.resume(at.database, backfill, who=who_does_it(who), now=at.clock.now())
        code = await backfilling.take_part(at, backfill, detach=detach)
        await say(call, at.database, backfill)
        return code


async def cancel(call: Call, backfill: Id, who: Who = None) -> None:
    """Call it off. What was applied stays; hark backfill undo takes it back."""
    from hark.backfill import control
    from hark.doors.cli import backfilling

    async with backfilling.bench(call) as at:
        by, now = who_does_it(who), at.clock.now()
        say_stand(call, await control.cancel(at.database, backfill, who=by, now=now, webhook=at.hook))


async def speed(
    call: Call,
    backfill: Id,
    rate: Rate = None,
    no_rate: NoRate = False,
    adaptive: AdaptiveOrAsIs = None,
    window: Hours = None,
    any_time: AnyTime = False,
    who: Who = None,
) -> None:
    """Change how fast and when, also while it runs. What is left out stays as it is."""
    from hark.backfill import control
    from hark.backfill.ordering import read_change
    from hark.backfill.reading import Reading
    from hark.backfill.request import check_who

    reading = Reading()
    change = reading.take(
        lambda: control.check_change(
            read_change(rate, adaptive=adaptive, window=window, any_rate=no_rate, any_time=any_time)
        )
    )
    by = reading.take(lambda: check_who(who_does_it(who)))
    reading.end()
    assert change is not None and by is not None
    async with call.session(size=1) as session:
        now = await session.database.now()
        pace = await control.speed(session.database, backfill, change, who=by, now=now)
    window_now = str(pace.window) if pace.window else None
    call.output.show(_Speed(backfill, pace.rate, pace.adaptive, window_now), [f"backfill {backfill}: {pace}"])


async def stop_all(
    call: Call,
    release: Annotated[bool, typer.Option("--release", help="Let them go on.")] = False,
    who: Who = None,
) -> None:
    """Hold all backfills at once. When this returns, none is writing anything."""
    from hark.access.audit import Act, record
    from hark.backfill import control
    from hark.backfill.request import check_who
    from hark.doors.cli.backfill_pages import HELD

    async with call.session(size=2) as session:
        now, by = await session.database.now(), f"cli:{check_who(who_does_it(who))}"
        await record(session.database, now, by, Act.BACKFILL_STOP_ALL, "all backfills", {"stopped": not release})
        turned = await control.stop_all(session.database, stopped=not release, who=who_does_it(who), now=now)
    said = "all backfills may go on" if release else HELD
    call.output.show(_Switch(not release, turned), [said if turned else f"so it was already: {said}"])
