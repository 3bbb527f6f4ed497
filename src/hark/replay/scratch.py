"""A schema of its own for one replay, with the engine's tables in it; gone when the replay is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
from psycopg import AsyncConnection

from hark.errors import BadInput
from hark.logs import Log
from hark.postgres.database import Database, fetch, open_database
from hark.postgres.migrate import migrate
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

# Nothing here has to outlive a crash. The plans are made once: every statement has the same shape from first to last.
_SETTINGS = {"synchronous_commit": "off", "plan_cache_mode": "force_generic_plan"}


@dataclass(frozen=True, slots=True)
class _Locked:
    locked: bool


@asynccontextmanager
async def scratch(dsn: str) -> AsyncIterator[Database]:
    """Hark's tables, empty, in the schema `hark_replay_<n>`; dropped at the end, whatever happened.

    `n` is the first number that no other replay holds. A replay that was killed leaves its schema behind but not its
    hold on the number, so the next one with that number clears it away.

    Raises:
        BadInput: this role may not create a schema.
        Unreachable: the server does not answer.
    """
    async with open_database(dsn, size=1) as keeper, keeper.connection() as held:
        schema = f"hark_replay_{await _hold_number(held)}"
        await _drop(held, schema)
        try:
            await _create(dsn, schema)
            async with open_database(dsn, size=2, schema=schema, settings=_SETTINGS) as database:
                yield database
        finally:
            await _clear(held, schema)


async def _hold_number(held: AsyncConnection[Any]) -> int:
    for number in count(1):
        (row,) = await fetch(held, _SQL["hold"], _Locked, {"number": number})
        if row.locked:
            return number
    raise AssertionError("count() does not end")


async def _create(dsn: str, schema: str) -> None:
    try:
        await migrate(dsn, schema=schema)
    except psycopg.errors.InsufficientPrivilege as error:
        raise BadInput(
            f"a replay needs a schema of its own, and Postgres says {str(error).strip()!r};"
            " grant this role CREATE on the database, or replay in another one"
        ) from error
    async with open_database(dsn, size=1, schema=schema) as database, database.connection() as connection:
        await connection.execute(_SQL["unlogged"].text(schema))


async def _drop(held: AsyncConnection[Any], schema: str) -> None:
    await held.execute(f"drop schema if exists {schema} cascade")


async def _clear(held: AsyncConnection[Any], schema: str) -> None:
    try:
        await _drop(held, schema)
    except psycopg.Error as error:  # must not hide why the replay ended
        _log.warning("scratch_left", schema=schema, error=type(error).__name__)
