"""Bring a database's tables to this version of Hark: raw SQL files in order, each once, under an advisory lock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from typing import Any

from psycopg import AsyncConnection

from hark.errors import BadInput, Unreachable
from hark.postgres.database import open_database
from hark.postgres.queries import SCHEMA, in_schema
from hark.postgres.reaching import PATIENCE, Say

OLDEST_SERVER = 150000
_LOCK_KEY = 0x6861726B  # "hark"
_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema's history. `name` is the file's name without its ending."""

    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations that this version of Hark carries, oldest first."""
    return sorted(_read(), key=lambda migration: migration.name)


async def migrate(
    dsn: str, *, schema: str = SCHEMA, patience: timedelta = PATIENCE, say: Say = lambda _line: None
) -> list[str]:
    """Apply what is missing; safe to run on every start and by many processes at once.

    Args:
        dsn: a libpq URI or conninfo string.
        schema: where the tables go; another one than `hark` only for scratch work.
        patience: how long to wait for a server that is starting up.
        say: told when it is waited for.

    Returns:
        The names of the migrations applied now, oldest first; empty when the tables were up to date.

    Raises:
        Unreachable: no server answers, or it is older than Postgres 15.
        BadInput: the tables are of a newer Hark than this one.
    """
    async with (
        open_database(dsn, size=1, patience=patience, say=say) as database,
        database.transaction() as connection,
    ):
        return await apply_missing(connection, schema)


async def apply_missing(connection: AsyncConnection[Any], schema: str = SCHEMA) -> list[str]:
    """`migrate` on a connection of the caller's, inside its open transaction."""
    _check_server(connection)
    await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK_KEY])
    applied = await _applied(connection, schema)
    known = migrations()
    _check_not_newer(applied, {migration.name for migration in known})
    missing = [migration for migration in known if migration.name not in applied]
    for migration in missing:
        await connection.execute(in_schema(migration.sql, schema))
        await connection.execute(_text("insert into hark.migration (name) values (%s)", schema), [migration.name])
    return [migration.name for migration in missing]


def _check_server(connection: AsyncConnection[Any]) -> None:
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise Unreachable(f"Postgres {version // 10000} is too old for Hark; it needs 15 or newer")


async def _applied(connection: AsyncConnection[Any], schema: str) -> set[str]:
    await connection.execute(_text("create schema if not exists hark", schema))
    await connection.execute(
        _text(
            "create table if not exists hark.migration"
            " (name text primary key, applied_at timestamptz not null default clock_timestamp())",
            schema,
        )
    )
    cursor = await connection.execute(_text("select name from hark.migration", schema))
    return {name for (name,) in await cursor.fetchall()}


def _check_not_newer(applied: set[str], known: set[str]) -> None:
    foreign = sorted(applied - known)
    if foreign:
        raise BadInput(f"this database was migrated by a newer Hark ({', '.join(foreign)}); upgrade this one")


def _text(sql: str, schema: str) -> str:
    text = sql.replace("schema if not exists hark", f"schema if not exists {schema}")
    return in_schema(text, schema)


def _read() -> Iterator[Migration]:
    for entry in (resources.files("hark.postgres") / "migrations").iterdir():
        if _FILE_NAME.fullmatch(entry.name):
            yield Migration(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
