"""Somebody who takes part in a backfill, in a process of their own, for tests that kill or stop them.

It says `ready`, works when told to, stands still at the steps that it was to halt at (`at STEP 1`) until it is told to
go `on`, and says `over STATE` when there is nothing more to do.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from dataclasses import asdict, dataclass
from datetime import timedelta

from hark.backfill.run import Runner
from hark.clock import DatabaseClock
from hark.postgres.database import Database, is_passing, open_database
from tests.chaos.worker_child import Gate, say


@dataclass(frozen=True, slots=True)
class Order:
    """How it is set up; times in seconds."""

    dsn: str
    name: str
    backfill: int
    halts: tuple[str, ...] = ()
    lease_s: float = 0.5

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(asdict(self))


def serve(order: str) -> None:
    """Do as told on standard input, set up as an `Order` in JSON says."""
    given = json.loads(order)
    asyncio.run(_serve(Order(**{**given, "halts": tuple(given["halts"])})))


async def _serve(order: Order) -> None:
    gate, told = Gate(order.halts), asyncio.Event()
    threading.Thread(target=_listen, args=(gate, told, asyncio.get_running_loop()), daemon=True).start()
    async with open_database(order.dsn, size=2) as database:
        clock = await DatabaseClock.start(database)
        runner = Runner(
            database,
            clock,
            order.name,
            lease=timedelta(seconds=order.lease_s),
            passed=lambda step: gate.passed(step.value, 1),
        )
        say("ready")
        await told.wait()
        await _work(database, runner, order.backfill)
        say("over")


async def _work(database: Database, runner: Runner, backfill: int) -> None:
    over = False
    while not over:
        try:
            stepped = await runner.step(backfill)
            over = stepped.over
            if stepped.obstacle is not None:
                await asyncio.sleep(0.05)
        except Exception as error:
            if not is_passing(error):
                raise
            await asyncio.sleep(0.05)


def _listen(gate: Gate, told: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        if line.strip() == "on":
            gate.go_on()
        else:
            loop.call_soon_threadsafe(told.set)
    gate.go_on()
    loop.call_soon_threadsafe(told.set)
