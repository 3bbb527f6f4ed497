"""Run: claim a batch, apply it in one transaction, and so on until none is left.

Any number of workers share a run. A batch is claimed with a lease and the next attempt number; the transaction that
applies it looks first whether it still holds both and whether the run goes on, and ends with the journal and the
batch's counts in it. Whoever stops a run waits for the batches under way and lets no other begin (an advisory lock,
shared by batches), so that nothing is written once `pause` or `cancel` has said that it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from psycopg.types.json import Jsonb

from hark.backfill import notice
from hark.backfill.beside import Beside
from hark.backfill.bisect import Tally, apply_whole_or_in_halves
from hark.backfill.cohort import FileReach
from hark.backfill.kind import Batch, Connection
from hark.backfill.kinds import KINDS
from hark.backfill.plan import PlanStep
from hark.backfill.planning import plan_on
from hark.backfill.probes import DatabaseProbes, Probes
from hark.backfill.states import State
from hark.backfill.steering import Obstacle, Standing, Steering, Stepped
from hark.backfill.throttle import Limits, Why
from hark.clock import Clock
from hark.postgres.database import Database, fetch, is_passing
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5
"""Claims of a batch that may come to nothing; then it has failed, and waits for a person."""

STALLED_AFTER = timedelta(minutes=10)
"""A run that is not held up on purpose and has done nothing for so long has stalled: somebody is told."""


class Step(StrEnum):
    """The points of a batch that a test may stop at."""

    CLAIMED = "claimed"
    BEGUN = "begun"
    FENCED = "fenced"
    APPLIED = "applied"
    QUARANTINED = "quarantined"
    SETTLED = "settled"
    COMMITTED = "committed"
    FINISHING = "finishing"
    TOLD = "told"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch that this worker holds. `attempt` fences it; `retried`: of its users just these."""

    number: int
    attempt: int
    retried: list[str] | None


@dataclass(frozen=True, slots=True)
class _Open:
    """What is left of a run: batches not done, and when the first of them can be had."""

    batches: int
    retry_at: datetime | None
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Fenced:
    number: int


@dataclass(frozen=True, slots=True)
class _Ended:
    state: str


