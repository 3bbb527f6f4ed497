"""How long after an event was recorded does the graph show it?"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.graph_server import graph_server

from bench.contest import Question, Rounds, answer, take_turns
from bench.ground import REPOSITORY, Connection, bare, catalogue, fresh_hark, reason, server, settle_down
from bench.result import Result
from hark.catalogue import Channel
from hark.clock import Clock, DatabaseClock
from hark.history.facts import Fact, line_key, record_facts
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products, spread
from hark.history.projection import Node, Projector, Sweep
from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph
from hark.history.projection.sending import Changes
from hark.history.tending import Chunk, Graphed, Tender
from hark.postgres.database import Database, open_database
from hark.worker import Loop, Pace, Progress

EVENTS = 1_000
"""Events a second."""
SECONDS = 30.0
TICK = 0.05
"""Seconds from one chunk of events to the next."""
USERS, LINES = 10_000, 150_000
"""Who buys, and what they bought before."""
PRODUCTS, CATEGORIES, STORES = 2_000, 60, 50
WRITES = 200
"""Transactions of the limit."""
DATABASE = "bench_projection_lag"
START = datetime(2026, 1, 1, tzinfo=UTC)

P99 = Question(
    name="projection_lag",
    question="How long after an event was recorded does the graph show it, 99 of 100, at 1,000 events a second?",
    unit="s",
    higher_is_better=False,
    peer_name="",
    limit_name="a write transaction that sets one property: its round trip, 99 of 100, nothing else going on",
    notes=(
        "Neo4j Community 5.26 on the same machine. One process records a chunk every 50 ms: each event a purchased "
        "line of a user who has fifteen already. Another one runs the loops of purchases as a worker does: window, "
        "spread, project and sweep. From the commit in Postgres to the answer of the graph that it committed lines, "
        "sums and version, or later ones; the worker's poll for somebody who is ahead is in it."
    ),
)
P50 = Question(
    name="projection_lag_p50",
    question="And one event in two?",
    unit="s",
    higher_is_better=False,
    peer_name="",
    limit_name="the same transaction, one in two",
    notes="Of the same rounds.",
)


def measure(scale: float) -> list[Result]:
    """The lag of the graph behind the facts, beside a bare write."""
    return asyncio.run(_measure(max(int(LINES * scale), 100), max(int(USERS * scale), 10), max(SECONDS * scale, 1.0)))


async def _measure(lines: int, users: int, seconds: float) -> list[Result]:
    reasons = catalogue(reason("by_mail", Channel.EMAIL))
    with graph_server(options=(), heap="1g") as neo4j:
        async with (
            fresh_hark(DATABASE, reasons) as database,
            bare(DATABASE) as raw,
            open_graph(neo4j.url) as graph,
        ):
            await graph.prepare()
            watched = _Watched(graph.driver, graph.database, graph.patience)
            field = _Field(database, raw, watched, await DatabaseClock.start(database), users, seconds)
            await _know_products(database)
            await field.fill(lines)
            await field.round(min(seconds, 10.0))  # Java compiles what runs often; nobody shall pay for that alone
            high = await take_turns({"limit": field.limit, "hark": field.hark})
    sizes = {
        "events/s at least": round(min(field.paces)),
        "seconds": round(seconds),
        "users": users,
        "purchases before": lines,
    }
    half = {name: Rounds(tuple(figures)) for name, figures in field.halves.items()}
    return [answer(P99, high, sizes), answer(P50, half, sizes)]


async def _know_products(database: Database) -> None:
    known = [ProductAnswer(_product(n), f"Product {n}", f"category-{n % CATEGORIES}") for n in range(PRODUCTS)]
    await put_products(database, known, now=START)
    await put_categories(
        database, [CategoryAnswer(f"category-{n}", ["food", f"category-{n}"]) for n in range(CATEGORIES)], now=START
    )
    while (await spread(database, now=START, limit=1_000)).more:
        pass


# What is recorded -----------------------------------------------------------------------------------------------------


def _bought(chance: random.Random, users: int, name: str) -> Fact:
    return Fact(
        f"user-{chance.randrange(users):08}",
        line_key(name, 1),
        1,
        _product(chance.randrange(PRODUCTS)),
        f"store-{chance.randrange(STORES):03}",
        chance.randrange(50, 5_000),
        "EUR",
        Decimal(1),
        START + timedelta(seconds=chance.randrange(86_400 * 300)),
    )


def _product(number: int) -> str:
    return f"product-{number:05}"


@dataclass(frozen=True, slots=True)
class _Said:
    """A user's facts were of this version at that moment, of the clock that all processes share."""

    user: str
    version: int
    at: float


