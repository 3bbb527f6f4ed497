"""The sandbox for each test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.history.sources.scene import Scene, open_scene


@pytest.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """A sandbox of twenty users, on a database of its own."""
    async with open_scene(database) as opened:
        yield opened
