"""Neo4j behind `Graph`, over Bolt, by its official driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hark.config.graphs import GraphAddress
from hark.errors import BadInput, GraphDeadlock, GraphRefused, GraphTooSlow, Unreachable
from hark.history.projection import cypher, uniting
from hark.history.projection.graph import Node
from hark.history.projection.sending import Changes

if TYPE_CHECKING:
    from neo4j import AsyncDriver

_CONNECT_S = 10.0
_UNITE = "hark history rebuild leaves one of each, and makes what keeps it so"


@dataclass(frozen=True, slots=True)
class Neo4jGraph:
    """A graph in Neo4j 5.26 or newer.

    Attributes:
        patience: how long a statement may take; then it may or may not have been done, which the versions tell.
    """

    driver: AsyncDriver
    database: str | None = None
    patience: timedelta = timedelta(seconds=60)

    async def prepare(self) -> None:
        """Make the constraints, and wait until their indexes are there."""
        try:
            for statement in (*cypher.CONSTRAINTS, cypher.WAIT_FOR_INDEXES):
                await self.ask(statement)
        except GraphRefused as error:
            if twins := await uniting.some_twins(self):
                raise GraphRefused(f"the graph has several nodes of one id: {twins}; {_UNITE}") from error
            raise

    async def versions(self, node: Node, ids: Sequence[str]) -> dict[str, int]:
        """The versions that the graph holds."""
        rows = await self.ask(cypher.VERSIONS[node], ids=list(ids)) if ids else []
        return {each: version for row in rows for each, version in row[0]}

    async def write(self, node: Node, changes: Changes) -> set[str]:
        """Write what is still at the version that was read."""
        rows = await self.ask(cypher.WRITE[node], **changes.parameters()) if changes.ids else []
        return {each for row in rows for each in row[0]}

    async def page(self, node: Node, after: str, limit: int) -> list[str]:
        """Ids after one."""
        return [row[0] for row in await self.ask(cypher.PAGE[node], after=after, limit=limit)]

    async def forget(self, node: Node, ids: Sequence[str]) -> None:
        """Remove nodes and their edges."""
        if ids:
            await self.ask(cypher.FORGET[node], ids=list(ids))

    async def forget_unrelated(self, limit: int) -> int:
        """Remove stores and categories without an edge."""
        return int((await self.ask(cypher.FORGET_UNRELATED, limit=limit))[0][0])

    async def unite(self) -> int:
        """Leave one node of each id."""
        return await uniting.unite(self)

    async def forget_foreign(self) -> int:
        """Remove nodes without an id, edges that begin elsewhere, and foreign properties of stores and categories."""
        return await uniting.forget_foreign(self)

    async def ask(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """All rows of one statement, in a transaction of its own.

        Raises:
            Unreachable: no answer in time, or one that may be better later.
            GraphRefused: it will not, now or later.
        """
        # Each statement commits by itself, and is not tried again here: whether a lost one was done, versions tell.
        from neo4j import Query

        seconds = self.patience.total_seconds()
        with translated():
            async with asyncio.timeout(seconds + _CONNECT_S), self.driver.session(database=self.database) as session:
                sent = {name: _unsaid(value) for name, value in given.items()}
                result = await session.run(Query(statement, timeout=seconds), sent)
                return [tuple(record.values()) async for record in result]

    async def rows(self, statement: str, given: Mapping[str, Any], patience: timedelta) -> list[dict[str, Any]]:
        """All rows of a statement that only reads, by column; times as Python has them.

        Args:
            patience: how long it may take.

        Raises:
            Unreachable: no answer in time, or one that may be better later.
            GraphRefused: it will not: it is no Cypher, or writes.
        """
        from neo4j import READ_ACCESS, Query

        seconds = patience.total_seconds()
        with translated():
            async with (
                asyncio.timeout(seconds),
                self.driver.session(database=self.database, default_access_mode=READ_ACCESS) as session,
            ):
                result = await session.run(Query(statement, timeout=seconds), dict(given))
                return [{name: _native(value) for name, value in dict(record).items()} async for record in result]

    async def close(self) -> None:
        """Close all connections."""
        await self.driver.close()


@asynccontextmanager
async def open_graph(url: str, *, patience: timedelta = timedelta(seconds=60)) -> AsyncIterator[Neo4jGraph]:
    """Neo4j for the time of a block. Nothing is asked yet: it may be away when Hark starts, and come later.

    Args:
        url: `neo4j://USER:PASSWORD@HOST:PORT/DATABASE`, as the setting `graph_url`.

    Raises:
        BadInput: the URL is none, or the driver is not installed.
    """
    address = GraphAddress.parse(url)
    try:
        from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity
    except ImportError:
        raise BadInput("the graph needs its driver: pip install 'hark[graph]'") from None
    driver = AsyncGraphDatabase.driver(
        address.url,
        auth=address.login,
        connection_timeout=_CONNECT_S,
        connection_acquisition_timeout=_CONNECT_S,
        keep_alive=True,
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        user_agent="hark",
    )
    graph = Neo4jGraph(driver, address.database, patience)
    try:
        yield graph
    finally:
        await graph.close()


class _UnsaidList(list[Any]):
    def __repr__(self) -> str:
        return f"[{len(self)}]"


class _UnsaidMap(dict[str, Any]):
    def __repr__(self) -> str:
        return f"{{{', '.join(self)}}}"


def _unsaid(value: Any) -> Any:
    """The same, but short where it is written out: the driver does that with all it sends, whether it logs or not."""
    match value:
        case list():
            return _UnsaidList(value)
        case dict():
            return _UnsaidMap(value)
        case _:
            return value


def _native(value: Any) -> Any:
    return value.to_native() if hasattr(value, "to_native") else value


@contextmanager
def translated() -> Iterator[None]:
    """Neo4j's errors as Hark's: what may be better later, and what will not."""
    from neo4j.exceptions import AuthError, DriverError, Neo4jError

    try:
        yield
    except TimeoutError as error:
        raise GraphTooSlow("the graph did not answer in time") from error
    except AuthError as error:
        raise Unreachable(f"the graph refuses who we say we are: {_first_line(error)}") from error
    except Neo4jError as error:
        if "TransactionTimedOut" in (error.code or ""):
            raise GraphTooSlow("the graph did not answer in time") from error
        if "DeadlockDetected" in (error.code or ""):
            raise GraphDeadlock(f"the graph undid it: {_first_line(error)}") from error
        if error.is_retryable():
            raise Unreachable(f"the graph cannot now: {_first_line(error)}") from error
        raise GraphRefused(f"the graph refuses: {_first_line(error)}") from error
    except (DriverError, OSError) as error:
        raise Unreachable(f"the graph cannot be reached: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
