"""Asks sources for many steps at once, and records what comes as it comes.

Each source is asked by a few tasks, which wait for their turn together (`sources.pace` gives the turns), so that it is
always the source's rate that is waited for. What came within a moment is recorded in one transaction. A fault that
nobody's question escaped is the source's own, and is held against nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection

from hark.clock import Clock
from hark.errors import Blocked, NotNow, SourceFailed, Unreachable
from hark.history.fact import Kind
from hark.history.facts import record_snapshots
from hark.history.loading import steps as marks
from hark.history.loading.steps import Done, PutOff, Refused, Step
from hark.history.sources.contracts import ReadElsewhere
from hark.history.sources.loaded import Loaded
from hark.history.sources.reach import Sources
from hark.logs import Log
from hark.postgres.database import is_passing

_log = Log(__name__)

AT_ONCE = 16
"""Questions to one source that a batch has under way at most; one at a time is written."""
GATHER_S = 0.4
"""What comes within so many seconds is recorded together."""
MOST_FACTS = 5_000
MOST_STEPS = 100
_LOCKED_TRIES = 40
_LOCKED_WAIT_S = 0.25
_LONGEST_WAIT = timedelta(minutes=1)
_SET_UP_WAIT = timedelta(seconds=15)
_WHY = 300

Connection = AsyncConnection[Any]
Into = Callable[[], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Got:
    """A whole answer, and when it was asked for."""

    step: Step
    loaded: Loaded
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class _Failed:
    """No answer; `until`: what the source says of when. `common`: it may be of the source rather than of the user."""

    step: Step
    why: str
    until: datetime | None
    common: bool


Came = Got | _Failed | Refused


@dataclass(slots=True)
class _Tally:
    """What came to a source's questions in one round."""

    answered: set[Kind] = field(default_factory=set)
    failed: list[_Failed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads for one run.

    Attributes:
        since: the look-back's start.
        into: a transaction to record in, if the run still goes on; raises where it does not.
        corrects: see `record_snapshots`.
    """

    sources: Sources
    clock: Clock
    run: int
    since: datetime
    into: Into
    corrects: bool = False

    async def load(self, wanted: Sequence[Step]) -> None:
        """Ask for all of these once, and mark what became of each.

        Raises:
            Whatever `into` raises; what was recorded by then stays.
        """
        came: asyncio.Queue[Came] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._record(came, len(wanted)))
                for kind in Kind:
                    left = deque(step for step in wanted if step.kind is kind)
                    for _ in range(min(AT_ONCE, len(left))):
                        tasks.create_task(self._ask(left, came))
        except BaseExceptionGroup as group:
            raise _first(group) from group

    # Asking ----------------------------------------------------------------------------------------------------------

    async def _ask(self, left: deque[Step], came: asyncio.Queue[Came]) -> None:
        while left:
            came.put_nowait(await self._asked(left.popleft()))

    async def _asked(self, step: Step) -> Came:
        """What a question comes to, as a value. When it was asked is from before its turn came: a little early does no
        harm."""
        at = self.clock.now()
        try:
            return Got(step, await self._question(step), at)
        except NotNow as error:
            return _Failed(step, str(error), error.at, common=True)
        except (ReadElsewhere, Blocked) as error:
            return _Failed(step, str(error), at + _SET_UP_WAIT, common=True)
        except SourceFailed as error:
            return Refused(step, _brief(error)) if error.of_the_data else _Failed(step, str(error), None, common=False)
        except Unreachable as error:
            return _Failed(step, str(error), None, common=False)

    def _question(self, step: Step) -> Awaitable[Loaded]:
        if step.kind is Kind.RECEIPT:
            return self.sources.purchase.receipts(step.user_id, self.since)
        return self.sources.shop.orders(step.user_id, self.since)

    # Recording -------------------------------------------------------------------------------------------------------

    async def _record(self, came: asyncio.Queue[Came], expected: int) -> None:
        tally = _Tally()
        while expected:
            some = await _gathered(came, expected)
            expected -= len(some)
            await self._keep(some, tally)
        if tally.failed:
            async with self.into() as connection:
                await marks.put_off(connection, self.run, [self._put_off(each, tally) for each in tally.failed])

    async def _keep(self, some: Sequence[Came], tally: _Tally) -> None:
        got = [each for each in some if isinstance(each, Got)]
        bad = [each for each in some if isinstance(each, Refused)]
        tally.answered.update(each.step.kind for each in got)
        tally.answered.update(each.step.kind for each in bad)
        tally.failed += [each for each in some if isinstance(each, _Failed)]
        if got or bad:
            await self._once_rows_are_free(got, bad)

    async def _once_rows_are_free(self, got: Sequence[Got], bad: Sequence[Refused]) -> None:
        """The live stream may hold a user for a moment: what was asked for is not thrown away for that."""
        for tried in range(_LOCKED_TRIES):
            try:
                async with self.into() as connection:
                    bad = [*bad, *await self._taken(connection, got)]
                    if bad:
                        await marks.quarantine(connection, self.run, bad)
                return
            except psycopg.errors.LockNotAvailable:
                if tried == _LOCKED_TRIES - 1:
                    raise
                await asyncio.sleep(_LOCKED_WAIT_S)

    async def _taken(self, connection: Connection, got: Sequence[Got]) -> list[Refused]:
        """Record answers, together or else one by one; those that cannot be recorded."""
        try:
            await self._put(connection, got)
            return []
        except Exception as error:
            if is_passing(error):
                raise
            if len(got) == 1:
                _log.warning("load_refused", backfill=self.run, error=type(error).__name__)
                return [Refused(got[0].step, f"its answer cannot be recorded: {_said(error)}")]
        return [refused for each in got for refused in await self._taken(connection, [each])]

    async def _put(self, connection: Connection, got: Sequence[Got]) -> None:
        if not got:
            return
        async with connection.transaction():
            snapshots = [each.loaded.snapshot for each in got]
            await record_snapshots(connection, snapshots, now=self.clock.now(), by=self.run, corrects=self.corrects)
            done = [Done(each.step, each.loaded.snapshot.version, each.asked_at) for each in got]
            await marks.mark_done(connection, self.run, done)

    def _put_off(self, failed: _Failed, tally: _Tally) -> PutOff:
        again = self.clock.now() + min(timedelta(seconds=2.0 ** min(failed.step.attempts, 8)), _LONGEST_WAIT)
        counted = not failed.common and failed.step.kind in tally.answered
        return PutOff(failed.step, failed.until or again, failed.why[:_WHY], counted)


async def _gathered(came: asyncio.Queue[Came], expected: int) -> list[Came]:
    """The next that comes, and what comes soon after."""
    some = [await came.get()]
    facts = _facts(some[0])
    try:
        async with asyncio.timeout(GATHER_S):
            while len(some) < min(expected, MOST_STEPS) and facts < MOST_FACTS:
                some.append(await came.get())
                facts += _facts(some[-1])
    except TimeoutError:
        pass
    return some


def _facts(came: Came) -> int:
    return len(came.loaded.snapshot.facts) if isinstance(came, Got) else 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of what ended tasks together, the first; the others were ended by it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:_WHY]


def _said(error: Exception) -> str:
    """What Postgres quotes of rows is left out, and what facts are refused for is in its own words."""
    if isinstance(error, psycopg.Error):
        return f"{error.diag.message_primary or type(error).__name__} ({error.sqlstate})"
    return f"{type(error).__name__}: {_brief(error)}"[:_WHY]
