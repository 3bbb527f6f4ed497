"""What every test may ask for: a real Postgres, and a fresh database in it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from hark import logs
from tests.graph_server import graph_server
from tests.servers import Postgres, scratch_postgres

pytest_plugins = ("tests.world",)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real server for this session; HARK_TEST_POSTGRES chooses its version."""
    with scratch_postgres() as server:
        yield server


@pytest.fixture(scope="session")
async def template(postgres: Postgres) -> str:
    """The name of a database with Hark's tables, empty: for cloning, not for use."""
    from hark.postgres.migrate import migrate

    name = postgres.create_database()
    await migrate(postgres.dsn(name))
    return name


@pytest.fixture
def database(postgres: Postgres, template: str) -> Iterator[str]:
    """The URI of a fresh database with Hark's tables, dropped afterwards."""
    name = postgres.create_database(template)
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def graph_url() -> Iterator[str]:
    """A real Neo4j for this session; HARK_TEST_GRAPH names one that runs already, whose contents are thrown away."""
    if named := os.environ.get("HARK_TEST_GRAPH"):
        yield named
        return
    with graph_server() as server:
        yield server.url


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A command run in process sets up logging to a stderr that is closed after its test: not for the next one."""
    yield
    logs.before_the_first_line(None)
    structlog.reset_defaults()
