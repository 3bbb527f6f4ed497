"""A real worker in a process of its own, for tests that kill, stop or starve it.

It says `ready`, then does what it is told, a word a line: `work`, `rest` (it says `resting` when all is put down),
`halt STEP` (stand still when that step is done next, and say `at STEP HOW-MANY`), `on` (go on). End of input ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

from hark.batching import ChunkSize, FannedOut
from hark.catalogue import Channel
from hark.channels.smtp import SmtpChannel, Timeouts
from hark.clock import DatabaseClock
from hark.delivery.attempt import Attempted, Sender, Step
from hark.delivery.backoff import Backoff
from hark.postgres.database import Database, open_database
from hark.rendering import Renderer
from hark.worker import Watch, Worker
from tests.chaos.scene import CATALOGUE

FAN_OUT = "fan_out"
_DEFAULTS = {field.name: field.default for field in (*fields(Sender), *fields(Worker))}


def _default_s(name: str) -> float:
    value = _DEFAULTS[name]
    assert isinstance(value, timedelta)
    return value.total_seconds()


LEASE_S = _default_s("lease")
REAP_S = _default_s("reap_period")


@dataclass(frozen=True, slots=True)
class Order:
    """How a worker is set up; times in seconds. Leases are short, so that tests are."""

    dsn: str
    smtp: str
    name: str
    halts: tuple[str, ...] = ()
    senders: int = 1
    lease_s: float = 1.0
    reap_s: float = 0.2
    claim_chunk: int = 30
    send_chunk: int = 10
    fan_out_chunk: int = 20_000
    answer_wait_s: float = 900.0
    final_dot_s: float = 120.0
    backoff_s: float = 30.0
    tells_attempts: bool = False

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(asdict(self))


class Gate:
    """Where the worker stands still, event loop and all, until it is told to go on."""

    def __init__(self, halts: tuple[str, ...]) -> None:
        self._halts = Counter(halts)
        self._on = threading.Event()

    def passed(self, step: str, count: int) -> None:
        """A step is done; wait here when that was asked for."""
        if not count or not self._halts[step]:
            return
        self._halts[step] -= 1
        say(f"at {step} {count}")
        self._on.wait()
        self._on.clear()

    def halt(self, step: str) -> None:
        """Stand still at this step, once more."""
        self._halts[step] += 1

    def go_on(self) -> None:
        """Let whoever stands here go on."""
        self._on.set()


def say(line: str) -> None:
    """One line to whoever reads our output, whole."""
    os.write(1, f"{line}\n".encode())


def serve(order: str) -> None:
    """Do as told on standard input, set up as an `Order` in JSON says."""
    given = json.loads(order)
    asyncio.run(_serve(Order(**{**given, "halts": tuple(given["halts"])})))


async def _serve(order: Order) -> None:
    commands: asyncio.Queue[str] = asyncio.Queue()
    gate = Gate(order.halts)
    threading.Thread(target=_listen, args=(gate, commands, asyncio.get_running_loop()), daemon=True).start()
    async with open_database(order.dsn, size=order.senders + 3) as database:
        channel = SmtpChannel(
            order.smtp,
            sender="Acme <hello@acme.example>",
            pool_size=4 * order.senders,
            timeouts=Timeouts(final_dot=order.final_dot_s),
        )
        worker = await _worker(order, database, channel, gate)
        say("ready")
        while await commands.get() == "work":
            await _work(worker, commands)
            say("resting")
        await channel.close()


async def _work(worker: Worker, commands: asyncio.Queue[str]) -> None:
    stopping = asyncio.Event()
    told = asyncio.create_task(commands.get())
    working = asyncio.create_task(worker.run(stopping))
    await asyncio.wait({told, working}, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    await working


async def _worker(order: Order, database: Database, channel: SmtpChannel, gate: Gate) -> Worker:
    clock = await DatabaseClock.start(database)
    renderer = Renderer(CATALOGUE, "acme.example", await database.installation())
    sender = Sender(
        database,
        Channel.EMAIL,
        channel,
        renderer,
        clock,
        order.name,
        backoff=Backoff(base=timedelta(seconds=order.backoff_s)),
        lease=timedelta(seconds=order.lease_s),
        claim_chunk=order.claim_chunk,
        send_chunk=order.send_chunk,
        passed=lambda step, count: gate.passed(Step(step).value, count),
    )
    return Worker(
        database,
        clock,
        [sender] * order.senders,
        chunk=ChunkSize(fresh=min(100, order.fan_out_chunk), begun=order.fan_out_chunk),
        answer_wait=timedelta(seconds=order.answer_wait_s),
        reap_period=timedelta(seconds=order.reap_s),
        watch=_watch(order, gate),
    )


def _watch(order: Order, gate: Gate) -> Watch:
    def fanned_out(done: FannedOut) -> None:
        gate.passed(FAN_OUT, done.notifications)

    def attempted(done: Attempted) -> None:
        if order.tells_attempts:
            say(f"attempted {done.claimed} {done.accepted}")

    return Watch(fanned_out, attempted)


def _listen(gate: Gate, commands: asyncio.Queue[str], loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        command, _, step = line.strip().partition(" ")
        if command == "halt":
            gate.halt(step)
        elif command == "on":
            gate.go_on()
        else:
            loop.call_soon_threadsafe(commands.put_nowait, command)
    gate.go_on()
    loop.call_soon_threadsafe(commands.put_nowait, "")
    loop.call_soon_threadsafe(commands.put_nowait, "")
