"""What does a backfill at full speed cost who publishes, and who reads their inbox, at the same time?"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.backfill_live_parts import HANDS, LOOKERS, PUBLISHERS, PUBLISHES, READERS, READS, REASONS
from bench.backfill_preferences import CHANNELS, FILL, SEED
from bench.backfill_preferences import REASONS as ADDED_TO
from bench.contest import Question, Rounds, Target, answer, stopwatch, take_turns
from bench.ground import REPOSITORY, Connection, bare, fresh_hark, server, settle_down
from bench.result import Result
from hark.backfill import control
from hark.backfill.kinds.preferences import read_preferences
from hark.backfill.plan import create, plan_chunk
from hark.backfill.request import Order
from hark.clock import DatabaseClock
from hark.postgres.database import Database

USERS = 1_000_000
SECONDS = 8.0
"""Of each round; a second of the same traffic goes before it."""
DATABASE = "bench_backfill_live"

IDLE = "the same traffic, with no backfill beside it"
NOTES = (
    f"{PUBLISHES} publishes/s, each a transaction of its own, and {READS} inboxes/s (the newest twenty, and the count) "
    f"over {PUBLISHERS} and {LOOKERS} connections; a worker fans out. Each call is timed from when it was due, waiting "
    f"for a connection included. The backfill is adaptive, without a rate, {HANDS} batches of 500 at once where "
    "nothing else goes on, as `hark backfill apply` runs. Five processes and Postgres share this machine."
)
PUBLISH = Question(
    name="backfill_live",
    question="How long does a publish take at p99 while a preference backfill runs at full speed?",
    unit="ms",
    higher_is_better=False,
    peer_name="",
    limit_name=IDLE,
    notes=NOTES,
)
INBOX = Question(
    name="backfill_live_inbox",
    question="And reading an inbox?",
    unit="ms",
    higher_is_better=False,
    peer_name="",
    limit_name=IDLE,
    notes=NOTES,
)
SPEED = Question(
    name="backfill_live_speed",
    question="How fast is the backfill meanwhile?",
    unit="users/s",
    higher_is_better=True,
    peer_name="",
    limit_name="",
    notes="What it gets beside the traffic: live work always wins.",
)


def measure(scale: float) -> list[Result]:
    """Publishing and reading with and without a backfill beside it, in turns."""
    return asyncio.run(_measure(max(int(USERS * scale), 2_000), max(SECONDS * scale, 0.5), scale))


async def _measure(users: int, seconds: float, scale: float) -> list[Result]:
    async with fresh_hark(DATABASE, REASONS) as database, bare(DATABASE) as raw:
        await raw.execute(SEED.format(users=users))
        await raw.execute(FILL.format())
        await settle_down(raw, "hark.recipient", "hark.cohort_member", "hark.preference")
        backfill = await _applying(database)
        async with _part("traffic", str(users)) as traffic, _part("work"):
            field = _Field(raw, backfill, seconds, traffic)
            await field.idle()
            await take_turns({"limit": field.idle, "hark": field.beside})
    target = Target(share_of_limit=0.5) if scale >= 1 else None
    sizes = {"users": users, "readers": min(READERS, users), "publishes/s": PUBLISHES, "inboxes/s": READS}
    return [
        answer(PUBLISH, field.reached("publish"), sizes, target),
        answer(INBOX, field.reached("inbox"), sizes, target),
        answer(SPEED, {"hark": Rounds(tuple(field.speeds))}, sizes),
    ]


async def _applying(database: Database) -> int:
    clock = await DatabaseClock.start(database)
    asked = read_preferences(REASONS, reasons=ADDED_TO, channels=CHANNELS, user_types=["Students"])
    backfill = await create(database, Order("preferences", asked.to_json(), 1, "bench"), clock.now())
    while await plan_chunk(database, backfill, clock.now()):
        pass
    await control.apply(database, backfill, who="bench", now=clock.now())
    return backfill


@dataclass(slots=True)
class _Field:
    raw: Connection
    backfill: int
    seconds: float
    traffic: Process
    seen: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"limit": [], "hark": []})
    speeds: list[float] = field(default_factory=list)

    async def idle(self) -> float:
        """Milliseconds at p99 of a publish, with nothing beside it."""
        return await self._p99s("limit")

    async def beside(self) -> float:
        """The same beside the backfill, which goes on where it was."""
        async with _part("backfill", str(self.backfill)):
            before = await self._applied()
            with stopwatch() as watch:
                reached = await self._p99s("hark")
            self.speeds.append(max(1.0, await self._applied() - before) / watch.seconds)
        return reached

    def reached(self, what: str) -> dict[str, Rounds]:
        """The figures of one kind of call; the first round only warmed up."""
        limit, hark = self.seen["limit"][1:], self.seen["hark"]
        return {
            "limit": Rounds(tuple(each[what] for each in limit)),
            "hark": Rounds(tuple(each[what] for each in hark)),
        }

    async def _p99s(self, whose: str) -> float:
        assert self.traffic.stdin is not None and self.traffic.stdout is not None
        await self.raw.execute("checkpoint")
        self.traffic.stdin.write(f"{self.seconds}\n".encode())
        await self.traffic.stdin.drain()
        said: dict[str, float] = json.loads(await self.traffic.stdout.readline())
        self.seen[whose].append(said)
        return said["publish"]

    async def _applied(self) -> float:
        query = "select coalesce(sum(applied), 0)::float8 from hark.backfill_batch where backfill_id = %s"
        row = await (await self.raw.execute(query, [self.backfill])).fetchone()
        return float(row[0]) if row else 0.0


@asynccontextmanager
async def _part(name: str, *arguments: str) -> AsyncIterator[Process]:
    """A process of `bench.backfill_live_parts`, ready; told to stop at the end."""
    command = [sys.executable, "-m", "bench.backfill_live_parts", name, server().dsn_of(DATABASE), *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).strip() == b"ready"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
