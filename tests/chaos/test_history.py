"""groceries.csv through real sources, broker, Postgres and graph, while each of them and each of us is killed.

Part of it comes live, shuffled, again, corrected and taken back; part of it is loaded, some of it both ways. In the end
graph and facts are the fold of what was sent, to the last edge; taken back, they are what live alone had said.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from neo4j import Driver, GraphDatabase

from hark.history.sandbox.goods import Goods
from hark.history.sandbox.groceries import read_groceries
from hark.postgres.migrate import migrate
from tests.broker import broker
from tests.chaos.conftest import FULL
from tests.chaos.hark_child import PRELOADED
from tests.chaos.mart import FLAG, LOOK_BACK_DAYS, Mart, Servers, says
from tests.chaos.nursery import Nursery
from tests.chaos.nursery import nursery as open_nursery
from tests.chaos.purchases import (
    Bought,
    Shoppers,
    Sum,
    Till,
    categories_of,
    fold,
    lines_of,
    newest,
    rows_of,
    summed,
    write_part,
)
from tests.chaos.test_kill_postgres import Durable
from tests.graph_server import graph_server
from tests.history.live.topics import Topics
from tests.servers import data_file

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(2400)]


class Size(NamedTuple):
    """How much of the file, how many users a second, who is killed how often, and how long apart at most."""

    members: int | None
    rate: int
    kills: dict[str, int]
    apart_s: float


SHORT = Size(45, 6, {"ingest": 1, "worker": 1, "projector": 1, "apply": 2, "postgres": 1, "broker": 1, "graph": 1}, 1.0)
WHOLE = Size(
    None,
    10,
    {"ingest": 45, "worker": 35, "projector": 25, "apply": 35, "postgres": 30, "broker": 15, "graph": 15},
    1.5,
)
SIZE, SEEDS = (WHOLE, (1, 2)) if FULL else (SHORT, (1,))

PURCHASED = """
MATCH (u:User)-[r:PURCHASED]->(p:Product)
RETURN u.user_id, r.key, p.product_id, p.name, p.category_id, p.category_hierarchy, r.store_id,
       r.amount_minor, r.currency, r.quantity, r.occurred_at"""
SHOPS = """
MATCH (u:User)-[r:{edge}]->(t:{label})
RETURN u.user_id, t.{key}, r.count, r.total_minor, r.first_at, r.last_at"""
IN_CATEGORY = "MATCH (p:Product)-[:IN_CATEGORY]->(c:Category) RETURN p.product_id, c.category_id, c.hierarchy"
TOTALS = "MATCH (u:User)-[r:PURCHASED]->(p:Product) RETURN {by}, count(*), sum(r.amount_minor)"
FACTS = """
select user_id, key, version, product_id, store_id, amount_minor, currency, quantity::float8, occurred_at
  from hark.fact where not deleted"""


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """One of each for these tests; what takes longest to start, starts at once."""
    with ExitStack() as opened, ThreadPoolExecutor(2) as starter:
        kafka = starter.submit(lambda: opened.enter_context(broker("256m")))
        graph = starter.submit(lambda: opened.enter_context(graph_server(heap="384m")))
        durable = Durable.begin()
        yield Servers(durable, kafka.result(), graph.result())
        durable.end()


@pytest.fixture(scope="module")
def preloaded() -> Iterator[Nursery]:
    """Where Hark's command lines come from."""
    with open_nursery(*PRELOADED) as opened:
        yield opened


