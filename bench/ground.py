"""The ground that contestants meet on: a scratch server as a product would run it, and databases on it."""

from __future__ import annotations

import asyncio
import atexit
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from hark import preferences
from hark.catalogue import Calendar, Catalogue, Category, Channel, Frequency, Reason, Templates, Windows
from hark.durations import parse_duration
from hark.postgres.database import SESSION, Database, open_database
from hark.postgres.embedded import EmbeddedServer, start
from hark.postgres.migrate import migrate

SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "512MB",
    "effective_cache_size": "8GB",
    "max_connections": "100",
}
"""Durable (fsync, synchronous_commit and full_page_writes on), with room: no checkpoint falls into a short round."""

REPOSITORY = Path(__file__).resolve().parents[1]
"""Where a process of its own finds this package."""

Connection = AsyncConnection[tuple[Any, ...]]


@lru_cache
def server() -> EmbeddedServer:
    """The scratch server of this process; its data goes when the process ends."""
    running = start(Path(tempfile.mkdtemp(prefix="hark-bench-")), keep=False, settings=SETTINGS)
    atexit.register(running.release)
    return running


def make_database(name: str) -> bool:
    """Make a database on the scratch server; False: it was there."""
    assert re.fullmatch(r"[a-z0-9_]+", name)
    with psycopg.connect(server().dsn, autocommit=True) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return False
        connection.execute(f"create database {name}")
    return True


def drop_database(name: str) -> None:
    """Drop a database of the scratch server, whoever is still connected."""
    assert re.fullmatch(r"[a-z0-9_]+", name)
    with psycopg.connect(server().dsn, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")


@asynccontextmanager
async def fresh_hark(name: str, catalogue: Catalogue, *, size: int = 8) -> AsyncIterator[Database]:
    """Hark on a database of its own, dropped afterwards."""
    drop_database(name)
    make_database(name)
    try:
        async with hark_on(name, catalogue, size=size) as database:
            yield database
    finally:
        drop_database(name)


@asynccontextmanager
async def hark_on(name: str, catalogue: Catalogue, *, size: int = 8) -> AsyncIterator[Database]:
    """Hark on a database that is there: its tables, the catalogue, a pool."""
    dsn = server().dsn_of(name)
    await migrate(dsn)
    async with open_database(dsn, size=size) as database:
        await preferences.install(database, catalogue)
        yield database


@asynccontextmanager
async def bare(name: str) -> AsyncIterator[Connection]:
    """A connection as Hark's own ones are set, for raw statements and for housekeeping."""
    options = " ".join(f"-c {setting}={value}" for setting, value in SESSION.items())
    connection = await AsyncConnection.connect(server().dsn_of(name), autocommit=True, options=options)
    async with connection:
        yield connection


async def settle_down(connection: Connection, *tables: str) -> None:
    """Vacuum with statistics and checkpoint, so that no round pays for what the one before left behind."""
    await connection.execute(f"vacuum analyze {', '.join(tables)}")
    await connection.execute("checkpoint")
    await asyncio.sleep(0.2)


def reason(
    name: str,
    *channels: Channel,
    frequency: Frequency = Frequency.BATCHED,
    cooldown: str = "4m",
    max_stale: str = "1h",
) -> Reason:
    """A reason for students."""
    return Reason(
        name=name,
        title=name.replace("_", " ").capitalize(),
        channels={"Students": channels},
        frequency=frequency,
        windows=Windows(parse_duration(cooldown), parse_duration(max_stale)),
        group=name,
        category=Category.ACTIVITY,
        templates=Templates(),
    )


def catalogue(*reasons: Reason) -> Catalogue:
    """These reasons, and one user type."""
    return Catalogue({"Students": "People who look for a job"}, {each.name: each for each in reasons}, None, Calendar())
