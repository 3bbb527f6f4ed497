"""A process that asks sources without a pause: `python -m … DSN URL RATE SECONDS SOURCE…`.

It prints `ready`, begins when it is sent a line, and prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta

import structlog

from hark.clock import DatabaseClock
from hark.config import Settings
from hark.durations import parse_rate
from hark.errors import HarkError
from hark.guarded.client import Guarded
from hark.history.sources.reach import Sources
from hark.postgres.database import open_database
from tests.history.sources.scene import SINCE
from tests.world import LOOPBACK

TASKS = 4
"""Of each source: enough that one is always waiting for its turn."""


async def main(dsn: str, url: str, rate: str, seconds: float, names: list[str]) -> None:
    """Ask for user after user."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = Settings(
        purchase_url=url, shop_url=url, source_rate=parse_rate(rate), source_patience=timedelta(hours=1)
    )
    client = Guarded(LOOPBACK)
    async with open_database(dsn) as database:
        sources = Sources(settings, database, await DatabaseClock.start(database), client)
        asking: dict[str, Callable[[str], Awaitable[object]]] = {
            "purchase": lambda user: sources.purchase.receipts(user, SINCE),
            "shop": lambda user: sources.shop.orders(user, SINCE),
        }
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        end = time.monotonic() + seconds
        await asyncio.gather(*(ask(asking[name], task, end) for name in names for task in range(TASKS)))
    await client.close()
    counts = {name: asdict(getattr(sources, name).polite.counts) for name in names}
    print(json.dumps(counts), flush=True)


async def ask(history_of: Callable[[str], Awaitable[object]], task: int, end: float) -> None:
    """One user after the other, until the time is over."""
    number = task
    while time.monotonic() < end:
        number += 1
        try:
            await asyncio.wait_for(history_of(f"user-{number:06}"), max(end - time.monotonic(), 0.01))
        except (HarkError, TimeoutError):
            continue


if __name__ == "__main__":
    given_dsn, given_url, given_rate, given_seconds, *given_names = sys.argv[1:]
    asyncio.run(main(given_dsn, given_url, given_rate, float(given_seconds), given_names))
