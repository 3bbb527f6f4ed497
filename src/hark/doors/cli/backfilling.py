"""Backfills at the command line: planned and applied in the foreground, with progress; ended with grace."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hark.backfill import control, ordering
from hark.backfill.cohort import FileReach, place_of
from hark.backfill.kinds import KINDS
from hark.backfill.listing import Shown, Totals, show, totals
from hark.backfill.rehearse import rehearse
from hark.backfill.run import Runner
from hark.backfill.states import State
from hark.backfill.steering import Stepped
from hark.catalogue import load_catalogue
from hark.clock import DatabaseClock
from hark.doors.cli.backfill_pages import planned_by
from hark.doors.cli.backfill_progress import Progress, pause
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.loads import has_sources, loading
from hark.doors.cli.logs import log_to_stderr
from hark.doors.cli.session import Session
from hark.doors.cli.stopping import Stop
from hark.errors import BadInput, CatalogueFaults, Unreachable
from hark.postgres.database import Database, is_passing
from hark.postgres.holder import worker_name

if TYPE_CHECKING:
    from hark.backfill.webhook import Hook
    from hark.guarded.client import Guarded

_HANDS = 2
"""Batches that this process works at, at once."""

_PATIENCE_S, _OWN_PATIENCE_S = 600.0, 30.0
"""How long a database that is away is waited for; and Hark's own."""


@dataclass(slots=True)
class Absence:
    """Since when the database is away, by this process's clock; None: it is there."""

    since: float | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a verb works on backfills: the session, the database's clock, and how to be told to stop."""

    call: Call
    session: Session
    clock: DatabaseClock
    stop: Stop
    hook: Hook | None
    client: Guarded | None

    @property
    def database(self) -> Database:
        """The session's."""
        return self.session.database

    @property
    def reach(self) -> FileReach:
        """From where this user may have files read."""
        return reach_of(self.call)


def reach_of(call: Call) -> FileReach:
    """From where who calls may have files read: any path of theirs, and the one object that their variables name."""
    return FileReach.of(call.settings, local=True).also(place_of(os.environ))


@asynccontextmanager
async def bench(call: Call, *, install: bool = False) -> AsyncIterator[Bench]:
    """A place to work at backfills, for the time of a block."""
    log_to_stderr(call.settings.log_level)
    async with call.session(size=_HANDS + 7, install=install) as session:
        clock = await DatabaseClock.start(session.database)
        with Stop(call.output) as stop:
            async with _open_hook(call, clock) as (client, hook):
                yield Bench(call, session, clock, stop, hook, client)


@asynccontextmanager
async def _open_hook(call: Call, clock: DatabaseClock) -> AsyncIterator[tuple[Guarded | None, Hook | None]]:
    """The way out over HTTP, if anything goes out; and the catalogue's webhook, if there is one that can be read."""
    url = _url(call)
    if url is None and not has_sources(call.settings):
        yield None, None
        return
    from hark.backfill.webhook import Hook
    from hark.guarded.client import Guarded

    client = Guarded(call.settings.http_allow_private)
    hook = Hook.of(url, call.settings, client, clock)
    try:
        yield client, hook
    finally:
        if hook is not None:
            await hook.close()
        await client.close()


def _url(call: Call) -> str | None:
    if call.settings.catalogue is None:
        return None
    try:
        return load_catalogue(call.settings.catalogue, os.environ).backfills.webhook
    except CatalogueFaults:
        call.output.note("the catalogue cannot be read, so no webhook is called; hark catalogue check says why")
        return None


async def plan(at: Bench, backfill: int) -> Shown:
    """Plan to the end, and measure what it will cost."""
    await _work(at, backfill, "planning", State.PLANNING)
    seen = await show(at.database, backfill)
    if at.stop.event.is_set() or seen.head.state != State.PLANNED or seen.head.rehearsal is not None:
        return seen
    await rehearse(at.database, backfill, at.clock.now())
    return await show(at.database, backfill)


async def plan_what_is_left(at: Bench, backfill: int) -> Shown | None:
    """Plan one that nobody has planned so far, be it that no worker is at it; None: it is planned."""
    if (await control.stand(at.database, backfill)).state is not State.PLANNING:
        return None
    at.call.go_on = planned_by(backfill)
    return await plan(at, backfill)


def is_good(plan: Shown) -> bool:
    """Whether it could be planned at all."""
    return plan.head.state != State.FAILED


