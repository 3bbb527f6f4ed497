"""The database libraries that products use, driven alike: each opens, publishes, commits and rolls back as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
import django
import pg8000.dbapi
import psycopg
import psycopg2
import sqlalchemy
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

import hark

Scope = Callable[[Any], AbstractContextManager[Any]]
AsyncScope = Callable[[Any], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Product:
    """A product's connection, with its library's own ways to open a transaction and a savepoint around a block.

    Both commit at the end of the block, and roll back when an exception leaves it.
    """

    connection: Any
    transaction: Callable[[], AbstractContextManager[Any]]
    savepoint: Callable[[], AbstractContextManager[Any]]
    publish: Callable[..., int]


Library = Callable[[str], AbstractContextManager[Product]]


def _sync(connection: Any, transaction: Scope, savepoint: Scope) -> Product:
    return Product(
        connection,
        lambda: transaction(connection),
        lambda: savepoint(connection),
        lambda *args, **event: hark.publish(connection, *args, **event),
    )


@contextmanager
def _dbapi_transaction(connection: Any) -> Iterator[None]:
    """What every DB-API driver offers: the transaction begins by itself, and is committed or rolled back by hand."""
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


@contextmanager
def _dbapi_savepoint(connection: Any) -> Iterator[None]:
    cursor = connection.cursor()
    cursor.execute("savepoint here")
    try:
        yield
    except BaseException:
        cursor.execute("rollback to savepoint here")
        raise
    cursor.execute("release savepoint here")


@contextmanager
def psycopg_sync(dsn: str) -> Iterator[Product]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield _sync(connection, lambda c: c.transaction(), lambda c: c.transaction())


@contextmanager
def psycopg_with_dict_rows(dsn: str) -> Iterator[Product]:
    with psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield _sync(connection, lambda c: c.transaction(), lambda c: c.transaction())


@contextmanager
def psycopg_2(dsn: str) -> Iterator[Product]:
    connection = psycopg2.connect(dsn)
    yield _sync(connection, _dbapi_transaction, _dbapi_savepoint)
    connection.close()


@contextmanager
def psycopg_2_with_dict_rows(dsn: str) -> Iterator[Product]:
    from psycopg2.extras import RealDictCursor

    connection = psycopg2.connect(dsn, cursor_factory=RealDictCursor)
    yield _sync(connection, _dbapi_transaction, _dbapi_savepoint)
    connection.close()


@contextmanager
def pg_8000(dsn: str) -> Iterator[Product]:
    connection = _pg8000_connect(dsn)
    yield _sync(connection, _dbapi_transaction, _dbapi_savepoint)
    connection.close()


@contextmanager
def sqlalchemy_connection(dsn: str) -> Iterator[Product]:
    with _engine("psycopg", lambda: psycopg.connect(dsn)).connect() as connection:
        yield _sync(connection, lambda c: c.begin(), lambda c: c.begin_nested())


@contextmanager
def sqlalchemy_on_pg8000(dsn: str) -> Iterator[Product]:
    with _engine("pg8000", lambda: _pg8000_connect(dsn)).connect() as connection:
        yield _sync(connection, lambda c: c.begin(), lambda c: c.begin_nested())


@contextmanager
def sqlalchemy_session(dsn: str) -> Iterator[Product]:
    with Session(_engine("psycopg2", lambda: psycopg2.connect(dsn))) as session:
        yield _sync(session, lambda s: s.begin(), lambda s: s.begin_nested())


@contextmanager
def sqlalchemy_scoped_session(dsn: str) -> Iterator[Product]:
    session = scoped_session(sessionmaker(_engine("psycopg", lambda: psycopg.connect(dsn))))
    yield _sync(session, lambda s: s.begin(), lambda s: s.begin_nested())
    session.remove()


@contextmanager
def django_connection(dsn: str) -> Iterator[Product]:
    _set_up_django()
    from django.db import connection, connections, transaction

    connections["default"].settings_dict.update(_django_address(dsn))
    yield _sync(connection, lambda _: transaction.atomic(), lambda _: transaction.atomic())
    connections["default"].close()


@asynccontextmanager
async def psycopg_async(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        yield connection, lambda c: c.transaction(), lambda c: c.transaction()


@asynccontextmanager
async def asyncpg_connection(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    connection = await _asyncpg_connect(dsn)
    yield connection, lambda c: c.transaction(), lambda c: c.transaction()
    await connection.close()


@asynccontextmanager
async def asyncpg_pooled(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    async with (
        asyncpg.create_pool(**_asyncpg_address(dsn), min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        yield connection, lambda c: c.transaction(), lambda c: c.transaction()


@asynccontextmanager
async def sqlalchemy_async_connection(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    async with _async_engine(dsn).connect() as connection:
        yield connection, lambda c: c.begin(), lambda c: c.begin_nested()


@asynccontextmanager
async def sqlalchemy_async_session(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    async with AsyncSession(_async_engine(dsn)) as session:
        yield session, lambda s: s.begin(), lambda s: s.begin_nested()


@asynccontextmanager
async def sqlalchemy_async_on_psycopg(dsn: str) -> AsyncIterator[tuple[Any, AsyncScope, AsyncScope]]:
    engine = create_async_engine(
        "postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(dsn), poolclass=NullPool
    )
    async with engine.connect() as connection:
        yield connection, lambda c: c.begin(), lambda c: c.begin_nested()


def driven(library: Callable[[str], AbstractAsyncContextManager[tuple[Any, AsyncScope, AsyncScope]]]) -> Library:
    """An asynchronous library as a synchronous one: every step of it runs on a loop of its own."""

    @contextmanager
    def opened(dsn: str) -> Iterator[Product]:
        loop = asyncio.new_event_loop()
        try:
            with _driven_scope(loop, library(dsn)) as (connection, transaction, savepoint):
                yield Product(
                    connection,
                    lambda: _driven_scope(loop, transaction(connection)),
                    lambda: _driven_scope(loop, savepoint(connection)),
                    lambda *args, **event: loop.run_until_complete(hark.apublish(connection, *args, **event)),
                )
        finally:
            loop.close()

    return opened


@contextmanager
def _driven_scope(loop: asyncio.AbstractEventLoop, scope: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    async def enter() -> Any:
        return await scope.__aenter__()

    async def leave(error: BaseException | None) -> None:
        await scope.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

    value = loop.run_until_complete(enter())
    try:
        yield value
    except BaseException as error:
        loop.run_until_complete(leave(error))
        raise
    loop.run_until_complete(leave(None))


SYNCHRONOUS: tuple[Library, ...] = (
    psycopg_sync,
    psycopg_with_dict_rows,
    psycopg_2,
    psycopg_2_with_dict_rows,
    pg_8000,
    sqlalchemy_connection,
    sqlalchemy_on_pg8000,
    sqlalchemy_session,
    sqlalchemy_scoped_session,
    django_connection,
)
ASYNCHRONOUS = (
    psycopg_async,
    asyncpg_connection,
    asyncpg_pooled,
    sqlalchemy_async_connection,
    sqlalchemy_async_session,
    sqlalchemy_async_on_psycopg,
)
ALL: dict[str, Library] = {
    **{library.__name__: library for library in SYNCHRONOUS},
    **{library.__name__: driven(library) for library in ASYNCHRONOUS},
}


def _address(dsn: str) -> dict[str, Any]:
    return {name: value for name, value in conninfo_to_dict(dsn).items() if value is not None}


def _pg8000_connect(dsn: str) -> Any:
    address = _address(dsn)
    socket = f"{address['host']}/.s.PGSQL.{address.get('port', 5432)}"
    return pg8000.dbapi.connect(
        user=address["user"], password=address.get("password"), database=address["dbname"], unix_sock=socket
    )


def _asyncpg_address(dsn: str) -> dict[str, Any]:
    address = _address(dsn)
    names = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}
    return {names[name]: value for name, value in address.items() if name in names}


async def _asyncpg_connect(dsn: str) -> Any:
    return await asyncpg.connect(**_asyncpg_address(dsn))


def _engine(driver: str, connect: Callable[[], Any]) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(f"postgresql+{driver}://", creator=connect, poolclass=NullPool)


def _async_engine(dsn: str) -> Any:
    return create_async_engine("postgresql+asyncpg://", async_creator=lambda: _asyncpg_connect(dsn), poolclass=NullPool)


def _set_up_django() -> None:
    if settings.configured:
        return
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres"}}, USE_TZ=True
    )
    cast(Any, django).setup()


def _django_address(dsn: str) -> dict[str, str]:
    address = _address(dsn)
    return {
        "NAME": address["dbname"],
        "USER": address["user"],
        "PASSWORD": address.get("password", ""),
        "HOST": address["host"],
        "PORT": str(address.get("port", "")),
    }
