"""Steps: a user's receipts, and a user's shop orders, each loaded by a run at most once.

A step's key is `receipt-<run>` or `shop-<run>`. Its facts are recorded in the transaction that marks it done, and its
user as loaded, if it is the later of the two; what fails for now is put off alone, and what cannot be taken is
quarantined with its cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection

from hark.history.fact import Kind
from hark.history.loading.queue import Hint
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

MOST_ATTEMPTS = 8
"""So often one step may fail while others of its source are answered; then it is quarantined."""

Connection = AsyncConnection[Any]


class StepState(StrEnum):
    """Where a step is: `hark.history_step.state`."""

    WAITING = "WAITING"
    DONE = "DONE"
    QUARANTINED = "QUARANTINED"


@dataclass(frozen=True, slots=True)
class Step:
    """One that is to be done; `attempts` that came to nothing before."""

    user_id: str
    kind: Kind
    attempts: int


@dataclass(frozen=True, slots=True)
class Done:
    """One that was recorded: the source's watermark, and when it was asked."""

    step: Step
    watermark: int
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class PutOff:
    """One that came to nothing for now; `counted`: whether that is held against it."""

    step: Step
    until: datetime
    why: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """One whose answer cannot be taken, and why."""

    step: Step
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """When the first of what is still to be done may be; None: nothing is. `why` it waits."""

    at: datetime | None
    why: str | None


@dataclass(frozen=True, slots=True)
class _Due:
    user_id: str
    kind: str
    attempts: int


@dataclass(frozen=True, slots=True)
class _Hinted:
    run: int
    user_id: str
    kind: str
    attempts: int


async def begin(connection: Connection, run: int, users: Sequence[str], now: datetime, *, again: bool) -> None:
    """Write down the steps of these users, if they are not yet; `again`: those that were quarantined, too."""
    given = {"run": run, "users": list(users), "now": now}
    await connection.execute(_SQL["begin"].text(), given)
    if again:
        await connection.execute(_SQL["again"].text(), given)


async def due(database: Database, run: int, users: Sequence[str], now: datetime) -> list[Step]:
    """What is to be done for these users now, the largest first as far as is known."""
    rows = await database.fetch(_SQL["due"], _Due, {"run": run, "users": list(users), "now": now})
    return [Step(row.user_id, Kind(row.kind), row.attempts) for row in rows]


async def hinted(database: Database, hints: Sequence[Hint], now: datetime) -> dict[Hint, Step]:
    """Which of these are to be worked at now: they wait, are due, and their run goes on, or is only paused."""
    given = {
        "runs": [each.run for each in hints],
        "users": [each.user_id for each in hints],
        "kinds": [each.kind.value for each in hints],
        "now": now,
    }
    rows = await database.fetch(_SQL["hinted"], _Hinted, given) if hints else []
    return {Hint(row.run, row.user_id, Kind(row.kind)): Step(row.user_id, Kind(row.kind), row.attempts) for row in rows}


async def waiting(database: Database, run: int, users: Sequence[str]) -> Waiting:
    """What is still to be done for these users."""
    return await database.one(_SQL["waiting"], Waiting, {"run": run, "users": list(users)})


async def mark_done(connection: Connection, run: int, done: Sequence[Done]) -> None:
    """In the transaction that recorded their facts: these are done, and whose other step is, too, is loaded."""
    given = {
        **_of(run, [each.step for each in done]),
        "watermarks": [each.watermark for each in done],
        "moments": [each.asked_at for each in done],
    }
    await connection.execute(_SQL["done"].text(), given)
    await connection.execute(_SQL["loaded"].text(), given)


async def put_off(connection: Connection, run: int, late: Sequence[PutOff]) -> None:
    """Let these wait; who was put off too often is quarantined."""
    given = {
        **_of(run, [each.step for each in late]),
        "moments": [each.until for each in late],
        "whys": [each.why for each in late],
        "counted": [int(each.counted) for each in late],
        "most": MOST_ATTEMPTS,
    }
    await connection.execute(_SQL["put_off"].text(), given)


async def quarantine(connection: Connection, run: int, bad: Sequence[Refused]) -> None:
    """Leave these, with why."""
    given = {**_of(run, [each.step for each in bad]), "whys": [each.why for each in bad]}
    await connection.execute(_SQL["quarantine"].text(), given)


async def leave(connection: Connection, run: int, users: Sequence[str], why: str) -> None:
    """Leave what is not done yet of these users, with why."""
    await connection.execute(_SQL["leave"].text(), {"run": run, "users": list(users), "why": why})


def _of(run: int, steps: Sequence[Step]) -> dict[str, object]:
    return {"run": run, "users": [each.user_id for each in steps], "kinds": [each.kind.value for each in steps]}