@dataclass(slots=True)
class Runner:
    """Takes part in runs: plans and applies, one step at a time. Several tasks of one process may share it.

    Attributes:
        worker: who this is, for leases and the audit log.
        reach: from where the lists of cohorts may be read that were asked for elsewhere.
        lease: how long a claim holds, and how long a transaction may stand idle before the server ends it.
        passed: told of each point that is passed, for tests.
    """

    database: Database
    clock: Clock
    worker: str
    lease: timedelta = timedelta(seconds=30)
    reach: FileReach = field(default_factory=FileReach)
    probes: Probes | None = None
    limits: Limits = field(default_factory=Limits)
    webhook: notice.Webhook | None = None
    passed: Callable[[Step | PlanStep], None] = lambda _step: None
    _steerings: dict[int, Steering] = field(default_factory=dict)
    _beside: Beside = field(default_factory=Beside)

    async def step(self, backfill: int) -> Stepped:
        """Do the next thing that there is to do for one backfill: a chunk of its plan, a batch, or its end."""
        found = await self.database.fetch(_SQL["standing"], Standing, {"backfill": backfill})
        if not found or found[0].state not in (State.PLANNING, State.APPLYING):
            self._steerings.pop(backfill, None)
            return Stepped(did=False, over=True)
        if found[0].state == State.PLANNING:
            return await self._plan(found[0])
        return await self._apply(found[0])

    async def step_any(self) -> Stepped:
        """The same for whichever backfill has something to do: what workers call again and again."""
        waits = []
        active = await self.database.fetch(_SQL["active"], _Id)
        await self._beside.keep({run.id for run in active})
        for run in active:
            stepped = await self._step_beside(run.id)
            if stepped.did:
                return stepped
            waits.append(stepped.obstacle)
        first = min((wait for wait in waits if wait is not None), key=lambda wait: wait.until, default=None)
        return Stepped(did=False, obstacle=first)

    async def _step_beside(self, backfill: int) -> Stepped:
        """A step; but lists are read beside all else, for one may take hours, or hang."""
        found = await self.database.fetch(_SQL["standing"], Standing, {"backfill": backfill})
        if not (found and found[0].state == State.PLANNING and found[0].unlisted):
            return await self.step(backfill)
        did = self._beside.look(backfill, lambda: self._plan(found[0]))
        return did or Stepped(did=False, obstacle=self._later(Why.OTHERS))

    async def close(self) -> None:
        """Stop reading lists; another worker begins anew."""
        await self._beside.keep(set())

    async def _plan(self, run: Standing) -> Stepped:
        now = self.clock.now()
        did = await plan_on(self.database, run, reach=self.reach, who=self.worker, now=now, passed=self.passed)
        return Stepped(did, None if did else self._later(Why.OTHERS))

    # One batch -------------------------------------------------------------------------------------------------------

    async def _apply(self, run: Standing) -> Stepped:
        steering = self._steering(run.id)
        async with steering.turn():
            return await self._apply_next(run, steering)

    async def _apply_next(self, run: Standing, steering: Steering) -> Stepped:
        if (obstacle := await steering.obstacle(run, self.clock.now())) is not None:
            await notice.stalled(self.database, self.webhook, run.id, obstacle, self.clock.now(), STALLED_AFTER)
            return Stepped(did=False, obstacle=obstacle)
        claimed = await self._claim(run)
        if claimed is None:
            return await self._none_to_be_had(run, steering)
        self.passed(Step.CLAIMED)
        begun = time.perf_counter()
        try:
            tally = await self._in_one_transaction(run, claimed, steering)
        except Exception as error:
            if not is_passing(error):
                raise
            return await self._put_back(run, claimed, error)
        if tally is None:
            await self._let_go(run, claimed)
            return Stepped(did=False, obstacle=self._later(Why.OTHERS))
        steering.worked(timedelta(seconds=time.perf_counter() - begun), tally.users, self.clock.now())
        return Stepped(did=True)

    async def _claim(self, run: Standing) -> Claimed | None:
        now = self.clock.now()
        given = {
            "backfill": run.id,
            "now": now,
            "lease_until": now + self.lease,
            "worker": self.worker,
            "max_attempts": MAX_ATTEMPTS,
        }
        claimed = await self.database.fetch(_SQL["claim" if run.rate is None else "claim_paced"], Claimed, given)
        return claimed[0] if claimed else None

    async def _in_one_transaction(self, run: Standing, claimed: Claimed, steering: Steering) -> Tally | None:
        """None: it was not ours any more, or the run does not go on."""
        async with self.database.transaction() as connection:
            await connection.execute(_SQL["begin"].text(), {"backfill": run.id, "idle": self._idle()})
            self.passed(Step.BEGUN)
            begun = time.perf_counter()
            if not await fetch(connection, _SQL["fence"], _Fenced, self._fence(run, claimed)):
                return None
            self.passed(Step.FENCED)
            tally = await self._work(connection, run, claimed)
            took = timedelta(seconds=time.perf_counter() - begun)
            await self._settle(connection, run, claimed, tally, took, steering)
            self.passed(Step.SETTLED)
        self.passed(Step.COMMITTED)
        return tally

    async def _work(self, connection: Connection, run: Standing, claimed: Claimed) -> Tally:
        batch = Batch(run.id, claimed.number, claimed.retried)
        tally = await apply_whole_or_in_halves(connection, KINDS[run.kind], batch, self.clock.now())
        self.passed(Step.QUARANTINED if tally.quarantined else Step.APPLIED)
        return tally

    async def _settle(
        self,
        connection: Connection,
        run: Standing,
        claimed: Claimed,
        tally: Tally,
        took: timedelta,
        steering: Steering,
    ) -> None:
        given = {
            **self._fence(run, claimed),
            "applied": tally.applied,
            "drifted": tally.drifted,
            "quarantined": tally.quarantined,
            "took": took,
            "waited": Jsonb(dict(steering.accounted())),
            "now": self.clock.now(),
        }
        await connection.execute(_SQL["settle"].text(), given)

    async def _let_go(self, run: Standing, claimed: Claimed) -> None:
        """The run was held or called off meanwhile: nobody need wait for the lease. Another's claim is not touched."""
        given = {**self._fence(run, claimed), "due_at": self.clock.now(), "why": ""}
        await self.database.execute(_SQL["put_back"], given)

    async def _put_back(self, run: Standing, claimed: Claimed, error: Exception) -> Stepped:
        """The database could not do it for now: another attempt later, each time after a longer wait."""
        _log.warning("backfill_batch_waits", backfill=run.id, batch=claimed.number, error=type(error).__name__)
        again = self.clock.now() + timedelta(seconds=min(2.0**claimed.attempt / 4, 30.0))
        why = f"{type(error).__name__} at attempt {claimed.attempt}"
        await self.database.execute(_SQL["put_back"], {**self._fence(run, claimed), "due_at": again, "why": why})
        obstacle = Obstacle(Why.RETRY, again)
        self._steering(run.id).wait_for(obstacle, self.clock.now())
        return Stepped(did=False, obstacle=obstacle)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _none_to_be_had(self, run: Standing, steering: Steering) -> Stepped:
        given = {"backfill": run.id, "now": self.clock.now(), "max_attempts": MAX_ATTEMPTS}
        await self.database.execute(_SQL["give_up"], given)
        left = await self.database.one(_SQL["open"], _Open, {"backfill": run.id})
        if not left.batches:
            return Stepped(did=await self._finish(run))
        obstacle = self._obstacle_of(left)
        steering.wait_for(obstacle, self.clock.now())
        await notice.stalled(self.database, self.webhook, run.id, obstacle, self.clock.now(), STALLED_AFTER)
        return Stepped(did=False, obstacle=obstacle)

    async def _finish(self, run: Standing) -> bool:
        """Whether it was this worker that ended the run; a cancel, or another worker, may have come first."""
        self.passed(Step.FINISHING)
        now = self.clock.now()
        async with self.database.transaction() as connection:
            given = {"backfill": run.id, "now": now, "who": self.worker}
            ended = await fetch(connection, _SQL["finish"], _Ended, given)
            if ended:
                await notice.ended(connection, run.id, now)
                self.passed(Step.TOLD)
        if ended:
            self.passed(Step.FINISHED)
            await notice.call(self.webhook, self.database, run.id)
        return bool(ended)

    def _obstacle_of(self, left: _Open) -> Obstacle:
        now = self.clock.now()
        if left.retry_at is not None and left.retry_at > now:
            return Obstacle(Why.RETRY, left.retry_at)
        soon = now + timedelta(seconds=0.25)
        return Obstacle(Why.OTHERS, min(left.lease_until or soon, soon))

    # What it knows ---------------------------------------------------------------------------------------------------

    def _later(self, why: Why) -> Obstacle:
        return Obstacle(why, self.clock.now() + timedelta(seconds=0.25))

    def _steering(self, backfill: int) -> Steering:
        if backfill not in self._steerings:
            probes = self.probes or DatabaseProbes(self.database)
            self._steerings[backfill] = Steering(probes, self.limits)
        return self._steerings[backfill]

    def _fence(self, run: Standing, claimed: Claimed) -> dict[str, object]:
        return {"backfill": run.id, "number": claimed.number, "attempt": claimed.attempt, "worker": self.worker}

    def _idle(self) -> str:
        """In whole milliseconds, as Postgres wants it."""
        return str(max(1, round(self.lease.total_seconds() * 1000)))
