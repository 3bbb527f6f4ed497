"""Whoever applies a backfill says what they wait for by its own name: it need not be Postgres."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from hark.doors.cli import backfilling
from hark.doors.cli.backfilling import Absence
from hark.errors import Unreachable

AWAY = Unreachable("asking for topics: the brokers do not answer (127.0.0.1:9092)")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AWAY, f"{AWAY}; waiting for it"),
        (psycopg.OperationalError("the connection is lost"), "Postgres is away; waiting for it"),
    ],
)
async def test_what_is_away_is_named(error: Exception, said: str) -> None:
    notes: list[str] = []
    stopped = asyncio.Event()
    stopped.set()

    async def step(_: int) -> None:
        raise error

    settings = SimpleNamespace(database_url="postgresql://somewhere")
    call = SimpleNamespace(output=SimpleNamespace(note=notes.append), settings=settings)
    at = SimpleNamespace(call=call, stop=SimpleNamespace(event=stopped))
    await backfilling._step(cast(Any, at), cast(Any, SimpleNamespace(step=step)), 1, Absence())
    assert notes == [said]
