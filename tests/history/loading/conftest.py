"""A sandbox and a fresh database for each test of loads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.history.loading.yard import Yard, open_yard


@pytest.fixture
async def yard(database: str) -> AsyncIterator[Yard]:
    """Twelve users have bought something; nothing is loaded yet."""
    async with open_yard(database) as opened:
        yield opened
