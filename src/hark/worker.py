"""The worker: a few loops, each one function that does one chunk and says whether there is more.

Any number of workers share the work: the database gives each row to one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.backfill.loads import Starter
from hark.backfill.run import Runner
from hark.batching import ChunkSize, FannedOut, fan_out_next
from hark.clock import Clock, DatabaseClock
from hark.delivery.attempt import Attempted, Sender
from hark.delivery.reap import reap
from hark.digests import Planned, Planner
from hark.errors import without_words
from hark.flags import Watcher
from hark.history.tending import Tended, Tender
from hark.logs import Log
from hark.postgres.database import Database, is_passing

_log = Log(__name__)

REAPED_AT_ONCE = 1000
"""How many deliveries of dead workers one statement takes back."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one chunk says: whether there is more to do at once, and else when something will be due."""

    more: bool
    next_due: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How long an idle loop sleeps: until something is due, at least `floor`, at most `period`.

    Idle loops double their sleep from `floor` up to `period`, so that a quiet worker costs next to nothing and a busy
    one is prompt.
    """

    floor: timedelta = timedelta(milliseconds=20)
    period: timedelta = timedelta(seconds=1)

    def pause(self, progress: Progress, idle_rounds: int, now: datetime) -> float:
        """Seconds to sleep before the next chunk."""
        if progress.more:
            return 0.0
        rest = min(self.floor * (1 << min(idle_rounds, 16)), self.period)
        if progress.next_due is not None:
            # What is due now and was not to be had is locked: by a fan-out that joins it, or by another worker's claim.
            rest = min(rest, max(progress.next_due - now, self.floor))
        return rest.total_seconds()


def _is_ended() -> bool:
    """Whether this task is to end; else a `CancelledError` came out of what it did, which is a fault like any other."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(slots=True)