@pytest.fixture(params=SEEDS)
def mart(request: pytest.FixtureRequest, servers: Servers, preloaded: Nursery, tmp_path: Path) -> Iterator[Mart]:
    """Nobody works yet, nothing was bought, and the graph is empty."""
    seed = int(request.param)
    name = f"mart_{seed}_{time.monotonic_ns()}"
    with psycopg.connect(servers.postgres.server.dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    dsn = servers.postgres.server.dsn_of(name)
    asyncio.run(migrate(dsn))
    with resources.as_file(resources.files("hark") / "sample") as sample:
        shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    with graph_of(servers) as driver:
        driver.execute_query("MATCH (n) DETACH DELETE n")
    topics = Topics(servers.broker, seed)
    topics.create()
    opened = Mart(servers, preloaded, topics, dsn, tmp_path, random.Random(seed))
    yield opened
    opened.close()


def test_killed_again_and_again_the_graph_is_the_fold(mart: Mart) -> None:
    begun = time.monotonic()
    newest_day = datetime.now(UTC).date() - timedelta(days=1)
    file = mart.folder / "groceries.csv"
    by_the_file = write_part(data_file("groceries.csv"), file, SIZE.members)
    goods = read_groceries(file, orders=0.3, newest=newest_day)
    assert Counter((b.user, b.product) for row in rows_of(goods) for b in lines_of(row)) == by_the_file

    shoppers = Shoppers.of(goods.users, mart.chance)
    say = says(mart.topics, mart.chance)
    till = Till(mart.chance, mart.write, say, rows_of(goods))
    till.fill(shoppers)
    prepare(mart, file, newest_day, shoppers)
    effective = live_through_it(mart, till)
    assert say.flush() == 0  # type: ignore[attr-defined]
    mart.grows_quiet()
    figures = f"seed {mart.topics.number}: {sum(mart.killed.values())} killed {dict(mart.killed)}, {dict(mart.ended)}"
    print(f"{figures}, {len(till.told):,} messages, {len(till.every):,} rows, {time.monotonic() - begun:.0f} s")

    truth = fold(till.every)
    check_run(mart, shoppers)
    check_facts(mart, truth)
    check_graph(mart, goods, truth)
    audited = json.loads(mart.run("history", "audit", "--json").splitlines()[-1])  # logs come before it
    assert audited["severity"] == "OK", audited

    taken_back(mart)
    left = facts(mart)
    check_left(left, shoppers, till, effective)
    check_graph(mart, goods, left)
    wipe(mart)
    heals(mart, left)
    check_graph(mart, goods, left)
    print(f"seed {mart.topics.number}: undone and healed after {time.monotonic() - begun:.0f} s")


def prepare(mart: Mart, file: Path, newest_day: date, shoppers: Shoppers) -> None:
    """Serve the sources, make the flag, and make ready the graph."""
    broken = ("--fault", "cut,share=0.02", "--fault", "unavailable,share=0.02,retry_after=0")
    mart.open_sources("--file", str(file), "--newest", f"{newest_day}", "--orders", "0.3", *broken)
    mart.run("migrate")
    mart.run("history", "init")
    mart.run("flags", "create", FLAG)
    (mart.folder / "first.txt").write_text("\n".join(sorted(shoppers.live | shoppers.both)))
    (mart.folder / "cohort.txt").write_text("\n".join(shoppers.cohort))
    mart.run("flags", "segment", "set", FLAG, "first", "--file", "first.txt")
    mart.open()


def live_through_it(mart: Mart, till: Till) -> int:
    """Let all happen, and kill; how much was told before the flag let everybody in, at the latest."""
    kills = [what for what, times in SIZE.kills.items() for _ in range(times)]
    mart.chance.shuffle(kills)
    till.happen(till.left // 6)
    plan(mart)
    effective = 0
    for number, what in enumerate(kills):
        if number == len(kills) // 8:
            effective = loads(mart, till)
        till.happen(till.left // (2 * (len(kills) - number)))
        time.sleep(mart.chance.uniform(0, SIZE.apart_s))  # waits for nothing: the moment is the point
        mart.kill("ingest" if what == "apply" and mart.stage() == "DONE" else what)
        mart.tend()
        till.happen(till.left // (2 * (len(kills) - number)))
    while till.left:
        till.happen(till.left)
    return effective


def plan(mart: Mart) -> None:
    """Plan the load, and let one apply it whom the workers help."""
    mart.run(
        *("backfill", "history", "--user-file", "cohort.txt", "--flag", FLAG, "--ignore-lag", "--not-adaptive"),
        *("--lookback-days", f"{LOOK_BACK_DAYS}", "--rate-limit", f"{SIZE.rate}", "--batch-size", "10", "--dry-run"),
    )
    mart.backfill = mart.ask("select max(id) from hark.backfill where state = 'PLANNED'")
    assert mart.backfill, mart.log("command").read_text()
    mart.start("apply", "backfill", "apply", f"{mart.backfill}")


def loads(mart: Mart, till: Till) -> int:
    """Wait until users are loaded; how much was told by then."""

    mart.until(
        lambda: mart.stage() not in ("None", "SEGMENT", "EFFECTIVE"), lambda: f"users are loaded: {mart.stage()}"
    )
    return len(till.told)


def taken_back(mart: Mart) -> None:
    """Undo the run, with one more kill of each of us, and wait until all is quiet."""
    mart.run("backfill", "undo", f"{mart.backfill}")
    mart.backfill = mart.ask("select max(id) from hark.backfill where state = 'PLANNED'")
    mart.start("apply", "backfill", "apply", f"{mart.backfill}")
    for what in ("apply", "worker", "projector"):
        time.sleep(mart.chance.uniform(0, SIZE.apart_s))  # waits for nothing: the moment is the point
        mart.kill(what)
    mart.grows_quiet()
    assert mart.stage() == "DONE"


def wipe(mart: Mart) -> None:
    """Empty the graph behind everybody's back."""
    while edges(mart, "MATCH (n) WITH n LIMIT 2000 DETACH DELETE n RETURN count(*)") != [(0,)]:
        pass


def heals(mart: Mart, left: set[Bought]) -> None:
    """Wait until the sweep has found it, and all is written again."""

    count = "MATCH (:User)-[r:PURCHASED]->() RETURN count(r)"
    mart.until(lambda: edges(mart, count) == [(len(left),)], lambda: f"{edges(mart, count)} of {len(left)} edges")
    mart.grows_quiet()


# What it comes to -----------------------------------------------------------------------------------------------------


def graph_of(servers: Servers) -> Driver:
    return GraphDatabase.driver(servers.graph.url)


def edges(mart: Mart, query: str) -> list[tuple[Any, ...]]:
    """What the graph says."""
    with graph_of(mart.servers) as driver:
        return [tuple(map(_plain, row.values())) for row in driver.execute_query(query).records]


def _plain(value: Any) -> Any:
    native = value.to_native() if hasattr(value, "to_native") else value
    return tuple(native) if isinstance(native, list) else native


def facts(mart: Mart) -> set[Bought]:
    """What is held in Postgres."""
    return {Bought(*row) for row in mart.rows(FACTS)}


def same(found: Sequence[Any] | set[Any], wanted: Sequence[Any] | set[Any], what: str) -> None:
    """Both have the same, as often; else what differs."""
    more, less = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    assert not more and not less, f"{what}: {more.total()} too many {few(more)}, {less.total()} missing {few(less)}"


def few(these: Counter[Any]) -> list[str]:
    """Some of them."""
    return sorted(map(repr, these))[:5]


def check_run(mart: Mart, shoppers: Shoppers) -> None:
    """All are loaded, the stream's and the graph's stages were passed for real, and nothing was put aside."""
    ((stage, ends, audit),) = mart.rows("select stage::text, ends, audit from hark.history_run")
    assert stage == "DONE" and audit["severity"] == "OK", (stage, audit)
    assert {end["topic"] for end in ends} == {
        mart.topics.settings.ingest_receipts_topic,
        mart.topics.settings.ingest_factoids_topic,
    }
    assert mart.rows("select state::text, count(*) from hark.history_step group by 1") == [
        ("DONE", 2 * len(shoppers.cohort))
    ]
    assert mart.ask("select count(*) from hark.ingest_dead") == 0
    assert mart.ask("select count(*) from hark.fact_refused") == 0


def check_facts(mart: Mart, truth: set[Bought]) -> None:
    """Facts are the fold."""
    same(facts(mart), truth, "facts")


def check_graph(mart: Mart, goods: Goods, truth: set[Bought]) -> None:
    """The graph is the fold: each edge, and the sums by user, product, category and store."""
    known, category = goods.products, categories_of(goods)

    def product(line: Bought) -> tuple[Any, ...]:
        its = known.get(line.product)
        return (its.name, its.category_id, goods.categories[its.category_id]) if its else (None, None, None)

    same(
        edges(mart, PURCHASED),
        [(b.user, b.key, b.product, *product(b), b.store, b.amount, b.currency, b.quantity, b.at) for b in truth],
        "PURCHASED",
    )
    stores = summed(truth, lambda b: b.store and (b.user, b.store))
    shelves = summed(truth, lambda b: (b.product in category and (b.user, category[b.product])) or None)
    same(edges(mart, SHOPS.format(edge="SHOPS_AT", label="Store", key="store_id")), flat(stores), "SHOPS_AT")
    same(edges(mart, SHOPS.format(edge="SHOPS_IN", label="Category", key="category_id")), flat(shelves), "SHOPS_IN")
    for by, of in (
        ("u.user_id", lambda b: b.user),
        ("p.product_id", lambda b: b.product),
        ("p.category_id", lambda b: category.get(b.product, "")),
        ("r.store_id", lambda b: b.store),
    ):
        wanted = [(of or None, each.purchases, each.total) for of, each in summed(truth, of).items()]
        same(edges(mart, TOTALS.format(by=by)), wanted, f"totals by {by}")
    placed = edges(mart, IN_CATEGORY)
    every = {(each, its.category_id, goods.categories[its.category_id]) for each, its in known.items()}
    assert len(set(placed)) == len(placed) and set(placed) <= every
    assert {each for each in every if each[0] in {b.product for b in truth}} <= set(placed)


def flat(sums: dict[Any, Sum]) -> list[tuple[Any, ...]]:
    return [(*key, *each) for key, each in sums.items()]


def check_left(left: set[Bought], shoppers: Shoppers, till: Till, effective: int) -> None:
    """After the undo: exactly live's facts; of those whom the run let in, those that live said while they were in."""
    early = shoppers.live | shoppers.both
    same({b for b in left if b.user in early}, {b for b in fold(till.told) if b.user in early}, "facts of live")
    late = {b for b in left if b.user in shoppers.late}
    assert late <= {line for row in till.told for line in lines_of(row)}
    last = newest(till.told)
    certain = [row for row in till.told[effective:] if row.user_id in shoppers.late and row in last.values()]
    same({line for row in certain for line in lines_of(row)} - late, set(), "facts of live, of those let in")
