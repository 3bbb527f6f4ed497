"""One batch: claimed with a lease, done in one transaction that is fenced, and settled; or put back for later.

The transaction looks first whether the claim still holds and whether the run goes on, and ends with the journal and the
batch's counts in it. Whoever stops a run waits for the batches under way and lets no other begin (an advisory lock,
shared by batches), so that nothing is written once `pause` or `cancel` has said that it is done.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg
from psycopg.types.json import Jsonb

from hark.backfill.bisect import LOCK_PATIENCE, Tally, apply_whole_or_in_halves, milliseconds
from hark.backfill.kind import Batch, Connection
from hark.backfill.kinds import KINDS
from hark.backfill.outside import Hold, LetGo
from hark.backfill.steering import Obstacle, Standing, Steering
from hark.backfill.throttle import Why
from hark.clock import Clock
from hark.errors import NotAsPlanned
from hark.logs import Log
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

MAX_ATTEMPTS = 5
"""Claims of a batch that may come to nothing; then it has failed, and waits for a person."""

MAX_LOCK_WAITS = 60
"""Claims that may come to nothing besides, because others hold rows: about half an hour, for they grow apart."""


class Step(StrEnum):
    """The points of a batch that a test may stop at."""

    CLAIMED = "claimed"
    WORKED = "worked"
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
    """A batch that this worker holds. `attempt` fences it; `retried`: of its users just these.

    `lock_waits`: how many of its attempts came to nothing because others held rows; they are not counted.
    """

    number: int
    attempt: int
    retried: list[str] | None
    lock_waits: int

    @property
    def is_last(self) -> bool:
        """Whether it is given up if this comes to nothing."""
        return self.attempt - self.lock_waits >= MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class _Fenced:
    as_planned: bool


@dataclass(frozen=True, slots=True)
class Batches:
    """What one worker does with batches; the attributes are those of `Runner`."""

    database: Database
    clock: Clock
    worker: str
    lease: timedelta
    passed: Callable[[Step], None]

    async def claim(self, run: Standing) -> Claimed | None:
        """The next batch that is to be had, with a lease and the next attempt's number."""
        now = self.clock.now()
        given = {
            "backfill": run.id,
            "now": now,
            "lease_until": now + self.lease,
            "worker": self.worker,
            "max_attempts": MAX_ATTEMPTS,
        }
        free = run.rate is None or KINDS[run.kind].goes_outside
        claimed = await self.database.fetch(_SQL["claim" if free else "claim_paced"], Claimed, given)
        return claimed[0] if claimed else None

    async def apply(self, run: Standing, claimed: Claimed, steering: Steering) -> Tally | None:
        """Do a batch, in one transaction with its journal and its counts.

        Returns:
            None: it was not ours any more, or the run does not go on.

        Raises:
            NotAsPlanned: the batch was changed since it was planned.
        """
        with steering.to_account() as waited:
            async with self.database.transaction() as connection:
                await begin(connection, run.id, idle=self.lease)
                self.passed(Step.BEGUN)
                begun = time.perf_counter()
                if not await self._is_ours(connection, run, claimed):
                    return None
                tally = await self._work(connection, run, claimed)
                took = timedelta(seconds=time.perf_counter() - begun)
                await self._settle(connection, run, claimed, tally, took, waited())
                self.passed(Step.SETTLED)
        self.passed(Step.COMMITTED)
        return tally

    async def let_go(self, run: Standing, claimed: Claimed) -> None:
        """The run was held or called off meanwhile: nobody need wait for the lease. Another's claim is not touched."""
        given = {**self._fence(run, claimed), "due_at": self.clock.now(), "why": "", "lock_waits": 0}
        await self.database.execute(_SQL["put_back"], given)

    async def refuse(self, run: Standing, claimed: Claimed, refusal: NotAsPlanned) -> None:
        """It is not what was planned, and waits for a person."""
        _log.error("backfill_batch_not_as_planned", backfill=run.id, batch=claimed.number)
        given = {**self._fence(run, claimed), "now": self.clock.now(), "why": str(refusal)}
        await self.database.execute(_SQL["refuse"], given)

    async def put_back(self, run: Standing, claimed: Claimed, error: Exception) -> Obstacle:
        """The database could not do it for now: another attempt later, each time after a longer wait."""
        _log.warning("backfill_batch_waits", backfill=run.id, batch=claimed.number, error=type(error).__name__)
        locked = isinstance(error, psycopg.errors.LockNotAvailable)
        again = self.clock.now() + timedelta(seconds=min(2.0 ** min(claimed.attempt, 10) / 4, 30.0))
        given = {
            **self._fence(run, claimed),
            "due_at": again,
            "why": f"{type(error).__name__} at attempt {claimed.attempt}",
            "lock_waits": int(locked and claimed.lock_waits < MAX_LOCK_WAITS),
        }
        await self.database.execute(_SQL["put_back"], given)
        return Obstacle(Why.LOCK_WAITS if locked else Why.RETRY, again)

    async def put_off(self, run: Standing, claimed: Claimed, until: datetime) -> None:
        """What it still waits for outside of transactions comes later; that was no failed attempt."""
        await self.database.execute(_SQL["put_off"], {**self._fence(run, claimed), "due_at": until})

    async def give_up(self, run: Standing) -> None:
        """Batches whose attempts are used up have failed."""
        given = {"backfill": run.id, "now": self.clock.now(), "max_attempts": MAX_ATTEMPTS}
        await self.database.execute(_SQL["give_up"], given)

    def hold(self, run: Standing, claimed: Claimed) -> Hold:
        """What a kind works with outside of transactions."""
        batch = Batch(run.id, claimed.number, claimed.retried)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Connection]:
            async with self.database.transaction() as connection:
                await begin(connection, run.id, idle=self.lease)
                if not await self._is_ours(connection, run, claimed):
                    raise LetGo
                await connection.execute(_SQL["progress"].text(), self._renewed(run, claimed))
                yield connection

        async def renewed() -> bool:
            return await self.database.execute(_SQL["renew"], self._renewed(run, claimed)) == 1

        return Hold(run, batch, run.rate, opened, renewed, self.lease.total_seconds() / 3)

    async def _is_ours(self, connection: Connection, run: Standing, claimed: Claimed) -> bool:
        """Whether it is still ours, and the run goes on."""
        fenced = await fetch(connection, _SQL["fence"], _Fenced, self._fence(run, claimed))
        if not fenced:
            return False
        if not fenced[0].as_planned:
            raise NotAsPlanned(f"is not what was planned: batch {claimed.number} was changed since; plan it anew")
        self.passed(Step.FENCED)
        return True

    async def _work(self, connection: Connection, run: Standing, claimed: Claimed) -> Tally:
        batch = Batch(run.id, claimed.number, claimed.retried)
        now = self.clock.now()
        if claimed.retried is not None:
            await connection.execute(_SQL["anew"].text(), {"backfill": run.id, "retried": claimed.retried})
        tally = await apply_whole_or_in_halves(connection, KINDS[run.kind], batch, now, last=claimed.is_last)
        self.passed(Step.QUARANTINED if tally.quarantined else Step.APPLIED)
        return tally

    async def _settle(
        self,
        connection: Connection,
        run: Standing,
        claimed: Claimed,
        tally: Tally,
        took: timedelta,
        waited: Mapping[str, float],
    ) -> None:
        given = {
            **self._fence(run, claimed),
            "applied": tally.applied,
            "drifted": tally.drifted,
            "quarantined": tally.quarantined,
            "took": took,
            "waited": Jsonb(dict(waited)),
            "now": self.clock.now(),
        }
        await connection.execute(_SQL["settle"].text(), given)

    def _renewed(self, run: Standing, claimed: Claimed) -> dict[str, object]:
        return {**self._fence(run, claimed), "lease_until": self.clock.now() + self.lease}

    def _fence(self, run: Standing, claimed: Claimed) -> dict[str, object]:
        return {"backfill": run.id, "number": claimed.number, "attempt": claimed.attempt, "worker": self.worker}


async def begin(connection: Connection, backfill: int, *, idle: timedelta) -> None:
    """Begin what writes rows of users: see `begin` in batches.sql.

    Args:
        idle: how long the transaction may stand idle before the server ends it.

    Raises:
        psycopg.errors.LockNotAvailable: somebody holds the backfill just now, to pause or cancel it.
    """
    given = {"backfill": backfill, "idle": milliseconds(idle), "patience": milliseconds(LOCK_PATIENCE)}
    await connection.execute(_SQL["begin"].text(), given)
