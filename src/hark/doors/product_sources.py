"""Whether the catalogue's sources can be asked: callables imported, queries prepared. Before eight in the morning."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from hark import feeds
from hark.catalogue import Catalogue, CypherSource, FeedSource, PythonSource, SqlSource
from hark.catalogue.wording import printable
from hark.config import Settings
from hark.errors import Fault, GraphRefused, SourceFailed
from hark.postgres.database import Database
from hark.sources import GraphRows, load

_DUE = "due (recipient_id, since, since_at) as (select null::text, null::pg_snapshot, null::timestamptz where false)"
_ASKED = (
    "asked (n, recipient_id, event_id, key, actor, about, entities, at, payload) as (select null::int, null::text,"
    " null::bigint, null::text, null::text, null::text, null::text[], null::timestamptz, null::jsonb where false)"
)
_EXPLAINED = timedelta(seconds=10)
_ANSWERS = "n::int, why::text, payload::jsonb"


@dataclass(frozen=True, slots=True)
class _Named:
    """A source, and where in hark.toml it stands; of a query what stands before it, and what is read of it."""

    where: str
    source: FeedSource
    before: str
    columns: str


def callable_faults(catalogue: Catalogue) -> list[Fault]:
    """Which callables cannot be imported, and why; looks for them in the working directory, too."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return [
        Fault(0, f"{named.where}.python", what)
        for named in _sources(catalogue)
        if isinstance(named.source, PythonSource) and (what := _import_fault(named.source))
    ]


async def query_faults(database: Database, catalogue: Catalogue) -> list[Fault]:
    """Which queries Postgres does not accept, and why, with the line of their file. None is run."""
    queries = [(named, named.source) for named in _sources(catalogue) if isinstance(named.source, SqlSource)]
    faults = [(named, await _prepare_fault(database, named, source)) for named, source in queries]
    return [Fault(0, f"{named.where}.sql", what) for named, what in faults if what]


async def graph_faults(graph: GraphRows | None, catalogue: Catalogue) -> list[Fault]:
    """Which Cypher queries the graph does not accept, and why; `EXPLAIN` tells, and runs none.

    Args:
        graph: None: none is set, which is a fault of its own if a feed asks one.

    Raises:
        Unreachable: the graph is away.
    """
    queries = [(named, named.source) for named in _sources(catalogue) if isinstance(named.source, CypherSource)]
    faults = [(named, await _explain_fault(graph, source)) for named, source in queries]
    return [Fault(0, f"{named.where}.cypher", what) for named, what in faults if what]


@asynccontextmanager
async def graph_for(settings: Settings, catalogue: Catalogue) -> AsyncIterator[GraphRows | None]:
    """The graph for the time of a block, if a feed asks it and one is set; nothing is asked of it yet."""
    if settings.graph_url is None or not asks_graph(catalogue):
        yield None
        return
    from hark.history.projection.neo4j_graph import open_graph

    async with open_graph(settings.graph_url, patience=settings.graph_timeout) as graph:
        yield graph


def asks_graph(catalogue: Catalogue) -> bool:
    """Whether a feed is asked of the graph."""
    return any(isinstance(named.source, CypherSource) for named in _sources(catalogue))


async def _explain_fault(graph: GraphRows | None, source: CypherSource) -> str:
    if graph is None:
        return f"{source.file or 'its query'} asks the graph, and none is set: set HARK_GRAPH_URL"
    try:
        await graph.rows(f"EXPLAIN {source.cypher}", {"due": []}, _EXPLAINED)
    except GraphRefused as refusal:
        return printable(f"{source.file or 'its query'}: {refusal}")
    return ""


def has_sources(catalogue: Catalogue) -> bool:
    """Whether there is anything to ask."""
    return any(True for _ in _sources(catalogue))


def lines(faults: Sequence[Fault]) -> list[str]:
    """Faults for people, one a line."""
    return [f"{fault.where}: {fault.what}" for fault in faults]


def _sources(catalogue: Catalogue) -> Iterator[_Named]:
    for name, reason in catalogue.reasons.items():
        if reason.feed is not None:
            yield _Named(f"reasons.{name}.feed", reason.feed.source, _DUE, feeds.COLUMNS)
        if reason.recheck is not None:
            yield _Named(f"reasons.{name}.recheck", reason.recheck, _ASKED, _ANSWERS)


def _import_fault(source: PythonSource) -> str:
    try:
        load(source)
    except SourceFailed as failure:
        return printable(str(failure))
    return ""


async def _prepare_fault(database: Database, named: _Named, source: SqlSource) -> str:
    """A query is prepared as it will run: one part of a larger statement."""
    before = f"prepare hark_source as with {named.before}, answered as (\n"
    # The query is the operator's own, out of a file beside hark.toml.
    statement = f"{before}{source.sql}\n) select {named.columns} from answered"  # noqa: S608
    async with database.connection() as connection:
        try:
            await connection.execute(statement.encode())
            await connection.execute("deallocate hark_source")
        except psycopg.errors.Error as error:
            if error.sqlstate is None:
                raise
            return _told(error, source, len(before))
    return ""


def _told(error: psycopg.Error, source: SqlSource, begins: int) -> str:
    position = int(error.diag.statement_position or 0) - 1 - begins
    line = f"line {source.sql.count(chr(10), 0, position) + 1} of " if 0 <= position < len(source.sql) else ""
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    return printable(f"{line}{source.file or 'its query'}: {error.diag.message_primary}{hint}")