def child(dsn: str, seconds: float, users: int, seed: int) -> None:
    """What a process of its own does: records events at a steady pace, and prints whom it moved to which version."""
    said, taken = asyncio.run(_feed(dsn, seconds, users, seed))
    json.dump({"said": [[each.user, each.version, each.at] for each in said], "taken": taken}, sys.stdout)


async def _feed(dsn: str, seconds: float, users: int, seed: int) -> tuple[list[_Said], float]:
    """What was said, and in how many seconds: more than were to be, where the machine does not keep up."""
    chance = random.Random(seed)
    said: list[_Said] = []
    async with open_database(dsn, size=1) as database:
        begun = time.monotonic()
        for tick in range(round(seconds / TICK)):
            await asyncio.sleep(max(begun + tick * TICK - time.monotonic(), 0.0))
            facts = [_bought(chance, users, f"live-{seed}-{tick}-{n}") for n in range(round(EVENTS * TICK))]
            async with database.connection() as connection:
                recorded = await record_facts(connection, facts, now=datetime.now(UTC), by=None)
            at = time.monotonic()
            said += [_Said(each.user_id, each.version, at) for each in recorded.moved]
    return said, max(time.monotonic() - begun, seconds)


# Who projects it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Watched(Neo4jGraph):
    """A graph that notes when it held which version of a user."""

    held: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    async def write(self, node: Node, changes: Changes) -> set[str]:
        """Write, and look at the clock."""
        written = await Neo4jGraph.write(self, node, changes)
        at = time.monotonic()
        for each, version in zip(changes.ids, changes.versions, strict=True):
            if node is Node.USER and each in written:
                self.held.setdefault(each, []).append((version, at))
        return written

    def lag(self, said: _Said) -> float:
        """Seconds from the facts' version to the graph's, or to a later one."""
        held = self.held[said.user]
        return held[bisect_left(held, (said.version, 0.0))][1] - said.at


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    graph: _Watched
    clock: Clock
    users: int
    seconds: float
    halves: dict[str, list[float]] = field(default_factory=lambda: {"limit": [], "hark": []})
    paces: list[float] = field(default_factory=list)

    async def fill(self, lines: int) -> None:
        """What they bought before is in the graph."""
        chance = random.Random(9)
        facts = [_bought(chance, self.users, f"before-{n}") for n in range(lines)]
        async with self.database.connection() as connection:
            for begin in range(0, lines, 5_000):
                await record_facts(connection, facts[begin : begin + 5_000], now=START, by=1)
        projector = self._projector()
        while (await projector.step()).more:
            pass
        await settle_down(self.raw, "hark.history_user", "hark.fact", "hark.product")

    async def hark(self) -> float:
        """Seconds behind which one event in a hundred is."""
        return self._noted("hark", await self.round(self.seconds))

    async def limit(self) -> float:
        """Seconds of one write, one after the other."""
        taken = []
        for n in range(WRITES):
            begun = time.monotonic()
            await self.graph.ask("MERGE (n:Nobody {id: 1}) SET n.at = $at", at=n)
            taken.append(time.monotonic() - begun)
        return self._noted("limit", taken)

    def _noted(self, name: str, taken: Sequence[float]) -> float:
        in_order = sorted(taken)
        self.halves[name].append(in_order[len(in_order) // 2])
        return in_order[len(in_order) * 99 // 100]

    async def round(self, seconds: float) -> list[float]:
        """Record and project side by side; the lag of each event."""
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for loop in self._loops():
                tasks.create_task(loop.run(stopping))
            said = await asyncio.to_thread(self._record, seconds)
            while await self._is_anybody_ahead():
                pass
            stopping.set()
        return [self.graph.lag(each) for each in said]

    def _record(self, seconds: float) -> list[_Said]:
        given = f"{server().dsn_of(DATABASE)!r}, {seconds}, {self.users}, {len(self.paces)}"
        command = [sys.executable, "-c", f"from bench.projection_lag import child; child({given})"]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout)
        self.paces.append(EVENTS * seconds / told["taken"])
        return [_Said(*each) for each in told["said"]]

    async def _is_anybody_ahead(self) -> bool:
        """Whether the graph is behind; looked at after a while."""
        await self.raw.execute("select pg_sleep(0.1)")
        found = await self.raw.execute("select from hark.history_user where projected < version limit 1")
        return await found.fetchone() is not None

    def _loops(self) -> list[Loop]:
        graphed = Graphed(self._projector(), Sweep(self.database, self.graph, self.clock))
        tender = Tender(self.database, self.clock, graph=graphed)
        return [Loop(name, _progress(chunk), self.clock, Pace()) for name, chunk in tender.chunks().items()]

    def _projector(self) -> Projector:
        return Projector(self.database, self.graph, self.clock, "bench")


def _progress(chunk: Chunk) -> Callable[[], Awaitable[Progress]]:
    async def step() -> Progress:
        tended = await chunk()
        return Progress(tended.more, tended.next_at)

    return step
