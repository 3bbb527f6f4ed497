"""A shop: facts in a database of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hark.postgres.database import open_database
from tests.history.shopping import Shop


@pytest.fixture
async def shop(database: str) -> AsyncIterator[Shop]:
    """Nobody has bought anything yet."""
    async with open_database(database, size=4) as opened:
        yield Shop(opened)
