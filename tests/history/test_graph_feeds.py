"""Feeds of what people buy: the recipes of the how-to by the real planner, from Postgres and from a real graph."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hark.catalogue import CypherSource, Feed, Frequency, Reason, SqlSource
from hark.catalogue.cypher_text import cypher_faults
from hark.catalogue.sql_text import sql_faults
from hark.clock import VirtualClock
from hark.doors.product_sources import graph_faults, query_faults
from hark.errors import SourceFailed
from hark.feeds import Asking, Due, ask_feed
from hark.history.projection.neo4j_graph import Neo4jGraph, open_graph
from tests.digests.forum import TUESDAY, digests
from tests.history.projection_world import Projected
from tests.history.shopping import Shop, line
from tests.world import MONDAY_NOON, World, catalogue, reason, students

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "purchases-in-digests.md"
HOUR = timedelta(hours=1)
PRODUCTS = """
create schema shop;
create table shop.product (
    id text primary key, name text, category_id text, listed_at timestamptz not null,
    xid xid8 not null default pg_current_xact_id()
)"""


def block(language: str) -> str:
    """The page's query in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def new_for_you(source: SqlSource | CypherSource) -> Reason:
    """The reason of the page, daily."""
    overlap = timedelta(0) if isinstance(source, SqlSource) else timedelta(days=1)
    return reason("new_for_you", frequency=Frequency.DAILY, feed=Feed(source, overlap=overlap))


BY_SQL, BY_CYPHER = SqlSource(block("sql"), "new.sql"), CypherSource(block("cypher"), "new.cypher")


@pytest.fixture
async def shopping(world: World, graph: Neo4jGraph) -> AsyncIterator[tuple[World, Projected]]:
    """Ann and bob have bought milk, and cid tea, long ago."""
    await graph.ask("MATCH (n) DETACH DELETE n")
    await world.execute(PRODUCTS)
    projected = Projected(Shop(world.database), graph, VirtualClock(world.clock.now()))
    for product, category in (("milk", "dairy"), ("curd", "dairy"), ("tea", "drinks"), ("cola", "drinks")):
        await projected.known(product, product.title(), category)
    await projected.hierarchy("dairy", "food", "dairy")
    long_ago = MONDAY_NOON - timedelta(days=30)
    await projected.bought(
        line("a", user="ann", at=long_ago),
        line("b", user="bob", at=long_ago),
        line("c", user="cid", at=long_ago, product="tea"),
    )
    await projected.project()
    people = students(4)
    await world.know(*(replace(each, id=name) for each, name in zip(people, ("ann", "bob", "cid", "dan"), strict=True)))
    yield world, projected


async def test_the_recipe_in_sql(shopping: tuple[World, Projected]) -> None:
    world, _ = shopping
    await world.install(new_for_you(BY_SQL))
    await world.plan()
    for product, category in (("curd", "dairy"), ("milk", "dairy"), ("cola", "drinks"), ("soap", "household")):
        await world.execute(
            "insert into shop.product (id, name, category_id, listed_at) values (%s, initcap(%s), %s, %s)",
            *(product, product, category, MONDAY_NOON + HOUR),
        )
    world.clock.move_to(TUESDAY)
    await world.plan()
    assert await digests(world) == [("Tue", ["product/curd"])] * 2 + [("Tue", ["product/cola"])]
    (row, *_) = await world.rows("select items from hark.digest where recipient_id = 'ann'")
    assert {"name": "Curd", "category": ["food", "dairy"], "bought": 1} in row.items[0]


async def test_the_recipe_in_sql_asks_by_the_users_key(shopping: tuple[World, Projected]) -> None:
    world, _ = shopping
    due = (
        "explain with due (recipient_id, since, since_at) as (select r.id, pg_current_snapshot(), now()"
        " from hark.recipient r)"
    )
    await world.execute("set enable_seqscan = off")
    plan = await world.rows(f"{due} {BY_SQL.sql}")
    scans = [row[0] for row in plan if " on fact" in row[0]]
    assert scans
    assert all("fact_pkey" in each or "fact_product" in each for each in scans)
    assert not sql_faults(BY_SQL.sql)
    assert await query_faults(world.database, catalogue(new_for_you(BY_SQL))) == []


