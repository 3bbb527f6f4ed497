"""A pool of connections that runs named queries and gives back typed rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import BaseRowFactory, class_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from hark.errors import Unreachable
from hark.postgres.queries import SCHEMA, Queries, Query
from hark.postgres.reaching import PATIENCE, Say, reach

T = TypeVar("T")

_PASSING = ("08", "25006", "25P03", "40", "53", "55P03", "57", "58")
"""SQLSTATEs: connection, read-only after a failover, ended for idling in a transaction, rolled back, out of resources,
lock, intervention, system."""
_OF_THE_DATA = ("22", "23", "54")
"""SQLSTATEs: data, constraints, a program limit (a value too long for an index)."""

_SQL = Queries.beside(__file__)

SESSION = {"jit": "off", "random_page_cost": "1.1", "synchronous_commit": "on"}
"""Settings of Hark's own sessions: its queries are look-ups of a few hundred rows, for which compiling never pays and
which must go by their index also where the server is set up for spinning disks. A commit is on disk before it is
acted upon, whatever the server is set to: a mark that a crash undoes would be a message sent twice."""

_RECONNECT_S = 5.0
"""The pool's waits between attempts to connect double without bound until it gives up, so it is made to give up and
begin again early: however long the database was away, it is missed for seconds."""


@dataclass(frozen=True, slots=True)
class _Now:
    now: datetime


@dataclass(frozen=True, slots=True)
class _Installation:
    id: str


class Pool(Protocol):
    """Where connections come from."""

    timeout: float
    """How long to wait for one, in seconds."""

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[tuple[Any, ...]]]:
        """One of them, for the time of a block."""
        ...

    async def close(self) -> None:
        """Close all of them."""
        ...


@dataclass(slots=True)
class Database:
    """Where Hark keeps everything: one Postgres database, one schema.

    Every query runs in its own short transaction (autocommit) unless it is given a connection from `transaction()`.
    """

    pool: Pool
    schema: str = SCHEMA
    _closed: bool = field(default=False, repr=False)

    async def fetch(
        self,
        query: Query,
        row: type[T],
        params: Mapping[str, Any] | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> list[T]:
        """All rows of a query, each as a `row`.

        Args:
            prepare: True prepares at once, False plans anew each time (for chunks whose size the planner must see),
                None leaves it to psycopg (prepared from the fifth run on).
            binary: values come as Postgres holds them, not as text: for large arrays.
        """
        async with self.connection() as connection:
            return await fetch(connection, query, row, params, schema=self.schema, prepare=prepare, binary=binary)

    async def one(self, query: Query, row: type[T], params: Mapping[str, Any] | None = None) -> T:
        """The only row of a query that always gives one."""
        rows = await self.fetch(query, row, params)
        if len(rows) != 1:
            raise AssertionError(f"{query.name} gave {len(rows)} rows where one was sure")
        return rows[0]

    async def execute(self, query: Query, params: Mapping[str, Any] | None = None) -> int:
        """Run a statement; how many rows it touched."""
        async with self.connection() as connection:
            cursor = await connection.execute(query.text(self.schema), params)
            return cursor.rowcount

    async def installation(self) -> str:
        """Which database this is: the same for as long as its tables live, another one for any other."""
        return (await self.one(_SQL["installation"], _Installation)).id

    async def now(self) -> datetime:
        """The one clock: the database's."""
        return (await self.one(_SQL["clock"], _Now)).now

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection from the pool, in autocommit.

        Raises:
            Unreachable: no connection could be had in time.
        """
        try:
            async with self.pool.connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise Unreachable(f"no connection to Postgres within {self.pool.timeout:g} s: {error}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection with a transaction open around the block."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def as_one(self) -> AsyncIterator[Database]:
        """This database with one transaction open around the block: whatever runs on it stands or falls together.

        For calls one after the other, not at the same time: they share one connection.
        """
        async with self.transaction() as connection:
            yield self.by(connection)

    def by(self, connection: AsyncConnection[tuple[Any, ...]]) -> Database:
        """This database by one connection of the caller's: what runs on it is part of the transaction open there."""
        return Database(_OneConnection(connection), self.schema)

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()


@dataclass(slots=True)
class _OneConnection:
    """A pool of the one connection that has a transaction open."""

    only: AsyncConnection[tuple[Any, ...]]
    timeout: float = 0.0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        yield self.only

    async def close(self) -> None:
        """It is the transaction's, which closes it."""


def is_passing(error: BaseException) -> bool:
    """Whether trying the same again later can help: the server restarts, a connection broke, a deadlock was cut."""
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate.startswith(_PASSING)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | Unreachable)


def is_of_the_data(error: BaseException) -> bool:
    """Whether the rows themselves are at fault, so that the same statement over other rows would work."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_OF_THE_DATA)


async def fetch(
    connection: AsyncConnection[Any],
    query: Query,
    row: type[T],
    params: Mapping[str, Any] | None = None,
    *,
    schema: str = SCHEMA,
    prepare: bool | None = None,
    binary: bool = False,
) -> list[T]:
    """All rows of a query on a connection of the caller's, each as a `row`."""
    async with connection.cursor(row_factory=rows_of(row), binary=binary) as cursor:
        await cursor.execute(query.text(schema), params, prepare=prepare)
        return await cursor.fetchall()


def rows_of(row: type[T]) -> BaseRowFactory[T]:
    """psycopg's `class_row`, but by place where the columns are the fields in their order: in a third of the time."""
    names = [each.name for each in fields(row)]  # type: ignore[arg-type]

    def make(cursor: Any) -> Callable[[Sequence[Any]], T]:
        columns = [column.name for column in cursor.description or ()]
        return (lambda values: row(*values)) if columns == names else class_row(row)(cursor)

    return make


@asynccontextmanager
async def open_database(
    dsn: str,
    *,
    size: int = 8,
    schema: str = SCHEMA,
    settings: Mapping[str, str] | None = None,
    patience: timedelta = PATIENCE,
    say: Say = lambda _line: None,
) -> AsyncIterator[Database]:
    """Connect, and close again at the end of the block.

    Args:
        dsn: a libpq URI or conninfo string.
        size: the most connections at once.
        settings: server settings of each connection, e.g. `{"synchronous_commit": "off"}`.
        patience: how long to wait for a server that is starting up; see `reaching.reach`.
        say: told when it is waited for.

    Raises:
        Unreachable: the server does not answer.
    """
    options = " ".join(f"-c {name}={value}" for name, value in {**SESSION, **(settings or {})}.items())
    await reach(dsn, patience, say)
    pool: AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
        dsn,
        min_size=1,
        max_size=size,
        open=False,
        timeout=30,
        reconnect_timeout=_RECONNECT_S,
        reconnect_failed=_try_again,
        kwargs={"autocommit": True, "application_name": "hark", "options": options, "connect_timeout": 10},
    )
    await pool.open()
    database = Database(pool, schema)
    try:
        yield database
    finally:
        await database.close()


async def _try_again(pool: AsyncConnectionPool[Any]) -> None:
    await pool.check()
