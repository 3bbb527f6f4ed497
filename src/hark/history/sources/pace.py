"""When a source may be asked: at most so many requests in any period, by all workers, counted where they arrive.

A limit that is counted at the server is not kept by counting at the client: what was sent evenly arrives unevenly, when
a worker was late, a connection had to be made, or the server was busy. So each request has a permit of its own, taken
from a row that all workers share, and is written at the moment that the permit names, on a connection that is open by
then. What is learnt afterwards is told to that row before the next permits are given:

    late     how much later than its moment its writing began: known for sure, and counted in full
    doubt    how much longer its answer took than the quickest of late: so much later it may have arrived

A permit's moment is not before the `count`-th last request, so understood, is a whole period old. So a late request
costs its lateness once in a period, and what was even stays even. A server that takes its time cannot be told from a
request that came late. So doubt is believed for as long as it costs less than `DOUBTED` of the rate, and for longer
where this process is late itself, as then the machine is busy, and the server's may be; but by how much an answer took
longer than nearly all others is always believed: there the limit comes before the rate.

Where many workers take permits, or there are few to take, one is given before much is learnt of those that it goes by.
Then it is looked at once more, shortly before its moment, which may move on. So it is while an answer takes far longer
than nearly all: its server may stand still, and count all that it was sent when it goes on; until then its request
counts as of now.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.clock import Clock
from hark.durations import Rate
from hark.errors import NotNow
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

CLOSEST = 0.75
"""How close two requests may be, of what they are apart on average: what a late one cost is made up slowly."""
SLACK = 0.002
"""Of a period, for clocks, and for how a quick answer's time is shared by its two ways: it is laid so much longer."""
DOUBTED = 0.006
"""Of a period: what doubt may cost each permit on average."""
SPARE_DOUBT = 0.6
"""Of a period: what of it may be saved up for a bad moment."""
CREEP = 1.002
"""How the quickest answer known creeps up with each other one, so that a server that changed is got used to."""
BELIEVED = 5
"""How much more doubt is believed, for being late oneself."""

