"""Real processes that claim at the same virtual moments, each through a connection of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Sequence
from datetime import datetime, timedelta
from multiprocessing.synchronize import Barrier

from hark.catalogue import Channel
from hark.delivery.claim import claim_due
from hark.delivery.gcra import Gcra
from hark.postgres.database import open_database

_PATIENCE_S = 120.0


def claim_together(dsn: str, rate: Gcra, moments: Sequence[datetime], workers: int) -> None:
    """So many processes each claim, at every moment, whatever they get; returns when all have ended.

    Raises:
        AssertionError: one of them failed.
    """
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(workers)
    processes = [
        context.Process(target=_claim_all, args=(dsn, rate, moments, together, f"w/{number}"))
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * workers


def _claim_all(dsn: str, rate: Gcra, moments: Sequence[datetime], together: Barrier, worker: str) -> None:
    asyncio.run(_claim(dsn, rate, moments, together, worker))


async def _claim(dsn: str, rate: Gcra, moments: Sequence[datetime], together: Barrier, worker: str) -> None:
    async with open_database(dsn, size=1) as database:
        for now in moments:
            together.wait(_PATIENCE_S)
            claims = {"worker": worker, "lease": timedelta(days=1), "limit": 3}
            while await claim_due(database, Channel.EMAIL, now, rate=rate, **claims):  # type: ignore[arg-type]
                pass
