"""The way to a plan, a step at a time: its cohort is staged, it is planned by chunks, and what it costs is measured.

What cannot be planned has FAILED, and says why; a database that is away is not its fault.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from hark.backfill.cohort import FileReach
from hark.backfill.control import stand
from hark.backfill.enlist import enlist
from hark.backfill.plan import PlanStep, give_up, plan_chunk
from hark.backfill.rehearse import rehearse
from hark.backfill.states import State
from hark.backfill.steering import Standing
from hark.errors import BadInput
from hark.postgres.database import Database, is_passing

_log = structlog.get_logger(__name__)


async def plan_on(
    database: Database,
    run: Standing,
    *,
    reach: FileReach,
    who: str,
    now: datetime,
    passed: Callable[[PlanStep], None] = lambda _step: None,
) -> bool:
    """The next step towards a plan.

    Args:
        reach: from where the lists of its cohort may be read.
        who: which worker this is.
        passed: told of each point that is passed, for tests.

    Returns:
        Whether something was done; not, when another worker is at it just now.
    """
    try:
        if run.unlisted:
            return await enlist(database, run.id, reach=reach, now=now)
        return await _plan_on(database, run.id, now, passed)
    except BadInput as refusal:
        _log.warning("backfill_not_planned", backfill=run.id, error=type(refusal).__name__)
        await give_up(database, run.id, refusal, who=who, now=now)
    except Exception as error:
        if is_passing(error):
            raise
        _log.error("backfill_not_planned", backfill=run.id, exc_info=error)
        await give_up(database, run.id, error, who=who, now=now)
    return True


async def _plan_on(database: Database, backfill: int, now: datetime, passed: Callable[[PlanStep], None]) -> bool:
    """Whoever seals the plan measures it."""
    did = await plan_chunk(database, backfill, now, passed)
    if did and (await stand(database, backfill)).state is State.PLANNED:
        await rehearse(database, backfill, now)
    return did
