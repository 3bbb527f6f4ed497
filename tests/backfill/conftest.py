"""A fresh campus for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.backfill.campus import Campus, open_campus
from tests.servers import Postgres


@pytest.fixture(scope="session")
async def campus_template(postgres: Postgres, template: str) -> str:
    """The name of a database with the catalogue of these tests: for cloning."""
    name = postgres.create_database(template)
    async with open_campus(postgres.dsn(name)):
        return name


@pytest.fixture
async def campus(postgres: Postgres, campus_template: str) -> AsyncIterator[Campus]:
    """Nobody is there yet."""
    name = postgres.create_database(campus_template)
    async with open_campus(postgres.dsn(name)) as opened:
        yield opened
    postgres.drop_database(name)
