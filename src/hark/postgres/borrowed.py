"""A connection of the product's own, of whichever library: run one statement on it, and read the server's errors.

A connection is known by what it can do; no library is imported to ask. Nothing here begins, commits or rolls back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from hark.postgres.queries import Query


@dataclass(frozen=True, slots=True)
class Said:
    """An error of the server's, whichever driver brought it: `code` is its SQLSTATE."""

    code: str
    message: str
    hint: str | None


def call(connection: Any, query: Query, document: str) -> int:
    """The one number that a query of one parameter, `%(document)s`, gives.

    Args:
        connection: a DB-API connection (paramstyle format or pyformat), a SQLAlchemy `Connection` or `Session`, or
            Django's connection wrapper.
    """
    if _is_session(connection):
        connection = connection.connection()
    if _is_sqlalchemy(connection):
        return _only(connection.exec_driver_sql(_dialect_text(query, connection), (document,)).one())
    cursor = connection.cursor()
    try:
        _give_tuples(connection, cursor)
        cursor.execute(_by_format(query), (document,))
        return _only(cursor.fetchone())
    finally:
        cursor.close()


async def acall(connection: Any, query: Query, document: str) -> int:
    """`call` for asynchronous callers.

    Args:
        connection: psycopg's `AsyncConnection`, asyncpg's `Connection`, SQLAlchemy's `AsyncConnection`, `AsyncSession`.
    """
    if _is_asyncpg(connection):
        return _only(await connection.fetchrow(_by_number(query), document))
    if _is_session(connection):
        connection = await connection.connection()
    if _is_sqlalchemy(connection):
        return _only((await connection.exec_driver_sql(_dialect_text(query, connection), (document,))).one())
    async with connection.cursor() as cursor:
        _give_tuples(connection, cursor)
        await cursor.execute(_by_format(query), (document,))
        return _only(await cursor.fetchone())


def is_connection(connection: Any) -> bool:
    """Whether `call` or `acall` would know what to do with it; an engine or a pool has no transaction to stand in."""
    known = (_is_session, _is_sqlalchemy, _is_asyncpg)
    return hasattr(connection, "cursor") or any(is_it(connection) for is_it in known)


def is_asynchronous(connection: Any) -> bool:
    """Whether it must be awaited."""
    return _is_asyncpg(connection) or iscoroutinefunction(getattr(connection, "commit", None))


def said_by_server(error: BaseException) -> Said | None:
    """What the server said, of an error that a library raised; None when it was not the server that failed."""
    return next(filter(None, map(_read, _chain(error))), None)


def _is_session(connection: Any) -> bool:
    return hasattr(connection, "get_bind") and hasattr(connection, "connection")


def _is_sqlalchemy(connection: Any) -> bool:
    return hasattr(connection, "exec_driver_sql")


def _is_asyncpg(connection: Any) -> bool:
    return hasattr(connection, "fetchrow") and hasattr(connection, "is_in_transaction")


def _dialect_text(query: Query, connection: Any) -> str:
    return _by_number(query) if connection.dialect.paramstyle == "numeric_dollar" else _by_format(query)


def _by_format(query: Query) -> str:
    return query.text().replace("%(document)s", "%s")


def _by_number(query: Query) -> str:
    return query.text().replace("%(document)s", "$1")


def _give_tuples(connection: Any, cursor: Any) -> None:
    """psycopg's connections may be set to give rows of any shape."""
    if hasattr(connection, "row_factory"):
        cursor.row_factory = lambda _cursor: tuple


def _only(row: Mapping[str, Any] | Sequence[Any]) -> int:
    """The one value of a row: psycopg2's may be dicts."""
    return int(next(iter(row.values())) if isinstance(row, Mapping) else row[0])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error with those that it wraps: SQLAlchemy keeps the driver's in `orig`, Django as its cause."""
    while error is not None:
        yield error
        error = getattr(error, "orig", None) or error.__cause__


def _read(error: Any) -> Said | None:
    if diag := getattr(error, "diag", None):  # psycopg and psycopg2
        return Said(diag.sqlstate or "", diag.message_primary or "", diag.message_hint)
    if hasattr(error, "sqlstate") and hasattr(error, "message"):  # asyncpg
        return Said(error.sqlstate or "", error.message or "", getattr(error, "hint", None))
    fields = error.args[0] if error.args else None
    if isinstance(fields, Mapping) and "C" in fields:  # pg8000
        return Said(fields["C"], fields.get("M", ""), fields.get("H"))
    return None