_LEAD_S = 0.03
"""How long before its moment a request is begun, so that its connection is there."""
_LAST_S = 0.002
"""The end of a wait, which is waited for without the loop: its timers go by milliseconds, and it may be busy."""
_LOOK_S = 0.06
"""How long before its moment a permit that was given long before is looked at again."""
_FAR = 4
"""A permit is given long before its moment, if that is a period's so-manieth part away."""
_HANDS = 64
"""So many workers may hold a permit at once."""
_REMEMBERED, _LEARNT = 64, 8
"""So many answers are remembered, and so many tell how quick a server can be."""
_NEARLY_ALL, _FAR_LONGER, _OVERDUE_PART = 0.9, 1.5, 20
_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a source is left alone: after `threshold` failures in a row, for `rest`, doubling up to `longest`.

    Then one request is its trial, for at most `trial`, while all others wait.
    """

    threshold: int = 5
    rest: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(minutes=5)
    trial: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Taken:
    number: int
    at: datetime
    failures: int


@dataclass(frozen=True, slots=True)
class _Moved:
    at: datetime | None


@dataclass(frozen=True, slots=True)
class _LeftAlone:
    source: str
    held_until: datetime
    open_until: datetime


@dataclass(slots=True)
class Doubt:
    """How much later than it was written a request may have arrived, by what is known of a server's answers."""

    period: timedelta
    spare: timedelta = field(init=False)
    _quickest: dict[bool, timedelta] = field(default_factory=dict, init=False)
    _known: dict[bool, deque[timedelta]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.spare = self.period * SPARE_DOUBT

    def of(self, took: timedelta, late: timedelta, *, refused: bool) -> timedelta:
        """Of an answer that took so long.

        Args:
            late: how late its request was written.
            refused: whether it was a refusal, which servers are quicker with.
        """
        quickest, longest = self._usual(took, refused)
        self.spare = min(self.spare + self.period * DOUBTED + late * BELIEVED, self.period * SPARE_DOUBT)
        usual = min(min(took, longest) - quickest, self.spare)
        self.spare -= usual
        return min(usual + max(took - longest, _ZERO), self.period)

    def overdue(self) -> timedelta:
        """How long an answer takes that takes far longer than nearly all."""
        known = sorted(self._known.get(False, ()))
        if len(known) < _LEARNT:
            return self.period / 2
        return known[int(len(known) * _NEARLY_ALL)] * _FAR_LONGER + self.period / _OVERDUE_PART

    def _usual(self, took: timedelta, refused: bool) -> tuple[timedelta, timedelta]:
        """The quickest answer, and what nearly all take at most of late; of a few, nothing can be said."""
        known = self._known.setdefault(refused, deque(maxlen=_REMEMBERED))
        before = sorted(known)
        known.append(took)
        quickest = self._quickest[refused] = min(self._quickest.get(refused, took) * CREEP, took)
        if len(before) < _LEARNT:
            return _ZERO, took
        return quickest, before[int(len(before) * _NEARLY_ALL)]


class Missed(Exception):
    """A permit's moment was missed by so much that the row has forgotten it: another one is to be taken."""


@dataclass(slots=True)
class Permit:
    """One request may be written at `at`, or `holds` later at most; it is `hark.guarded.client.Sending`.

    Attributes:
        late: how much later than that its writing began.
    """

    number: int
    at: datetime
    failures: int
    clock: Clock = field(repr=False)
    written: Callable[[], None] = field(repr=False)
    holds: timedelta
    late: timedelta = _ZERO
    _begun: float | None = None
    _heard: float | None = None

    async def begins(self) -> None:
        """Wait for its moment.

        Raises:
            Missed: it is long over.
        """
        await _sleep_until(self.at - timedelta(seconds=_LAST_S), self.clock)
        _block_until(self.at, self.clock)
        now = self.clock.now()
        if now - self.at > self.holds:
            raise Missed
        self.late = max(now - self.at, _ZERO)
        self._begun = time.monotonic()

    def done(self) -> None:
        """It is written."""
        self.written()

    def heard(self) -> None:
        """Its answer begins."""
        self._heard = time.monotonic()

    @property
    def took(self) -> timedelta | None:
        """How long its answer took to begin, or it has been waited for; None: it was not written."""
        if self._begun is None:
            return None
        return timedelta(seconds=(self._heard or time.monotonic()) - self._begun)


class Pace:
    """One source's pace, for all tasks of this process; the row behind it is for all processes.

    Args:
        source: its name, as the row has it.
        rate: at most so many requests, in any period wherever it begins.
    """

    def __init__(
        self, database: Database, clock: Clock, source: str, rate: Rate, breaker: Breaker | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._rate = rate
        self._breaker = breaker or Breaker()
        self._doubt = Doubt(rate.per)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._told: dict[int, datetime] = {}
        self._out: dict[int, Permit] = {}
        self._known = False
        self._crowded = False

    @asynccontextmanager
    async def permit(self, until: datetime) -> AsyncIterator[Permit]:
        """A permit, for the time of a block in which one request is made: the next one is given when it is written.

        Args:
            until: how long to wait for one at most.

        Raises:
            NotNow: the source is left alone for longer than that.
            Missed: the row has forgotten it; another one is to be taken.
        """
        turn, permit = await self._my_turn(), None
        try:
            permit = await self._take(until, turn.end)
            await self._look_again_at(permit)
            await _sleep_until(permit.at - timedelta(seconds=_LEAD_S), self._clock)
            self._out[permit.number] = permit
            yield permit
        finally:
            turn.end()
            if permit is not None:
                self._out.pop(permit.number, None)

    async def answered(self, permit: Permit, *, refused: bool) -> None:
        """Note when a request must have arrived, by its answer.

        Args:
            refused: whether the answer was a refusal.
        """
        took = permit.took
        if took is None:
            return
        self._told[permit.number] = permit.at + permit.late + self._doubt.of(took, permit.late, refused=refused)
        if self._crowded or (not self._waiting and not self._turn.locked()):
            await self._tell()

    async def worked(self, permit: Permit) -> None:
        """The source works: failures of before do not count any more."""
        if permit.failures:
            await self._database.execute(_SQL["worked"], {"source": self._source, "number": permit.number})

    async def failed(self, permit: Permit) -> None:
        """The source does not work."""
        given = {
            "source": self._source,
            "number": permit.number,
            "threshold": self._breaker.threshold,
            "rest": self._breaker.rest,
            "longest": self._breaker.longest,
            "now": self._clock.now(),
        }
        await self._database.execute(_SQL["failed"], given)

    async def hold(self, wait: timedelta) -> None:
        """The source asks to be left alone for so long, by everybody."""
        await self._database.execute(_SQL["held"], {"source": self._source, "until": self._clock.now() + wait})

    async def _my_turn(self) -> _Turn:
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        return _Turn(self._turn)

    async def _take(self, until: datetime, written: Callable[[], None]) -> Permit:
        while True:
            given = await self._given()
            if given is not None:
                return Permit(given.number, given.at, given.failures, self._clock, written, self._rate.per / 2)
            await self._wait(until)

    async def _given(self) -> _Taken | None:
        if not self._known:
            await self._database.execute(_SQL["known"], {"source": self._source})
            self._known = True
        told = dict(self._told)
        rows = await self._database.fetch(
            _SQL["take"], _Taken, {**self._limits(), **_arrays({**self._overdue(), **told})}
        )
        if not rows:
            return None
        self._forget(told)
        return rows[0]

    async def _look_again_at(self, permit: Permit) -> None:
        """Move a permit on by what was learnt since it was given, if that was long before its moment."""
        looks = self._crowded = self._is_far(permit.at)
        if self._crowded and self._told:
            await self._tell()
        before = None
        while permit.at != before:
            before = permit.at
            await _sleep_until(before - timedelta(seconds=_LOOK_S), self._clock)
            if not looks and not self._overdue():
                return
            permit.at = await self._again(permit.number)
            looks = self._is_far(permit.at)

    async def _again(self, number: int) -> datetime:
        told = dict(self._told)
        given = {**self._limits(), **_arrays({**self._overdue(), **told}), "number": number}
        rows = await self._database.fetch(_SQL["again"], _Moved, given)
        self._forget(told)
        if not rows or rows[0].at is None:
            raise Missed
        return rows[0].at

    def _is_far(self, at: datetime) -> bool:
        return at - self._clock.now() > self._rate.per / _FAR

    def _overdue(self) -> dict[int, datetime]:
        """Requests whose answers take far longer than nearly all, and that may be counted only now."""
        overdue, now = self._doubt.overdue(), self._clock.now()
        return {number: now for number, permit in self._out.items() if (permit.took or _ZERO) > overdue}

    async def _wait(self, until: datetime) -> None:
        """Until the source is no longer left alone, as far as is known: a trial may end sooner or later."""
        now = self._clock.now()
        rows = await self._database.fetch(_SQL["left_alone"], _LeftAlone, {"source": self._source, "now": now})
        if not rows:
            return
        held, opened = rows[0].held_until, rows[0].open_until
        free = max(held, opened)
        if free > until:
            why = "asked to be left alone" if held >= opened else "failed several times in a row"
            raise NotNow(f"{self._source} {why}; it is asked again at {free:%Y-%m-%d %H:%M:%S %Z}", free)
        await asyncio.sleep(min(free - now, self._look_again).total_seconds())

    async def _tell(self) -> None:
        told = dict(self._told)
        await self._database.execute(_SQL["told"], {"source": self._source, **_arrays(told)})
        self._forget(told)

    def _forget(self, told: dict[int, datetime]) -> None:
        for number in told:
            self._told.pop(number, None)

    @property
    def _look_again(self) -> timedelta:
        return max(self._rate.per / self._rate.count, timedelta(milliseconds=500))

    def _limits(self) -> dict[str, object]:
        apart = self._rate.per / self._rate.count
        return {
            "source": self._source,
            "now": self._clock.now(),
            "count": self._rate.count,
            "kept": self._rate.count + max(self._rate.count, _HANDS),
            "closest": apart * CLOSEST,
            "a_window": self._rate.per * (1 + SLACK),
            "threshold": self._breaker.threshold,
            "trial": self._breaker.trial,
        }


class _Turn:
    """A lock that is held, let go of once: when the request is written, or when there is to be none."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock: asyncio.Lock | None = lock

    def end(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def _arrays(told: dict[int, datetime]) -> dict[str, object]:
    return {"numbers": list(told), "moments": list(told.values())}


async def _sleep_until(at: datetime, clock: Clock) -> None:
    # A timer may go off a little early.
    for _ in range(3):
        if (left := (at - clock.now()).total_seconds()) <= 0:
            return
        await asyncio.sleep(left)


def _block_until(at: datetime, clock: Clock) -> None:
    time.sleep(min(max((at - clock.now()).total_seconds(), 0), _LAST_S))
