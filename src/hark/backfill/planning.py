"""The way to a plan, a step at a time: its cohort is staged, it is planned by chunks, and what it costs is measured.

What cannot be planned has FAILED, and says why. What may pass is tried again, each time after a longer wait, and given
up in the end; a database that is away is not its fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.backfill import notice
from hark.backfill.cohort import FileReach
from hark.backfill.control import stand
from hark.backfill.enlist import enlist
from hark.backfill.plan import PlanStep, give_up, plan_chunk
from hark.backfill.rehearse import leave_unmeasured, rehearse
from hark.backfill.states import State
from hark.backfill.steering import Obstacle, Standing
from hark.backfill.throttle import Why
from hark.errors import BadInput, without_words
from hark.logs import Log
from hark.postgres.database import Database, is_passing
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)


MAX_ATTEMPTS = 20
"""Times in a row that planning may fail for now: in about a quarter of an hour."""

_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Planner:
    """Takes steps towards plans.

    Attributes:
        reach: from where the lists of cohorts may be read.
        who: which worker this is.
        webhook: is told of plans that failed, or stall.
        passed: told of each point that is passed, for tests.
    """

    database: Database
    reach: FileReach
    who: str
    webhook: notice.Webhook | None = None
    passed: Callable[[PlanStep], None] = lambda _step: None

    async def step(self, run: Standing, now: datetime) -> bool:
        """The next step towards a plan.

        Returns:
            Whether something was done; not, when another worker is at it just now.

        Raises:
            psycopg.Error: what may pass; when it is tried again is written down.
        """
        try:
            return await self._next(run, now)
        except BadInput as refusal:
            _log.warning("backfill_not_planned", backfill=run.id, error=type(refusal).__name__)
            await self._give_up(run, refusal, now)
        except Exception as error:
            if is_passing(error) and run.plan_attempt + 1 < MAX_ATTEMPTS:
                await self._again(run, error, now)
                raise
            _log.error("backfill_not_planned", backfill=run.id, **without_words(error))
            await self._give_up(run, error, now)
        return True

    async def _next(self, run: Standing, now: datetime) -> bool:
        """Whoever seals the plan measures it; or, if that one died, another does."""
        if run.state == State.PLANNED:
            await rehearse(self.database, run.id, now)
            return True
        if run.unlisted:
            return await enlist(self.database, run.id, reach=self.reach, now=now)
        did = await plan_chunk(self.database, run.id, now, self.passed)
        if did and (await stand(self.database, run.id)).state is State.PLANNED:
            await rehearse(self.database, run.id, now)
        return did

    async def _again(self, run: Standing, error: Exception, now: datetime) -> None:
        attempt = run.plan_attempt + 1
        due = now + timedelta(seconds=min(2.0**attempt / 4, _LONGEST_WAIT_S))
        why = f"waits: {type(error).__name__} at attempt {attempt}"
        await self.database.execute(_SQL["again"], {"backfill": run.id, "attempt": attempt, "due": due, "why": why})
        await notice.stalled(self.database, self.webhook, run.id, Obstacle(Why.RETRY, due), now)

    async def _give_up(self, run: Standing, error: Exception, now: datetime) -> None:
        """It cannot be planned; or, if it is, it cannot be measured."""
        if await give_up(self.database, run.id, error, who=self.who, now=now):
            await notice.call(self.webhook, self.database, run.id)
        else:
            await leave_unmeasured(self.database, run.id)
