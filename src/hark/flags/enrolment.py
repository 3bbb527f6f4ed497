"""Enrolment: users let in one by one, by the product, and a load of their past asked for with that.

`waiting` and `take` are for the kind of backfill that loads: what waits is taken by a run, once the version that lets
its user in is effective everywhere (`hark.flags.gate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.access import audit
from hark.access.audit import Act
from hark.errors import BadInput
from hark.flags.changes import Author, hold, is_off
from hark.flags.rules import check_ids
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

AT_ONCE = 10_000
"""How many users are enrolled at once."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of it: how many were not so already, and the version of the flag from which on it holds."""

    flag: str
    version: int
    changed: int


@dataclass(frozen=True, slots=True)
class LoadAsked:
    """A load that waits for a run. `version`: of `flag`, from which on the user is let in."""

    user_id: str
    flag: str
    version: int
    asked_by: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class _User:
    user_id: str


async def enrol(database: Database, flag: str, users: Sequence[str], author: Author, *, load: bool = True) -> Enrolment:
    """Let users in, and ask for a load of the past of those who were not enrolled before.

    Raises:
        BadInput: there is no such flag, or it is off; nobody or too many are named, or an id cannot be one.
        OutOfDate: the flag is at another version.
    """
    ids = _checked(users)
    async with database.as_one() as one, one.connection() as connection:
        done, who = await _moved(connection, _SQL["enrol"], flag, ids, author, database.schema, sign=1)
        given = {"flag": flag, "version": done.version, "users": who, "who": author.who, "now": author.now}
        if who and load:
            await one.execute(_SQL["ask_load"], given)
        if who:
            detail: dict[str, object] = {"users": len(who), "version": done.version, "load": load}
            await audit.record(one, author.now, author.who, Act.ENROL, f"flag:{flag}", detail)
    return done


async def withdraw(database: Database, flag: str, users: Sequence[str], author: Author) -> Enrolment:
    """Take an enrolment back, and the load that it asked for if no run took it. Raises what `enrol` does."""
    ids = _checked(users)
    async with database.as_one() as one, one.connection() as connection:
        done, who = await _moved(connection, _SQL["withdraw"], flag, ids, author, database.schema, sign=-1)
        if who:
            await one.execute(_SQL["ask_no_load"], {"flag": flag, "users": who})
            detail: dict[str, object] = {"users": len(who), "version": done.version}
            await audit.record(one, author.now, author.who, Act.WITHDRAW, f"flag:{flag}", detail)
    return done


async def waiting(database: Database, *, limit: int = AT_ONCE) -> list[LoadAsked]:
    """Loads that no run has taken, those asked for first come first."""
    return await database.fetch(_SQL["waiting"], LoadAsked, {"limit": limit})


async def take(
    connection: AsyncConnection[Any], loads: Sequence[LoadAsked], backfill: int, *, schema: str = "hark"
) -> int:
    """Let a run have these loads, in the transaction that makes it; how many it has: others were taken, or changed."""
    given = {
        "users": [each.user_id for each in loads],
        "versions": [each.version for each in loads],
        "backfill": backfill,
    }
    return (await connection.execute(_SQL["take"].text(schema), given)).rowcount


def _checked(users: Sequence[str]) -> list[str]:
    ids = sorted(set(users))
    if not 1 <= len(ids) <= AT_ONCE:
        raise BadInput(f"names {len(ids):,} users, expected 1 to {AT_ONCE:,}")
    check_ids(ids)
    return ids


async def _moved(
    connection: AsyncConnection[Any],
    query: Query,
    flag: str,
    users: Sequence[str],
    author: Author,
    schema: str,
    *,
    sign: int,
) -> tuple[Enrolment, list[str]]:
    """Under the lock of the flag: versions are committed in their order, so that nobody who reads what is later than a
    version ever misses one."""
    found = await hold(connection, flag, author, schema=schema)
    if sign > 0 and not found.is_on:
        raise BadInput(is_off(flag))
    given = {"flag": flag, "version": found.version + 1, "users": list(users), "now": author.now, "who": author.who}
    who = [each.user_id for each in await fetch(connection, query, _User, given, schema=schema)]
    if not who:
        return Enrolment(flag, found.version, 0), who
    await connection.execute(_SQL["rise"].text(schema), {**given, "more": sign * len(who)})
    return Enrolment(flag, found.version + 1, len(who)), who
