"""The sandbox for each test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from tests.history.sources.scene import Scene, open_scene
from tests.servers import Postgres


@pytest.fixture(scope="module")
def paced(postgres: Postgres, template: str) -> Iterator[str]:
    """A database for the tests of a module."""
    name = postgres.create_database(template)
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture
async def scene(paced: str) -> AsyncIterator[Scene]:
    """A sandbox of twenty users; nothing was ever asked."""
    with psycopg.connect(paced, autocommit=True) as connection:
        connection.execute("truncate hark.source_pace")
    async with open_scene(paced) as opened:
        yield opened