async def start(at: Bench, backfill: int, who: str, plan_hash: str | None, *, detach: bool) -> ExitCode:
    """Let a plan be applied, and take part in it unless that is left to workers.

    Raises:
        BadInput: this process cannot take part in it; or what `ordering.apply_plan` refuses.
    """
    if not detach:
        await _check_sources(at, backfill)
    work = ordering.apply_plan(at.database, backfill, who=who, now=at.clock.now(), reach=at.reach, plan_hash=plan_hash)
    if await at.stop.unless_told(work) is None:
        at.call.go_on = f"hark backfill apply {backfill} looks again whether its lists are as they were"
        return at.stop.end(at.call)
    return await take_part(at, backfill, detach=detach)


async def take_part(at: Bench, backfill: int, *, detach: bool) -> ExitCode:
    """Apply batches until none is left, somebody holds it, or we are told to stop."""
    at.call.go_on = f"hark backfill apply {backfill} goes on where it was (and workers may by themselves)"
    if detach:
        at.call.output.note(f"left to workers; hark backfill show {backfill} says how far it is")
        return ExitCode.DONE
    await _check_sources(at, backfill)
    await _work(at, backfill, "applying", State.APPLYING)
    return _code(at, await control.stand(at.database, backfill), await totals(at.database, backfill))


def _code(at: Bench, stand: control.Stand, seen: Totals) -> ExitCode:
    if at.stop.event.is_set():
        return at.stop.end(at.call)
    if stand.state is State.PAUSED:
        at.call.output.note(f"paused; hark backfill resume {stand.id} goes on")
        return ExitCode.DONE
    well = stand.state in (State.APPLIED, State.VERIFIED) and not seen.quarantined
    return ExitCode.DONE if well else ExitCode.NOT_GOOD


async def _work(at: Bench, backfill: int, doing: str, state: State) -> None:
    hands = _HANDS if state is State.APPLYING else 1
    runner, told = _runner(at), Progress(at.database, at.call.output, backfill)
    over = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(told.tell(doing, over))
            async with asyncio.TaskGroup() as work:
                for _ in range(hands):
                    work.create_task(_hand(at, runner, told, state))
            over.set()
    finally:
        await runner.close()


def _runner(at: Bench) -> Runner:
    settings = at.call.settings
    return Runner(
        at.database,
        at.clock,
        worker_name(),
        lease=settings.lease,
        reach=at.reach,
        webhook=at.hook,
        outside=loading(at.database, settings, at.client, at.clock),
    )


async def _check_sources(at: Bench, backfill: int) -> None:
    """A kind that goes outside needs its sources here, or is left to workers that have them."""
    needs = KINDS[(await show(at.database, backfill)).head.kind].goes_outside
    if needs and not loading(at.database, at.call.settings, at.client, at.clock):
        raise BadInput(
            "a load asks the sources purchase and shop: set HARK_PURCHASE_URL and HARK_SHOP_URL, or leave it to workers"
            " that have them with --detach"
        )


async def _hand(at: Bench, runner: Runner, told: Progress, state: State) -> None:
    absence, backfill = Absence(), told.backfill
    while not at.stop.event.is_set():
        stepped = await _step(at, runner, backfill, absence)
        if stepped.over or (state is State.PLANNING and stepped.did and await _is_planned(at, backfill)):
            return
        told.met(stepped.obstacle)
        if stepped.obstacle is not None:
            wait = (stepped.obstacle.until - at.clock.now()).total_seconds()
            await pause(at.stop.event, min(max(wait, 0.01), 1.0))


async def _step(at: Bench, runner: Runner, backfill: int, absence: Absence) -> Stepped:
    """A database, or the brokers of a load, that are away for a while are waited for, as workers do."""
    try:
        stepped = await runner.step(backfill)
    except Exception as error:
        if not is_passing(error):
            raise
        _check_absence(at, backfill, absence, _missing(error))
        await pause(at.stop.event, 1.0)
        return Stepped(did=False)
    absence.since = None
    return stepped


def _missing(error: Exception) -> str:
    """What is away, in words: what cannot be reached says so itself, and it need not be Postgres."""
    return str(error).partition("\n")[0] if isinstance(error, Unreachable) else "Postgres is away"


def _check_absence(at: Bench, backfill: int, absence: Absence, missing: str) -> None:
    """Said once; and not waited for without end: nobody starts Hark's own Postgres again, if it was killed."""
    now = time.monotonic()
    if absence.since is None:
        absence.since = now
        at.call.output.note(f"{missing}; waiting for it")
    patience = _PATIENCE_S if at.call.settings.database_url is not None else _OWN_PATIENCE_S
    if (away := now - absence.since) > patience:
        raise Unreachable(f"{missing}, for {away:.0f} s now; hark backfill apply {backfill} goes on")


async def _is_planned(at: Bench, backfill: int) -> bool:
    return (await control.stand(at.database, backfill)).state is not State.PLANNING
