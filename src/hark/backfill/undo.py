"""Undo: a backfill of its own that takes back what another one did and nobody has changed since.

It is planned over the same cohort from the other's journal, applied, verified and, if need be, undone like any other;
but the undo of a load is not: what that took back must come from the sources again, by a new load.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hark.backfill import control
from hark.backfill.kinds import KINDS
from hark.backfill.plan import create
from hark.backfill.request import Notify, Order, Pace, check_who
from hark.backfill.states import UNDOABLE
from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class _Done:
    kind: str
    request: dict[str, Any]
    cohort_id: int | None
    batch_size: int
    approval_over: int | None
    notify: dict[str, Any] | None


async def undo(
    database: Database,
    backfill: int,
    *,
    who: str,
    now: datetime,
    pace: Pace | None = None,
    approval_over: int | None = None,
) -> int:
    """Ask for a backfill to be taken back; the id of the one that does it, which is to be planned and applied.

    Args:
        pace: as fast as the database bears, if none is given.
        approval_over: how many users may be changed without a second person; None: any number. Of this and what held
            for the backfill that is taken back, the lower is in force: its undo needs a second person where it did.

    Raises:
        BadInput: it goes on, it changed nothing, or it is the undo of a load; or one that may have changed the same
            since is forgotten.
    """
    found = await control.remembered(database, backfill)
    if found.state not in UNDOABLE:
        raise BadInput(f"backfill {backfill} is {found.state}; pause or cancel it first, or let it end")
    done = await database.one(_SQL["done"], _Done, {"backfill": backfill})
    if found.undoes is not None and KINDS[done.kind].goes_outside:
        raise BadInput(
            f"backfill {backfill} took back load {found.undoes}, and that is not undone: a new load of the same users"
            " brings again what they bought: hark backfill history"
        )
    if done.cohort_id is None or not await _did(database, done.kind, backfill):
        raise BadInput(f"backfill {backfill} changed nothing, so there is nothing to undo")
    await control.to_undo(database, backfill)
    notify = Notify(done.notify["reason"], tuple(done.notify["to"])) if done.notify else None
    order = Order(
        done.kind,
        done.request,
        done.cohort_id,
        check_who(who),
        done.batch_size,
        pace or Pace(),
        _lower(done.approval_over, approval_over),
        notify,
        backfill,
    )
    return await create(database, order, now)


async def _did(database: Database, kind: str, backfill: int) -> bool:
    async with database.connection() as connection:
        return await KINDS[kind].did(connection, backfill)


def _lower(one: int | None, other: int | None) -> int | None:
    """Of two bounds, where None is no bound."""
    return min((bound for bound in (one, other) if bound is not None), default=None)
