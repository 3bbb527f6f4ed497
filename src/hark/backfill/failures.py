"""What was quarantined or drifted, user by user; and those that failed once more, and only those."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hark.backfill import control
from hark.backfill.request import check_who
from hark.backfill.states import State
from hark.errors import BadInput
from hark.lists.writing import written
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Failure:
    """One user whom the plan meant to change and who was not: `drifted` or `quarantined`, and why."""

    recipient_id: str
    batch: int
    outcome: str
    why: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch that used up its attempts, and why."""

    number: int
    members: int
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class _Retried:
    users: int
    batches: int


async def failures(database: Database, backfill: int, *, after: str = "", limit: int = 100) -> list[Failure]:
    """One page of them, in the order of the users' ids, behind `after`.

    Raises:
        BadInput: it was forgotten, or there is none of that number.
    """
    await control.remembered(database, backfill)
    return await database.fetch(_SQL["failures"], Failure, {"backfill": backfill, "after": after, "limit": limit})


async def export_failures(database: Database, backfill: int, path: Path) -> int:
    """Write all of them as CSV with the columns user, batch, outcome, at, why; how many there are.

    Raises:
        BadInput: there is no such backfill, it was forgotten, or the file cannot be written there.
        Unreachable: the disk is full.
    """
    count, after = 0, ""
    with written(path, ("user", "batch", "outcome", "at", "why")) as write:
        while page := await failures(database, backfill, after=after, limit=_PAGE):
            write([(each.recipient_id, each.batch, each.outcome, each.at.isoformat(), each.why or "") for each in page])
            count, after = count + len(page), page[-1].recipient_id
    return count


async def failed_batches(database: Database, backfill: int) -> list[FailedBatch]:
    """The batches that were given up."""
    return await database.fetch(_SQL["failed_batches"], FailedBatch, {"backfill": backfill})


async def retry_failures(database: Database, backfill: int, *, who: str, now: datetime) -> int:
    """Let those that were quarantined, and the batches that were given up, be applied again; how many users that is.

    Who drifted is not among them: what they chose stands, and a new plan sees it.

    Raises:
        BadInput: the run has not ended, was called off, or nothing of it failed; or what it takes back was forgotten.
    """
    found = await control.to_apply(database, backfill)
    if found.state not in (State.APPLIED, State.VERIFIED, State.FAILED):
        raise BadInput(f"backfill {backfill} is {found.state}; what failed can be applied again when it has ended")
    async with database.transaction() as connection:
        given = {"backfill": backfill, "who": check_who(who), "now": now}
        (done,) = await fetch(connection, _SQL["retry"], _Retried, given)
        if not done.batches:
            raise BadInput(f"nothing of backfill {backfill} failed")
        moved = await connection.execute(_SQL["go_on"].text(), given)
        if moved.rowcount != 1:
            raise BadInput(f"backfill {backfill} has been moved on meanwhile; look again")
    return done.users
