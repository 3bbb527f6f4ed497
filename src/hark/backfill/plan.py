"""Plan: look at the cohort, batch by batch, and write down what would become of whom. Nothing else is written.

Any worker can go on where another stopped: a chunk of batches is one transaction, and the backfill's row, locked in it,
keeps how far it reached. The plan is sealed with a hash over all that it would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from hark.backfill import notice
from hark.backfill.enlist import ToStage
from hark.backfill.kind import Connection, Kind, Part, Span
from hark.backfill.kinds import KINDS
from hark.backfill.request import Order
from hark.backfill.spans import Extent, extent
from hark.backfill.states import BatchState
from hark.errors import HarkError
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_LONGEST_WHY = 2000


class PlanStep(StrEnum):
    """The points of a chunk that a test may stop at."""

    SPANNED = "spanned"
    LOOKED = "looked"
    WRITTEN = "written"
    KEPT = "kept"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class Unplanned:
    """A backfill that is being planned, held by this transaction."""

    id: int
    kind: str
    request: dict[str, Any]
    cohort_id: int
    undoes: int | None
    batch_size: int
    reached: str
    batches: int


async def create(database: Database, order: Order, now: datetime) -> int:
    """Write down that a backfill is asked for; its id. Workers plan it, or whoever calls `plan_chunk`."""
    window = order.pace.window
    given = {
        "kind": order.kind,
        "request": Jsonb(dict(order.request)),
        "cohort": None if isinstance(order.cohort, ToStage) else order.cohort,
        "to_stage": Jsonb(dict(order.cohort.to_json())) if isinstance(order.cohort, ToStage) else None,
        "undoes": order.undoes,
        "batch_size": order.batch_size,
        "rate": order.pace.rate,
        "adaptive": order.pace.adaptive,
        "opens": window.opens if window else None,
        "closes": window.closes if window else None,
        "zone": window.zone if window else "UTC",
        "approval_over": order.approval_over,
        "notify": Jsonb({"reason": order.notify.reason, "to": list(order.notify.to)}) if order.notify else None,
        "who": order.who,
        "now": now,
    }
    return (await database.one(_SQL["create"], _Id, given)).id


async def plan_chunk(
    database: Database, backfill: int, now: datetime, passed: Callable[[PlanStep], None] = lambda _step: None
) -> bool:
    """Plan the next few batches, or seal the plan.

    Returns:
        Whether something was done; not, when the backfill is not being planned or another worker is at it just now.
    """
    async with database.transaction() as connection:
        held = await fetch(connection, _SQL["hold_unplanned"], Unplanned, {"backfill": backfill})
        if not held:
            return False
        await _plan_chunk(connection, held[0], now, passed)
    passed(PlanStep.KEPT)
    return True


async def give_up(database: Database, backfill: int, error: Exception, *, who: str, now: datetime) -> bool:
    """It cannot be planned: FAILED, and why: of a refusal its words, of an accident its kind. The rest is of no use.

    Whoever wants to know of its end is told. Returns whether it was still being planned.
    """
    why = str(error)[:_LONGEST_WHY] if isinstance(error, HarkError) else type(error).__name__
    given = {"backfill": backfill, "who": who, "why": f"not planned: {why}", "now": now}
    async with database.transaction() as connection:
        failed = (await connection.execute(_SQL["unplannable"].text(), given)).rowcount == 1
        if failed:
            await notice.ended(connection, backfill, now)
    return failed


async def _plan_chunk(
    connection: Connection, run: Unplanned, now: datetime, passed: Callable[[PlanStep], None]
) -> None:
    batches = max(1, KINDS[run.kind].planned_at_once // run.batch_size)
    span = Span(run.cohort_id, run.reached, run.batch_size, batches * run.batch_size)
    reach = await extent(connection, span)
    passed(PlanStep.SPANNED)
    if reach.last is None:
        await connection.execute(_SQL["seal"].text(), {"backfill": run.id, "now": now})
        passed(PlanStep.SEALED)
        return
    parts = await _parts(connection, KINDS[run.kind], run, span)
    passed(PlanStep.LOOKED)
    await _write(connection, run, reach, parts, now)
    passed(PlanStep.WRITTEN)


async def _parts(connection: Connection, kind: Kind, run: Unplanned, span: Span) -> list[Part]:
    if run.undoes is not None:
        return await kind.plan_undo(connection, run.undoes, span)
    return await kind.plan(connection, run.request, span)


async def _write(connection: Connection, run: Unplanned, reach: Extent, parts: Iterable[Part], now: datetime) -> None:
    by_place: dict[int, list[Part]] = {place: [] for place in range(len(reach.members))}
    for part in parts:
        by_place[part.place].append(part)
    batches = [
        _batch(run, run.batches + place + 1, members, by_place[place], now)
        for place, members in enumerate(reach.members)
    ]
    async with connection.cursor() as cursor:
        await cursor.executemany(_SQL["put_batch"].text(), batches)
        await cursor.executemany(
            _SQL["put_part"].text(),
            [
                _row(run.id, run.batches + place + 1, number, part)
                for place, of_batch in by_place.items()
                for number, part in enumerate(of_batch, 1)
            ],
        )
    await connection.execute(_SQL["digest"].text(), {"backfill": run.id, "behind": run.batches})
    await connection.execute(
        _SQL["progress"].text(),
        {
            "backfill": run.id,
            "reached": reach.last,
            "batches": len(batches),
            "members": sum(reach.members),
            "to_change": sum(int(batch["to_change"]) for batch in batches),
        },
    )


def _batch(run: Unplanned, number: int, members: int, parts: Sequence[Part], now: datetime) -> dict[str, Any]:
    to_change = sum(len(part.members) for part in parts if part.change is not None)
    return {
        "backfill": run.id,
        "number": number,
        "state": BatchState.WAITING if to_change else BatchState.DONE,
        "members": members,
        "to_change": to_change,
        "now": now,
    }


def _row(backfill: int, batch: int, number: int, part: Part) -> dict[str, Any]:
    return {
        "backfill": backfill,
        "batch": batch,
        "number": number,
        "user_type": part.user_type,
        "outcomes": Jsonb(dict(part.outcomes)),
        "change": None if part.change is None else Jsonb(dict(part.change)),
        "promise": None if part.promise is None else Jsonb(dict(part.promise)),
        "users": len(part.members),
        "members": list(part.members),
    }
