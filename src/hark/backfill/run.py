"""Run: take part in the backfills that are under way, in turn; a chunk of a plan, a batch, or the end of one at a time.

Any number of workers share a run: each batch is one worker's (see batches.py), and whoever finds none left ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from hark.backfill import notice
from hark.backfill.batches import Batches, Claimed, Step
from hark.backfill.beside import Beside
from hark.backfill.cohort import FileReach
from hark.backfill.kinds import KINDS
from hark.backfill.outside import Crew, LetGo, Outside
from hark.backfill.plan import PlanStep
from hark.backfill.planning import Planner
from hark.backfill.probes import DatabaseProbes, Probes
from hark.backfill.states import State
from hark.backfill.steering import Obstacle, Standing, Steering, Stepped
from hark.backfill.throttle import Limits, Why
from hark.clock import Clock
from hark.errors import BadInput, NotAsPlanned
from hark.logs import Log
from hark.postgres.database import Database, fetch, is_passing
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """What is left of a run: batches not done, and when the first of them can be had."""

    batches: int
    retry_at: datetime | None
    lease_until: datetime | None
    locked: bool


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _At:
    at: datetime | None


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
        outside: what this process can do outside of transactions, by kind; runs that need more are left to others.
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
    outside: Mapping[str, Outside] = field(default_factory=dict)
    _steerings: dict[int, Steering] = field(default_factory=dict)
    _had_its_turn: int = 0
    _beside: Beside = field(default_factory=Beside)
    _crew: Crew = field(default_factory=Crew)

    async def step(self, backfill: int) -> Stepped:
        """Do the next thing that there is to do for one backfill: a chunk of its plan, a batch, or its end."""
        with self._accounting_for_absence():
            found = await self.database.fetch(_SQL["standing"], Standing, {"backfill": backfill})
            if not found or not found[0].is_under_way:
                await self._leave(backfill)
                return Stepped(did=False, over=True)
            return await self._step(found[0])

    async def _step(self, run: Standing) -> Stepped:
        if run.kind not in KINDS:
            raise BadInput(f"backfill {run.id} is of kind {run.kind!r}, which this version of Hark does not know")
        if run.state == State.APPLYING:
            return await self._apply(run)
        return await self._plan(run)

    async def step_any(self) -> Stepped:
        """The same for the next backfill that has something to do: what workers call again and again.

        They take turns, so that a long one holds up no small one, no plan and no undo. One that fails for now is logged
        and passed over, so that it keeps no other from going on.

        Raises:
            Exception: the first of what failed, where nothing could be done for any other.
        """
        waits, failed = [], None
        runs = await self._in_turn()
        for place, run in enumerate(runs, 1):
            begun = self.clock.now()
            try:
                stepped = await self._step_beside(run)
            except Exception as error:
                _log.warning("backfill_passed_over", backfill=run, error=type(error).__name__, sqlstate=_code(error))
                failed = failed or error
                continue
            if stepped.did:
                self._end_turn(run, begun, runs[place:])
                return stepped
            waits.append(stepped.obstacle)
        if failed is not None:
            raise failed
        return Stepped(did=False, obstacle=await self._first(waits))

    async def _in_turn(self) -> list[int]:
        """All that are under way, from the one behind that which had its turn last. What is done for others ends."""
        with self._accounting_for_absence():
            active = await self.database.fetch(_SQL["active"], _Id, {"kinds": list(KINDS), "now": self.clock.now()})
        runs = [run.id for run in active]
        await self._beside.keep({*runs})
        await self._crew.keep({*runs})
        return sorted(runs, key=lambda run: (run <= self._had_its_turn, run))

    def _end_turn(self, run: int, begun: datetime, others: Sequence[int]) -> None:
        """The others were not looked at: since it was begun they have waited for their turns, if for nothing else."""
        self._had_its_turn = run
        for other in others:
            if not self._beside.is_at(other):
                self._steering(other).wait_for_turn(begun)

    async def _first(self, waits: Sequence[Obstacle | None]) -> Obstacle | None:
        """The first of what is waited for; planning that failed for now is among it."""
        known = [wait for wait in waits if wait is not None]
        due = await self.database.one(_SQL["due"], _At, {"now": self.clock.now()})
        if due.at is not None:
            known.append(Obstacle(Why.RETRY, due.at))
        return min(known, key=lambda wait: wait.until, default=None)

    async def _step_beside(self, backfill: int) -> Stepped:
        """A step; but lists are read beside all else, for one may take hours, or hang."""
        found = await self.database.fetch(_SQL["standing"], Standing, {"backfill": backfill})
        if not (found and found[0].state == State.PLANNING and found[0].unlisted):
            return await self.step(backfill)
        did = self._beside.look(backfill, lambda: self._plan(found[0]), reads_files=found[0].reads_files)
        return did or Stepped(did=False, obstacle=self._later(Why.OTHERS))

    async def close(self) -> None:
        """Stop reading lists, and leave off what is done outside of transactions; another worker goes on."""
        await self._beside.keep(set())
        await self._crew.keep(set())
        for outside in self.outside.values():
            await outside.close()

    async def _plan(self, run: Standing) -> Stepped:
        now = self.clock.now()
        steering = self._steering(run.id)
        if (obstacle := await steering.obstacle_to_plan(run, now)) is not None:
            return await self._held(run, steering, obstacle)
        planner = Planner(self.database, self.reach, self.worker, self.webhook, self.passed)
        begun = time.perf_counter()
        if await planner.step(run, now):
            steering.worked(timedelta(seconds=time.perf_counter() - begun), 0, self.clock.now())
            return Stepped(did=True)
        return await self._held(run, steering, self._later(Why.OTHERS))

    async def _held(self, run: Standing, steering: Steering, obstacle: Obstacle) -> Stepped:
        """Nothing can be done just now: what is waited for is kept every few seconds, and told of if it lasts."""
        now = self.clock.now()
        steering.wait_for(obstacle, now)
        await self._keep_long_waits(run.id, steering)
        opened = run.opened(now)
        await notice.stalled(self.database, self.webhook, run.id, obstacle, now, turns=steering.turns, opened=opened)
        return Stepped(did=False, obstacle=obstacle)

    # One batch -------------------------------------------------------------------------------------------------------

    async def _apply(self, run: Standing) -> Stepped:
        steering = self._steering(run.id)
        if KINDS[run.kind].goes_outside and run.kind not in self.outside:
            return await self._held(run, steering, self._later(Why.OTHERS))
        async with steering.turn():
            return await self._apply_next(run, steering)

    async def _apply_next(self, run: Standing, steering: Steering) -> Stepped:
        if (obstacle := await steering.obstacle(run, self.clock.now())) is not None:
            if obstacle.why is not Why.STOPPED and not await self._is_any_left(run):
                return await self._end(run, steering)
            return await self._held(run, steering, obstacle)
        if (obstacle := await self._outside_obstacle(run)) is not None:
            return await self._held(run, steering, obstacle)
        claimed = await self._batches().claim(run)
        if claimed is None:
            return await self._none_to_be_had(run, steering)
        self.passed(Step.CLAIMED)
        if (outside := self.outside.get(run.kind)) is None:
            return await self._finish_batch(run, claimed, steering)
        self._crew.begin(run.id, lambda: self._work_outside(run, claimed, steering, outside))
        return Stepped(did=True)

    async def _finish_batch(self, run: Standing, claimed: Claimed, steering: Steering) -> Stepped:
        begun = time.perf_counter()
        try:
            tally = await self._batches().apply(run, claimed, steering)
        except NotAsPlanned as refusal:
            await self._batches().refuse(run, claimed, refusal)
            return Stepped(did=True)
        except Exception as error:
            if not is_passing(error):
                raise
            return await self._put_back(run, claimed, error)
        if tally is None:
            await self._batches().let_go(run, claimed)
            return Stepped(did=False, obstacle=self._later(Why.OTHERS))
        steering.worked(timedelta(seconds=time.perf_counter() - begun), tally.users, self.clock.now())
        return Stepped(did=True)

    async def _put_back(self, run: Standing, claimed: Claimed, error: Exception) -> Stepped:
        """Another attempt later. Rows that others hold are this batch's alone: the next one goes first."""
        obstacle = await self._batches().put_back(run, claimed, error)
        steering = self._steering(run.id)
        steering.wait_for(obstacle, self.clock.now())
        await self._keep_long_waits(run.id, steering)
        return Stepped(did=True) if obstacle.why is Why.LOCK_WAITS else Stepped(did=False, obstacle=obstacle)

    # What is done outside of transactions -----------------------------------------------------------------------------

    async def _outside_obstacle(self, run: Standing) -> Obstacle | None:
        """What stands in the way of a batch of a kind that goes outside; not of a run that has none left."""
        outside = self.outside.get(run.kind)
        if outside is None or not await self._is_any_left(run):
            return None
        if self._crew.is_full(run.id):
            return self._later(Why.OTHERS)
        return await outside.before(run)

    async def _work_outside(self, run: Standing, claimed: Claimed, steering: Steering, outside: Outside) -> Stepped:
        """A batch from its claim to its end. Who is ended in the middle lets go of it, and what it wrote stays."""
        hold = self._batches().hold(run, claimed)
        try:
            until = await hold.during(outside.work(hold))
            self.passed(Step.WORKED)
            if until is None:
                return await self._finish_batch(run, claimed, steering)
            await self._batches().put_off(run, claimed, until)
        except NotAsPlanned as refusal:
            await self._batches().refuse(run, claimed, refusal)
            return Stepped(did=True)
        except LetGo:
            await self._batches().let_go(run, claimed)
        except asyncio.CancelledError:
            await asyncio.shield(self._batches().let_go(run, claimed))
            raise
        except Exception as error:
            if not is_passing(error):
                raise
            return await self._put_back(run, claimed, error)
        return Stepped(did=True)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _end(self, run: Standing, steering: Steering) -> Stepped:
        """No batch is left; whether it may end now."""
        outside = self.outside.get(run.kind)
        obstacle = None if outside is None else await outside.after(run)
        if obstacle is not None:
            return await self._held(run, steering, obstacle)
        return Stepped(did=await self._finish(run))

    async def _none_to_be_had(self, run: Standing, steering: Steering) -> Stepped:
        await self._batches().give_up(run)
        left = await self.database.one(_SQL["open"], _Open, {"backfill": run.id})
        if not left.batches:
            return await self._end(run, steering)
        return await self._held(run, steering, self._obstacle_of(left))

    async def _is_any_left(self, run: Standing) -> bool:
        """Whether a batch is left that hours, a rate or the database's health could hold."""
        return bool(await self.database.fetch(_SQL["left"], _Id, {"backfill": run.id}))

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
            return Obstacle(Why.LOCK_WAITS if left.locked else Why.RETRY, left.retry_at)
        soon = now + timedelta(seconds=0.25)
        return Obstacle(Why.OTHERS, min(left.lease_until or soon, soon))

    # What it knows ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _accounting_for_absence(self) -> Iterator[None]:
        """A database that is away is waited for from when it did not answer; that is nobody's rate or window."""
        begun = self.clock.now()
        try:
            yield
        except Exception as error:
            if is_passing(error):
                for steering in self._steerings.values():
                    steering.wait_for(Obstacle(Why.DATABASE, begun), begun)
            raise

    async def _leave(self, backfill: int) -> None:
        """It is not under way any more: what was waited for last is kept."""
        await self._crew.leave(backfill)
        if (steering := self._steerings.pop(backfill, None)) is not None:
            steering.wait_for(None, self.clock.now())
            await self._keep_waits(backfill, steering)

    async def _keep_long_waits(self, backfill: int, steering: Steering) -> None:
        if steering.is_to_keep():
            await self._keep_waits(backfill, steering)

    async def _keep_waits(self, backfill: int, steering: Steering) -> None:
        with steering.to_account() as waited:
            if seconds := waited():
                given = {"backfill": backfill, "waited": Jsonb(dict(seconds))}
                await self.database.execute(_SQL["keep_waits"], given)

    def _batches(self) -> Batches:
        return Batches(self.database, self.clock, self.worker, self.lease, self.passed)

    def _later(self, why: Why) -> Obstacle:
        return Obstacle(why, self.clock.now() + timedelta(seconds=0.25))

    def _steering(self, backfill: int) -> Steering:
        if backfill not in self._steerings:
            probes = self.probes or DatabaseProbes(self.database)
            self._steerings[backfill] = Steering(probes, self.limits)
        return self._steerings[backfill]


def _code(error: Exception) -> str | None:
    return error.sqlstate if isinstance(error, psycopg.Error) else None