async def test_the_recipe_in_cypher(shopping: tuple[World, Projected]) -> None:
    world, projected = shopping
    assert cypher_faults(BY_CYPHER.cypher) == []
    assert await graph_faults(projected.graph, catalogue(new_for_you(BY_CYPHER))) == []
    world.asking = replace(world.asking, graph=projected.graph)
    await world.install(new_for_you(BY_CYPHER))
    await world.plan()
    later = MONDAY_NOON + HOUR
    await projected.bought(
        line("d", user="dan", product="curd", at=later),
        line("e", user="dan", product="cola", at=later),
        line("f", user="dan", at=later),
    )
    await projected.project()
    world.clock.move_to(TUESDAY)
    await world.plan(asking=world.asking)
    assert await digests(world) == [("Tue", ["product/curd"])] * 2 + [("Tue", ["product/cola"])]
    (row, *_) = await world.rows("select items from hark.digest where recipient_id = 'ann'")
    assert {"name": "Curd", "category": ["food", "dairy"], "bought": 1} in row.items[0]
    world.clock.move_to(TUESDAY + timedelta(days=1))
    await world.plan(asking=world.asking)
    assert len(await digests(world)) == 3  # each is told once, though the overlap finds it again


async def test_while_the_graph_is_away_digests_wait(shopping: tuple[World, Projected]) -> None:
    world, projected = shopping
    await world.install(new_for_you(BY_CYPHER))
    await world.plan()
    await projected.bought(line("d", user="dan", product="curd", at=MONDAY_NOON + HOUR))
    await projected.project()
    world.clock.move_to(TUESDAY)
    async with open_graph("bolt://127.0.0.1:1", patience=timedelta(seconds=5)) as away:
        (failed,) = [each for each in await world.plan(asking=replace(world.asking, graph=away)) if each.failed]
    assert failed.planned == 0
    assert await digests(world) == []
    world.clock.move_to(TUESDAY + HOUR)
    await world.plan(asking=replace(world.asking, graph=projected.graph))
    assert await digests(world) == [("Tue", ["product/curd"])] * 2


DUE = [Due("ann", "10:20:", MONDAY_NOON)]
FAILS = {
    "writes": ("UNWIND $due AS due CREATE (n:Store {store_id: 'x'}) RETURN n.store_id AS key", "the graph refuses: "),
    "no Cypher": ("UNWIND $due AS due RETRUN 1", "the graph refuses: "),
    "no time": (
        "UNWIND $due AS due RETURN due.recipient_id AS recipient_id, 'k' AS key",
        "its answer: items[0].at: Field required",
    ),
    "no zone": (
        "UNWIND $due AS due RETURN due.recipient_id AS recipient_id, 'k' AS key, localdatetime() AS at",
        "its answer: items[0].at: Input should have timezone info",
    ),
    "another": (
        "UNWIND $due AS due RETURN 'eve' AS recipient_id, 'k' AS key, due.since_at AS at",
        "its answer: items[0].recipient was not asked for",
    ),
    "more": (
        "UNWIND $due AS due RETURN due.recipient_id AS recipient_id, 'k' AS key, due.since_at AS at, 1 AS colour",
        "its answer: items[0].colour: Extra inputs are not permitted",
    ),
}


@pytest.mark.parametrize("fault", sorted(FAILS))
async def test_what_a_query_may_not_answer(graph: Neo4jGraph, fault: str) -> None:
    cypher, says = FAILS[fault]
    with pytest.raises(SourceFailed) as failed:
        await _asked(cypher, graph)
    assert str(failed.value).startswith(says)


async def test_what_a_query_may_leave_out(graph: Neo4jGraph) -> None:
    (item,) = await _asked(
        "UNWIND $due AS due RETURN due.recipient_id AS recipient_id, 'k' AS key, due.since_at AS at, null AS rank,"
        " null AS payload, null AS actor",
        graph,
    )
    assert (item.recipient_id, item.at, item.rank, item.payload, item.actor) == ("ann", MONDAY_NOON, 0.0, {}, None)


async def test_a_query_that_takes_too_long_is_given_up(graph: Neo4jGraph) -> None:
    endless = (
        "UNWIND $due AS due UNWIND range(1, 10000000) AS a UNWIND range(1, 10000000) AS b WITH due, max(a * b) AS m"
    )
    with pytest.raises(SourceFailed) as failed:
        await _asked(
            f"{endless} RETURN due.recipient_id AS recipient_id, 'k' AS key, due.since_at AS at", graph, seconds=1
        )
    assert failed.value.too_slow


async def test_without_a_graph_it_is_said() -> None:
    with pytest.raises(SourceFailed, match=r"q\.cypher asks the graph, and none is set: set HARK_GRAPH_URL"):
        await _asked("UNWIND $due AS due RETURN 1", None)


async def _asked(cypher: str, graph: Any, *, seconds: float = 30) -> Any:
    asking = Asking(timeout=timedelta(seconds=seconds), graph=graph)
    return await ask_feed(Feed(CypherSource(cypher, "q.cypher")), "new_for_you", DUE, asking)
