"""A shop: facts in a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph
from hark.postgres.database import open_database
from tests.history.projection_world import Projected
from tests.history.shopping import Shop


@pytest.fixture
async def shop(database: str) -> AsyncIterator[Shop]:
    """Nobody has bought anything yet."""
    async with open_database(database, size=4) as opened:
        yield Shop(opened)


@pytest.fixture(scope="session")
async def graph(graph_url: str) -> AsyncIterator[Neo4jGraph]:
    """The graph of this session, with its constraints."""
    async with open_graph(graph_url, patience=timedelta(minutes=5)) as opened:
        await opened.prepare()
        yield opened


@pytest.fixture
async def projected(shop: Shop, graph: Neo4jGraph) -> Projected:
    """Nobody has bought anything yet, and the graph is empty."""
    await graph.ask("MATCH (n) DETACH DELETE n")
    return Projected(shop, graph)
