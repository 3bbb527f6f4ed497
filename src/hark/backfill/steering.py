"""What stands in the way of the next batch, until when, and for how long what stood there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta

from hark.backfill.probes import Probes
from hark.backfill.states import UNDER_WAY, State
from hark.backfill.throttle import Limits, Readings, Throttle, Why, next_throttle
from hark.backfill.windows import Window

READ_EVERY = timedelta(seconds=1)
_LOOK_AGAIN = timedelta(seconds=1)
_KEEP_AFTER_S = 5.0
_LONGEST_PAUSE = timedelta(seconds=5)
"""Of one rest, so that a database that is quick again is noticed soon, however long its last batch took."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A run as a worker finds it.

    Attributes:
        stopped: the stop-all switch.
        unlisted: its cohort is still to be staged; `reads_files`: from files, among others.
        unmeasured: what it costs is still to be measured, once it is planned.
        plan_attempt: how often in a row planning failed for now; `plan_due_at`: when it is tried again.
    """

    id: int
    kind: str
    state: State
    batch_size: int
    rate: float | None
    adaptive: bool
    opens: time | None
    closes: time | None
    zone: str
    next_at: datetime
    stopped: bool
    unlisted: bool
    reads_files: bool
    unmeasured: bool
    plan_attempt: int
    plan_due_at: datetime | None

    @property
    def is_under_way(self) -> bool:
        """Whether a worker has something to do for it."""
        return self.state in UNDER_WAY or (self.state == State.PLANNED and self.unmeasured)

    @property
    def window(self) -> Window | None:
        """The hours to work in."""
        return None if self.opens is None or self.closes is None else Window(self.opens, self.closes, self.zone)

    def opened(self, now: datetime) -> datetime | None:
        """Since when its hours let it work; None: at any time, as they do planning."""
        return None if self.window is None or self.state != State.APPLYING else self.window.opened(now)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the next batch does not begin, and when to look again."""

    why: Why
    until: datetime


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one step came to: whether something was done; if not, what stands in the way; whether the run goes on."""

    did: bool
    obstacle: Obstacle | None = None
    over: bool = False


@dataclass(slots=True)
class Steering:
    """One process's sense of how fast it may go on one run. Each wait is accounted to what it was for.

    Attributes:
        turns: how long other runs had their turns since something was done for this one.
    """

    probes: Probes
    limits: Limits = field(default_factory=Limits)
    throttle: Throttle = field(default_factory=Throttle)
    turns: timedelta = timedelta(0)
    _read_at: datetime | None = None
    _rest_until: datetime | None = None
    _statement: timedelta | None = None
    _waiting: tuple[Why, datetime] | None = None
    _waited: defaultdict[Why, float] = field(default_factory=lambda: defaultdict(float))
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Held from before a batch is begun until it is done: where batches are rested after, one goes at a time.

        Two at once would take from live work what the rest after each is there to leave it. So do the first, before
        anything is known.
        """
        return self._turns if self.throttle.rest or self._read_at is None else nullcontext()

    async def obstacle(self, run: Standing, now: datetime) -> Obstacle | None:
        """What stands in the way of a batch; None: begin."""
        found = _closed(run, now) or await self._throttled(run, now) or self._ahead_of_rate(run, now)
        self.wait_for(found, now)
        return found

    async def obstacle_to_plan(self, run: Standing, now: datetime) -> Obstacle | None:
        """What stands in the way of planning; not the hours or the rate, which are those of applying."""
        found = _stopped(run, now) or _planned_later(run, now) or await self._throttled(run, now)
        self.wait_for(found, now)
        return found

    def wait_for(self, obstacle: Obstacle | None, now: datetime) -> None:
        """From now on this is what is waited for; what was until now is accounted."""
        if self._waiting is not None:
            why, since = self._waiting
            waited = max(timedelta(0), now - since)
            self._waited[why] += waited.total_seconds()
            self.turns += waited if why is Why.TURN else timedelta(0)
        self._waiting = None if obstacle is None else (obstacle.why, now)

    def wait_for_turn(self, since: datetime) -> None:
        """Another run has its turn since then, and this one was not looked at. What it waits for anyway stays."""
        if self._waiting is None:
            self._waiting = (Why.TURN, since)

    def worked(self, took: timedelta, users: int, now: datetime) -> None:
        """A batch of so many users is done."""
        self.turns = timedelta(0)
        if users:
            self._statement = took / users
        if self.throttle.rest:
            self._rest_until = now + min(took * self.throttle.rest, _LONGEST_PAUSE)

    def is_to_keep(self) -> bool:
        """Whether so much was waited that it should be seen, though no batch is done that it could be kept with."""
        return sum(self._waited.values()) >= _KEEP_AFTER_S

    @contextmanager
    def to_account(self) -> Iterator[Callable[[], Mapping[str, float]]]:
        """Around what keeps the waits: gives what takes them, by what for; if it fails, they are still to be kept."""
        taken: dict[Why, float] = {}

        def take() -> Mapping[str, float]:
            taken.update(self._waited)
            self._waited.clear()
            return {str(why): round(seconds, 3) for why, seconds in taken.items() if seconds >= 0.001}

        try:
            yield take
        except BaseException:
            for why, seconds in taken.items():
                self._waited[why] += seconds
            raise

    async def _throttled(self, run: Standing, now: datetime) -> Obstacle | None:
        if not run.adaptive:
            return None
        if self._read_at is None or now - self._read_at >= READ_EVERY:
            await self._read(now)
        if self.throttle.hold and self.throttle.why is not None:
            return Obstacle(self.throttle.why, now + READ_EVERY)
        if self._rest_until is not None and now < self._rest_until and self.throttle.rest:
            return Obstacle(self.throttle.why or Why.PROBE, min(self._rest_until, now + READ_EVERY))
        return None

    async def _read(self, now: datetime) -> None:
        seen = await self.probes.read(now)
        statement, self._statement = self._statement, None
        self.throttle = next_throttle(self.throttle, _with_statement(seen, statement), self.limits)
        self._read_at = now

    def _ahead_of_rate(self, run: Standing, now: datetime) -> Obstacle | None:
        return Obstacle(Why.RATE, run.next_at) if run.rate is not None and run.next_at > now else None


def _stopped(run: Standing, now: datetime) -> Obstacle | None:
    return Obstacle(Why.STOPPED, now + _LOOK_AGAIN) if run.stopped else None


def _planned_later(run: Standing, now: datetime) -> Obstacle | None:
    if run.plan_due_at is None or run.plan_due_at <= now:
        return None
    return Obstacle(Why.RETRY, run.plan_due_at)


def _closed(run: Standing, now: datetime) -> Obstacle | None:
    if (stopped := _stopped(run, now)) is not None:
        return stopped
    if run.window is not None and not run.window.is_open(now):
        return Obstacle(Why.WINDOW, run.window.next_open(now))
    return None


def _with_statement(seen: Readings, statement: timedelta | None) -> Readings:
    return replace(seen, statement=statement)
