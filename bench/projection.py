"""How fast do facts become a graph?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.graph_server import graph_server

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Channel
from hark.clock import DatabaseClock
from hark.history.facts import Fact, line_key, record_facts
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products, spread
from hark.history.projection import Projector
from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph
from hark.history.projection.projector import Sizes
from hark.postgres.database import Database

USERS = 4_000
LINES = 40_000
ALONE = 300
"""Users of the peer, which is too slow for all."""
PRODUCTS, CATEGORIES, STORES = 170, 30, 20
WARM_UP = 6
"""Rounds that do not count: Java compiles what runs often, and nobody shall pay for that alone."""
BATCH = 2_000
"""Lines in a transaction of the limit."""
DATABASE = "bench_projection"
START = datetime(2026, 1, 1, tzinfo=UTC)

SPEED = Question(
    name="projection",
    question="How fast does an empty graph get all purchases, with what each user buys by category and store?",
    unit="lines/s",
    higher_is_better=True,
    peer_name="the same, one user a transaction",
    limit_name=f"raw UNWIND … MERGE of the same edges alone, {BATCH:,} a transaction",
    notes=(
        "Neo4j Community 5.26 on the same machine, constraints in place. The limit reads no database, knows no "
        "versions, sums up nothing and marks nothing; it merges the user, the product and the edge of each line with "
        "the same properties. Hark reads what changed from Postgres, locks each user, compares and sets the version, "
        "writes lines and sums, and marks them, 200 users a transaction, of which two are under way at once; its sums "
        "are about as many edges again."
    ),
)
RAW = """
UNWIND $rows AS l
MERGE (u:User {user_id: l[0]})
MERGE (p:Product {product_id: l[1]})
MERGE (u)-[r:PURCHASED {key: l[2]}]->(p)
SET r.store_id = l[3], r.amount_minor = l[4], r.currency = 'EUR', r.quantity = 1.0, r.version = 1,
    r.occurred_at = datetime({epochSeconds: l[5], nanosecond: 0}), r.receipt_id = l[6]
"""
EMPTY = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 500 ROWS"
FORGOTTEN = """
update hark.history_user set projected = -1, ahead_since = changed_at;
update hark.product set projected = -1
"""


def measure(scale: float) -> list[Result]:
    """The projector beside raw edges, and beside one user a transaction."""
    return asyncio.run(_measure(max(int(LINES * scale), 100), max(int(USERS * scale), 10), scale))


async def _measure(lines: int, users: int, scale: float) -> list[Result]:
    facts = _facts(lines, users)
    reasons = catalogue(reason("by_mail", Channel.EMAIL))
    with graph_server(options=(), heap="1g") as server:
        async with (
            fresh_hark(DATABASE, reasons) as database,
            bare(DATABASE) as raw,
            open_graph(server.url, patience=timedelta(minutes=10)) as graph,
        ):
            await graph.prepare()
            await _record(database, facts)
            field = _Field(database, raw, graph, facts, min(ALONE, users))
            contestants = {"limit": field.limit, "hark": field.hark, "peer": field.peer}
            await take_turns(contestants, WARM_UP)
            reached = await take_turns(contestants)
    target = Target(share_of_limit=0.9) if scale >= 1 else None
    sizes = {"lines": lines, "users": users, "users of the peer": field.alone}
    return [answer(SPEED, reached, sizes, target)]


def _facts(lines: int, users: int) -> list[Fact]:
    chance = random.Random(6)
    return sorted((_fact(chance, number, users) for number in range(lines)), key=lambda fact: fact.user_id)


def _fact(chance: random.Random, number: int, users: int) -> Fact:
    user = chance.randrange(users)
    return Fact(
        f"user-{user:08}",
        line_key(f"r{number // 3}-{user}", number),
        1,
        f"product-{min(chance.randrange(PRODUCTS), chance.randrange(PRODUCTS)):04}",
        f"store-{user % STORES:03}",
        chance.randrange(50, 5_000),
        "EUR",
        Decimal(1),
        START + timedelta(seconds=chance.randrange(86_400 * 300)),
    )


async def _record(database: Database, facts: Sequence[Fact]) -> None:
    products = [f"product-{number:04}" for number in range(PRODUCTS)]
    known = [ProductAnswer(each, each.title(), f"category-{n % CATEGORIES}") for n, each in enumerate(products)]
    await put_products(database, known, now=START)
    await put_categories(
        database, [CategoryAnswer(f"category-{n}", ["food", f"category-{n}"]) for n in range(CATEGORIES)], now=START
    )
    while (await spread(database, now=START, limit=1_000)).more:
        pass
    async with database.connection() as connection:
        for cut in _cut(facts, 5_000):
            await record_facts(connection, cut, now=START, by=1)


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    graph: Neo4jGraph
    facts: Sequence[Fact]
    alone: int

    async def hark(self) -> float:
        """All users, a few hundred a transaction."""
        await self._empty()
        projector = await self._projector(Sizes())
        lines = 0
        with stopwatch() as watch:
            while (done := await projector.step()).more:
                lines += done.lines
        assert lines == len(self.facts)
        return lines / watch.seconds

    async def peer(self) -> float:
        """Some users, each in a transaction of their own."""
        await self._empty()
        projector = await self._projector(Sizes(nodes=1, transactions=50))
        lines = users = 0
        with stopwatch() as watch:
            while users < self.alone and (done := await projector.step()).more:
                lines, users = lines + done.lines, users + done.users
        return lines / watch.seconds

    async def limit(self) -> float:
        """The edges alone."""
        await self._empty()
        rows = [_raw(each) for each in self.facts]
        with stopwatch() as watch:
            for cut in _cut(rows, BATCH):
                await self.graph.ask(RAW, rows=cut)
        return len(rows) / watch.seconds

    async def _empty(self) -> None:
        await self.graph.ask(EMPTY)
        for statement in FORGOTTEN.split(";"):
            await self.raw.execute(statement.encode())
        await settle_down(self.raw, "hark.history_user", "hark.fact", "hark.product")

    async def _projector(self, sizes: Sizes) -> Projector:
        clock = await DatabaseClock.start(self.database)
        return Projector(self.database, self.graph, clock, "bench", sizes=sizes)


def _raw(fact: Fact) -> list[Any]:
    assert fact.occurred_at is not None
    at = int(fact.occurred_at.timestamp())
    receipt = fact.key.split(":")[1]
    return [fact.user_id, fact.product_id, fact.key, fact.store_id, fact.amount_minor, at, receipt]


def _cut(rows: Sequence[Any], size: int) -> list[list[Any]]:
    return [list(rows[begin : begin + size]) for begin in range(0, len(rows), size)]