class Loop:
    """One chunk function, run until told to stop.

    A fault is logged, waited out and tried again: a chunk is made of whole transactions, so half of it never happened.
    One loop's fault does not stop the others: mail goes out while fan-out cannot run, and the other way round.
    """

    name: str
    chunk: Callable[[], Awaitable[Progress]]
    clock: Clock
    pace: Pace
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stopping: asyncio.Event) -> None:
        """Do chunk after chunk until `stopping` is set; the chunk under way is finished."""
        idle_rounds = failures = 0
        while not stopping.is_set():
            try:
                progress = await self.chunk()
            except (Exception, asyncio.CancelledError) as error:
                if _is_ended():
                    raise
                failures += 1
                self._report(error, failures)
                await self._sleep(min(0.1 * (1 << min(failures, 6)), 5.0), stopping)
                continue
            failures = 0
            idle_rounds = 0 if progress.more else idle_rounds + 1
            await self._sleep(self.pace.pause(progress, idle_rounds, self.clock.now()), stopping)

    def wake(self) -> None:
        """There may be something to do now."""
        self.awake.set()

    def _report(self, error: Exception | asyncio.CancelledError, failures: int) -> None:
        if is_passing(error):
            _log.warning("loop_waits", loop=self.name, failures=failures, error=type(error).__name__)
        else:
            _log.error("loop_failed", loop=self.name, failures=failures, **without_words(error))

    async def _sleep(self, seconds: float, stopping: asyncio.Event) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waits = [asyncio.ensure_future(self.awake.wait()), asyncio.ensure_future(stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.awake.clear()


@dataclass(frozen=True, slots=True)
class Watch:
    """What someone who runs a worker may want to be told, as it happens."""

    fanned_out: Callable[[FannedOut], None] = lambda _done: None
    attempted: Callable[[Attempted], None] = lambda _done: None
    planned: Callable[[Planned], None] = lambda _done: None


@dataclass(frozen=True, slots=True)
class Worker:
    """Fan-out, planning of digests, delivery and reaping, together in one process.

    Attributes:
        senders: one for each loop of attempts; several of one channel overlap their waits.
        planner: plans digests; None: nobody does here.
        answer_wait: how long after a hand-over its answer may still come.
        backfills: who takes part in backfills here; None: nobody does.
        loads: who begins loads that are to begin by themselves here; None: nobody does.
        segments: who keeps segments as what they come from; None: nobody does here.
        history: who keeps purchases and their graph up to date here; None: nobody does.
    """

    database: Database
    clock: Clock
    senders: Sequence[Sender]
    chunk: ChunkSize = ChunkSize()
    pace: Pace = Pace()
    answer_wait: timedelta = timedelta(minutes=15)
    reap_period: timedelta = timedelta(seconds=5)
    watch: Watch = Watch()
    planner: Planner | None = None
    backfills: Runner | None = None
    loads: Starter | None = None
    segments: Watcher | None = None
    history: Tender | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set; what is under way is finished first."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in self._loops():
                    tasks.create_task(loop.run(stopping), name=loop.name)
        finally:
            if self.backfills is not None:
                await self.backfills.close()

    async def drain(self) -> None:
        """Do all that is due by now, then return: for tests, demos and replays."""
        chunks = [
            self._fan_out(()),
            *(self._plan(planner) for planner in self._planners()),
            *(self._deliver(sender) for sender in self.senders),
        ]
        while any([await _to_its_end(chunk) for chunk in chunks]):
            pass

    def _loops(self) -> list[Loop]:
        deliveries = [
            Loop(f"deliver-{n}", self._deliver(sender), self.clock, self.pace) for n, sender in enumerate(self.senders)
        ]
        fan_out = Loop("fan-out", self._fan_out(deliveries), self.clock, self.pace)
        slow = Pace(self.reap_period, self.reap_period)
        plans = [Loop("plan", self._plan(planner), self.clock, self.pace) for planner in self._planners()]
        return [
            fan_out,
            *plans,
            *deliveries,
            *self._backfill_loops(),
            *self._segment_loops(),
            *self._history_loops(),
            Loop("reap", self._reap, self.clock, slow),
            Loop("clock", self._follow, self.clock, slow),
        ]

    def _fan_out(self, deliveries: Sequence[Loop]) -> Callable[[], Awaitable[Progress]]:
        async def chunk() -> Progress:
            done = await fan_out_next(self.database, self.clock.now(), self.chunk)
            self._announce(done)
            if done.next_due is not None and done.next_due <= self.clock.now():
                _wake(deliveries)
            return Progress(more=done.events > 0)

        return chunk

    def _announce(self, done: FannedOut) -> None:
        if done.events:
            self.watch.fanned_out(done)

    def _planners(self) -> list[Planner]:
        return [] if self.planner is None else [self.planner]

    def _plan(self, planner: Planner) -> Callable[[], Awaitable[Progress]]:
        async def chunk() -> Progress:
            done = await planner.step()
            self.watch.planned(done)
            return Progress(done.more, done.next_at)

        return chunk

    def _deliver(self, sender: Sender) -> Callable[[], Awaitable[Progress]]:
        async def chunk() -> Progress:
            done = await sender.attempt_due()
            if done.claimed:
                self.watch.attempted(done)
                return Progress(more=True)
            return Progress(more=False, next_due=await sender.next_due())

        return chunk

    async def _reap(self) -> Progress:
        backoff = self.senders[0].backoff
        done = await reap(
            self.database, self.clock.now(), backoff=backoff, answer_wait=self.answer_wait, limit=REAPED_AT_ONCE
        )
        if done.lost or done.unanswered:
            _log.info("reaped", lost=done.lost, unanswered=done.unanswered)
        return Progress(more=REAPED_AT_ONCE in (done.lost, done.unanswered))

    def _backfill_loops(self) -> list[Loop]:
        if self.backfills is None:
            return []
        loads = [] if self.loads is None else [Loop("loads", _start(self.loads), self.clock, self.pace)]
        return [Loop("backfill", _backfill(self.backfills), self.clock, self.pace), *loads]

    def _segment_loops(self) -> list[Loop]:
        if self.segments is None:
            return []
        slow = Pace(self.reap_period, self.reap_period)
        return [Loop("segments", _keep(self.segments), self.clock, slow)]

    def _history_loops(self) -> list[Loop]:
        if self.history is None:
            return []
        return [Loop(name, _tend(chunk), self.clock, self.pace) for name, chunk in self.history.chunks().items()]

    async def _follow(self) -> Progress:
        if isinstance(self.clock, DatabaseClock):
            await self.clock.follow(self.database)
        return Progress(more=False)


async def _to_its_end(chunk: Callable[[], Awaitable[Progress]]) -> bool:
    """One stage until it has nothing more to do; whether it did something."""
    did = False
    while (await chunk()).more:
        did = True
    return did


def _backfill(runner: Runner) -> Callable[[], Awaitable[Progress]]:
    async def chunk() -> Progress:
        stepped = await runner.step_any()
        return Progress(stepped.did, stepped.obstacle.until if stepped.obstacle else None)

    return chunk


def _start(starter: Starter) -> Callable[[], Awaitable[Progress]]:
    async def chunk() -> Progress:
        return Progress(more=await starter.step())

    return chunk


def _keep(watcher: Watcher) -> Callable[[], Awaitable[Progress]]:
    async def chunk() -> Progress:
        return Progress(more=await watcher.look() is not None)

    return chunk


def _tend(chunk: Callable[[], Awaitable[Tended]]) -> Callable[[], Awaitable[Progress]]:
    async def tend() -> Progress:
        done = await chunk()
        return Progress(done.more, done.next_at)

    return tend


def _wake(loops: Sequence[Loop]) -> None:
    for loop in loops:
        loop.wake()
