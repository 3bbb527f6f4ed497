"""What chaos tests share. `HARK_CHAOS=full` kills twenty times where the short form kills twice."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hark import preferences
from hark.postgres.database import open_database
from tests.chaos.crew import Crew
from tests.chaos.ledger import SmtpSink, smtp_sink
from tests.chaos.nursery import Nursery
from tests.chaos.nursery import nursery as open_nursery
from tests.chaos.scene import CATALOGUE, Scene
from tests.servers import Postgres

FULL = os.environ.get("HARK_CHAOS") == "full"


@pytest.fixture(scope="session")
def times() -> int:
    """How often each thing is killed."""
    return 20 if FULL else 2


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where workers come from."""
    with open_nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
async def chaos_template(postgres: Postgres, template: str) -> str:
    """The name of a database with the catalogue of these tests: for cloning."""
    name = postgres.create_database(template)
    async with open_database(postgres.dsn(name)) as database:
        await preferences.install(database, CATALOGUE)
    return name


@pytest.fixture
def scene(postgres: Postgres, chaos_template: str) -> Iterator[Scene]:
    """A fresh database with the catalogue in it."""
    name = postgres.create_database(chaos_template)
    yield Scene(postgres.dsn(name))
    postgres.drop_database(name)


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    """A fresh smtp-sink."""
    with smtp_sink() as started:
        yield started


@pytest.fixture
def crew(nursery: Nursery, scene: Scene, sink: SmtpSink) -> Iterator[Crew]:
    """Workers of the scene that send to the sink."""
    with Crew(nursery, scene.dsn, sink.url) as hired:
        yield hired
