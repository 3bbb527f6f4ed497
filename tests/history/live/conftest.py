"""A real Kafka, and topics of a test's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from hark.postgres.database import open_database
from tests.broker import Broker, broker
from tests.history.live.topics import Topics
from tests.history.shopping import Shop

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """A broker for this session."""
    with broker() as running:
        yield running


@pytest.fixture
def topics(kafka: Broker) -> Topics:
    """Two topics of two partitions each, empty, and two groups that nobody was ever in."""
    made = Topics(kafka, next(_numbers))
    made.create()
    return made


@pytest.fixture
async def bought(database: str) -> AsyncIterator[Shop]:
    """A shop with room for several consumers."""
    async with open_database(database, size=8) as opened:
        yield Shop(opened)
