"""How far a backfill at the command line is: its rate, the time left, and what it waits for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from hark.backfill import control
from hark.backfill.listing import Totals, totals
from hark.backfill.steering import Obstacle
from hark.backfill.throttle import Why
from hark.doors.cli import queues
from hark.doors.cli.backfill_pages import HELD
from hark.doors.cli.output import Output, printable
from hark.history.loading.course import SAID, Stage, Stand, standing
from hark.postgres.database import Database, is_passing

_LOOK_S = 0.5
_QUEUE_S = 10.0
"""How often it is asked how full a queue is."""


@dataclass(slots=True)
class Pulse:
    """The rate of the last while, and when a run may be done by it: from the fastest and the slowest of it."""

    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=60))

    def note(self, seconds: float, done: int) -> None:
        """So much is done after so many seconds."""
        self.seen.append((seconds, done))

    def rates(self) -> list[float]:
        """Of each third of what was seen."""
        if len(self.seen) < 4:
            return []
        step = max(1, (len(self.seen) - 1) // 3)
        points = list(self.seen)[::step]
        return [(done - had) / (at - since) for (since, had), (at, done) in pairwise(points) if at > since]

    def left(self, todo: int) -> tuple[timedelta, timedelta] | None:
        """How long the rest may take, from and to; None: nobody can say yet."""
        rates = [rate for rate in self.rates() if rate > 0]
        if not rates or len(rates) < len(self.rates()):
            return None
        return timedelta(seconds=round(todo / max(rates))), timedelta(seconds=round(todo / min(rates)))


@dataclass(slots=True)
class Progress:
    """What is told of one run while this process works at it: every now and then, until it is over."""

    database: Database
    output: Output
    backfill: int
    _held_said: bool = False

    def met(self, obstacle: Obstacle | None) -> None:
        """Say, once, that nothing goes on because all are held: no bar would move, and nobody would know why."""
        if obstacle is None or obstacle.why is not Why.STOPPED or self._held_said:
            return
        self._held_said = True
        self.output.note(HELD)

    async def tell(self, doing: str, over: asyncio.Event) -> None:
        """Look how far it is every now and then, until it is over."""
        filled = _Filled(self.database, self.backfill)
        async with filled.looked_at():
            await self._tell_beside(doing, over, filled)

    async def _tell_beside(self, doing: str, over: asyncio.Event, filled: _Filled) -> None:
        pulse, begun = Pulse(), asyncio.get_running_loop().time()
        stand = await control.stand(self.database, self.backfill)
        total = stand.to_change if doing == "applying" else None
        seen, seen_course = await totals(self.database, self.backfill), ""
        with self.output.progress(printable(doing), total) as told:
            while not over.is_set():
                seen, seen_course = await _seen(self.database, self.backfill, seen, seen_course)
                done = seen.to_change - seen.left if doing == "applying" else seen.members
                pulse.note(asyncio.get_running_loop().time() - begun, done)
                told(done, line(seen, pulse, seen_course, filled.said)) if doing == "applying" else told(done)
                await pause(over, _LOOK_S)


async def _seen(database: Database, backfill: int, last: Totals, last_course: str) -> tuple[Totals, str]:
    """How far it is, and of a load what it waits for; as far as it was when the database is away."""
    try:
        return await totals(database, backfill), course_line(await standing(database, backfill))
    except Exception as error:
        if not is_passing(error):
            raise
        return last, last_course


@dataclass(slots=True)
class _Filled:
    """How full the queue is that a load is driven through, asked beside: it may take long to answer.

    Attributes:
        said: empty: no queue, or nothing is known yet.
    """

    database: Database
    backfill: int
    said: str = ""

    @asynccontextmanager
    async def looked_at(self) -> AsyncIterator[None]:
        """Ask every now and then, for the time of a block."""
        asking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                self.said = "; ".join(each.brief() for each in await queues.ask(self.database, [self.backfill]))
            except Exception as error:
                if not is_passing(error):
                    raise
            await asyncio.sleep(_QUEUE_S)


_WHO_MOVES_IT = {
    Stage.STREAM: "hark ingest reads it",
    Stage.GRAPH: "hark worker or hark serve projects",
}
"""What is to run for a stage to pass that is not done here."""


def course_line(found: Stand | None) -> str:
    """Where a load is, where that is not the loading itself, and what it waits for; else nothing."""
    if found is None or (found.stage == Stage.LOAD and not found.waits_for):
        return ""
    stage = Stage(found.stage)
    waits = f", for {found.waits_for}" if found.waits_for else ""
    moves = f" ({_WHO_MOVES_IT[stage]})" if found.waits_for and stage in _WHO_MOVES_IT else ""
    return f"{stage}: {SAID[stage]}{waits}{moves}"


def line(seen: Totals, pulse: Pulse, course: str = "", queue: str = "") -> str:
    """How it goes, for a progress bar: the rate, the time left, what is not as planned, and where a load is.

    Args:
        course: what `course_line` says.
        queue: how full the queue is that it is driven through.
    """
    if course:
        return course
    rates, left = pulse.rates(), pulse.left(seen.left)
    parts = [f"{rates[-1]:,.0f}/s"] if rates else []
    parts += [f"{left[0]} to {left[1]} left"] if left else []
    parts += [f"{seen.drifted:,} drifted"] if seen.drifted else []
    parts += [f"{seen.quarantined:,} quarantined"] if seen.quarantined else []
    parts += [queue] if queue else []
    return ", ".join(parts)


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, so long at most."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
