"""The processes beside a backfill that is measured: `python -m bench.backfill_live_parts traffic|work|backfill DSN …`.

Each says `ready` when it has set itself up. The traffic measures for so many seconds as it reads from its input, and
answers with the 99th percentiles in milliseconds: of publishing, and of reading an inbox.
"""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count

import asyncpg

from bench.ground import catalogue, reason
from hark import apublish, inbox
from hark.backfill.run import Runner
from hark.catalogue import Channel
from hark.clock import DatabaseClock
from hark.postgres.database import open_database
from hark.postgres.holder import worker_name
from hark.worker import Worker

REASONS = catalogue(
    reason("app_shared", Channel.IN_APP),
    *(reason(name, Channel.EMAIL) for name in ("reply", "like", "tip")),
)
PUBLISHES = 500
"""A second."""
READS = 100
"""Inboxes a second: the newest twenty, and the count."""
READERS = 2_000
PUBLISHERS = 16
LOOKERS = 4
"""Connections."""
HANDS = 2
"""Batches at once, as `hark backfill apply` works at them."""
_WARM_UP_S = 1.0

Ask = Callable[[int], Awaitable[None]]


def reader(number: int, users: int) -> str:
    """One of those who are told and look, spread over all users."""
    return f"user-{1 + number % READERS * max(1, users // READERS) % users:08}"


async def traffic(dsn: str, users: int) -> None:
    """Publish and read at a steady rate, for as long as each line of the input says."""
    async with (
        open_database(dsn, size=LOOKERS) as database,
        asyncpg.create_pool(dsn, min_size=PUBLISHERS, max_size=PUBLISHERS) as pool,
    ):

        async def publish(number: int) -> None:
            async with pool.acquire() as connection:
                await apublish(connection, "app_shared", to=[reader(number, users)], actor="alice", about="app:1")

        async def read(number: int) -> None:
            await inbox.listed(database, reader(number * 7, users), limit=20)
            await inbox.unread(database, reader(number * 7, users))

        print("ready", flush=True)
        numbers = count()
        while line := await asyncio.to_thread(sys.stdin.readline):
            seconds = float(line)
            await _both(publish, read, _WARM_UP_S, numbers)
            published, looked = await _both(publish, read, seconds, numbers)
            print(json.dumps({"publish": _p99(published), "inbox": _p99(looked)}), flush=True)


async def _both(publish: Ask, read: Ask, seconds: float, numbers: Iterator[int]) -> tuple[list[float], list[float]]:
    published, looked = await asyncio.gather(
        _steadily(publish, PUBLISHES, seconds, numbers), _steadily(read, READS, seconds, numbers)
    )
    return published, looked


async def _steadily(ask: Ask, rate: int, seconds: float, numbers: Iterator[int]) -> list[float]:
    """What each took, in seconds, from when it was due: who had to wait for a connection waited, too."""
    took: list[float] = []

    async def one(due: float) -> None:
        await ask(next(numbers))
        took.append(time.perf_counter() - due)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(max(2, int(rate * seconds))):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(due))
    return took


def _p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


async def work(dsn: str) -> None:
    """A worker that fans out, until it is told to stop."""
    stopping = _told_to_stop()
    async with open_database(dsn) as database:
        clock = await DatabaseClock.start(database)
        print("ready", flush=True)
        await Worker(database, clock, []).run(stopping)


async def backfill(dsn: str, number: int) -> None:
    """Apply batches, as `hark backfill apply` does, until none is left or it is told to stop."""
    stopping = _told_to_stop()
    async with open_database(dsn, size=HANDS + 3) as database:
        clock = await DatabaseClock.start(database)
        print("ready", flush=True)
        runner = Runner(database, clock, worker_name())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(HANDS):
                tasks.create_task(_hand(runner, clock, number, stopping))


async def _hand(runner: Runner, clock: DatabaseClock, number: int, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        stepped = await runner.step(number)
        if stepped.over:
            return
        if stepped.obstacle is not None:
            wait = (stepped.obstacle.until - clock.now()).total_seconds()
            await asyncio.sleep(min(max(wait, 0.01), 1.0))


def _told_to_stop() -> asyncio.Event:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    return stopping


if __name__ == "__main__":
    part, dsn, *rest = sys.argv[1:]
    if part == "traffic":
        asyncio.run(traffic(dsn, int(rest[0])))
    elif part == "work":
        asyncio.run(work(dsn))
    else:
        asyncio.run(backfill(dsn, int(rest[0])))
