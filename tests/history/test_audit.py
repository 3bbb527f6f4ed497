"""Audits on a real graph: each planted fault is found with user and cause, and healed by writing anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from hark.errors import GraphRefused
from hark.history.audit import Audit, Name, Severity, audit_users
from hark.history.audit.certificate import certify
from hark.history.projection import uniting
from tests.history.audit_world import audited, counted, filled, found, no_pause
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, line, order

OF_ANN = "MATCH (u:User {user_id: 'ann'})"
OF_EITHER = "hark history rebuild --user USER; of what is no user's: hark history rebuild"

EDGE_FAULTS = {
    "missing edge": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() DELETE r",
        ("missing edge", "PURCHASED receipt:r1:1: the facts have it, in version 1; the graph has no such edge"),
    ),
    "extra edge": (
        OF_ANN + " MATCH (p:Product {product_id: 'tea'}) CREATE (u)-[:PURCHASED {key: 'receipt:r99:1'}]->(p)",
        ("extra edge", "PURCHASED receipt:r99:1: no fact has this key"),
    ),
    "another's edge": (
        OF_ANN + " MATCH (p:Product {product_id: 'milk'}) CREATE (u)-[:PURCHASED {key: 'receipt:bob:1'}]->(p)",
        ("extra edge", "PURCHASED receipt:bob:1: it is bob's, by the facts"),
    ),
    "edge without a key": (
        OF_ANN + " MATCH (p:Product {product_id: 'milk'}) CREATE (u)-[:PURCHASED {count: 3}]->(p)",
        ("extra edge", "PURCHASED None: no fact has this key"),
    ),
    "twin edge": (
        OF_ANN + "-[r:PURCHASED {key: 'order:o1'}]->(p) CREATE (u)-[t:PURCHASED]->(p) SET t = properties(r)",
        ("twin edge", "PURCHASED order:o1: 2 edges of one key"),
    ),
    "twin sum": (
        OF_ANN + "-[r:SHOPS_AT]->(s) CREATE (u)-[t:SHOPS_AT]->(s) SET t = properties(r)",
        ("twin edge", "SHOPS_AT north: 2 edges to it"),
    ),
    "wrong total": (
        OF_ANN + "-[r:SHOPS_AT]->() SET r.totals_minor = [1], r.count = r.count + 1",
        (
            "wrong total",
            "SHOPS_AT north: count is 2 in the graph, 1 by the facts;"
            " totals_minor is [1] in the graph, [129] by the facts",
        ),
    ),
    "missing total": (
        OF_ANN + "-[r:SHOPS_IN]->() DELETE r",
        ("missing edge", "SHOPS_IN dairy: 1 purchases by the facts; the graph has no such edge"),
    ),
    "stale edge": (
        OF_ANN + " MATCH (c:Category {category_id: 'dairy'}) MERGE (s:Store {store_id: 'south'})"
        " CREATE (u)-[:SHOPS_AT {count: 1}]->(s)",
        ("stale edge", "SHOPS_AT south: by the facts there is no purchase that counts"),
    ),
    "wrong amount": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.amount_minor = 5",
        ("wrong edge", "PURCHASED receipt:r1:1: amount_minor is 5 in the graph, 129 by the facts"),
    ),
    "more on an edge": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.colour = 'red'",
        ("wrong edge", "PURCHASED receipt:r1:1: it has properties that Hark never wrote"),
    ),
    "an amount of another type": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.amount_minor = toFloat(r.amount_minor)",
        ("wrong edge", "PURCHASED receipt:r1:1: amount_minor is 129.0 in the graph, 129 by the facts"),
    ),
    "a version of another type": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.version = toFloat(r.version)",
        ("wrong edge", "PURCHASED receipt:r1:1: version is 1.0 in the graph, 1 by the facts"),
    ),
    "a count of another type": (
        OF_ANN + "-[r:SHOPS_AT]->() SET r.count = toFloat(r.count), r.totals_minor = [129.0]",
        (
            "wrong total",
            "SHOPS_AT north: count is 1.0 in the graph, 1 by the facts;"
            " totals_minor is [129.0] in the graph, [129] by the facts",
        ),
    ),
    "a quantity of another type": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.quantity = toInteger(r.quantity)",
        ("wrong edge", "PURCHASED receipt:r1:1: quantity is 1 in the graph, 1.0 by the facts"),
    ),
    "a sum's quantity of another type": (
        OF_ANN + "-[r:SHOPS_IN]->() SET r.quantity = toInteger(r.quantity)",
        ("wrong total", "SHOPS_IN dairy: quantity is 1 in the graph, 1.0 by the facts"),
    ),
    "a total of another type": (
        OF_ANN + "-[r:SHOPS_AT]->() SET r.total_minor = toFloat(r.total_minor)",
        ("wrong total", "SHOPS_AT north: total_minor is 129.0 in the graph, 129 by the facts"),
    ),
    "a number as text": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.amount_minor = '129'",
        ("wrong edge", "PURCHASED receipt:r1:1: amount_minor is 129 (text) in the graph, 129 (integer) by the facts"),
    ),
    "a moment as its microseconds": (
        OF_ANN + "-[r:PURCHASED {key: 'receipt:r1:1'}]->() SET r.occurred_at = r.occurred_at.epochMillis * 1000",
        (
            "wrong edge",
            "PURCHASED receipt:r1:1: occurred_at is 1795780800000000 in the graph,"
            " 2026-11-27T12:00:00+00:00 by the facts",
        ),
    ),
    "a moment as text": (
        OF_ANN + "-[r:SHOPS_AT]->() SET r.last_at = '2026-11-27T12:00:00+00:00'",
        (
            "wrong total",
            "SHOPS_AT north: last_at is 2026-11-27T12:00:00+00:00 (text) in the graph,"
            " 2026-11-27T12:00:00+00:00 (moment) by the facts",
        ),
    ),
    "a user's version of another type": (
        OF_ANN + " SET u.facts_version = toFloat(u.facts_version)",
        ("wrong node", "facts_version is 1.0 in the graph, 1 by the facts"),
    ),
    "a user's version as text": (
        OF_ANN + " SET u.facts_version = toString(u.facts_version)",
        ("wrong node", "facts_version is 1 (text) in the graph, 1 (integer) by the facts"),
    ),
    "more on a node": (
        OF_ANN + " SET u.nickname = 'annie'",
        ("wrong node", "it has properties that Hark never wrote"),
    ),
    "no moment": (
        OF_ANN + " SET u.last_updated_at = 'never'",
        ("wrong node", "last_updated_at is never in the graph, 2026-11-27T12:00:00+00:00 by the facts"),
    ),
}


@pytest.mark.parametrize("fault", sorted(EDGE_FAULTS))
async def test_a_planted_fault_is_found_with_user_and_cause_and_healed(projected: Projected, fault: str) -> None:
    await filled(projected)
    cypher, (check, cause) = EDGE_FAULTS[fault]
    await projected.ask(cypher)
    certificate = await certify(projected.shop.database, projected.graph, "ann", now=NOW, pause=no_pause)
    assert [(each.check, each.cause) for each in certificate.findings] == [(check, cause)]
    report = await audited(projected)
    assert not report.good
    assert report.score < 100
    assert {key: value for key, value in found(report).items() if key != "totals"} == {check: [("ann", cause)]}
    await projected.rebuild.user("ann")
    await projected.project()
    healed = await audited(projected)
    assert healed.good
    assert set(found(healed)) <= {"orphan"}  # the store that the fault brought along


async def test_a_time_in_the_future_in_the_graph_alone(projected: Projected) -> None:
    await filled(projected)
    await projected.ask(
        OF_ANN + "-[r:PURCHASED {key: 'order:o1'}]->() SET r.occurred_at = datetime('2099-01-01T00:00Z')"
    )
    report = await audited(projected)
    assert found(report)["future time"] == [("ann", "PURCHASED order:o1: at 2099-01-01T00:00:00+00:00 in the graph")]
    assert [user for user, _ in found(report)["wrong edge"]] == ["ann"]
    await projected.rebuild.user("ann")
    await projected.project()
    assert found(await audited(projected)) == {}


async def test_a_time_in_the_future_that_a_source_says_is_a_warning(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(line("r5", at=NOW + timedelta(days=3)), line("r6", at=NOW + timedelta(minutes=1)))
    await projected.project()
    report = await audited(projected)
    assert found(report) == {"future time": [("ann", "receipt:r5:1: lies in the future")]}
    assert (report.severity, report.good, report.score) == (Severity.WARN, True, 99.0)


async def test_what_was_deleted_or_has_left_the_window_is_stale(projected: Projected) -> None:
    await filled(projected)
    old = NOW - timedelta(days=100)
    await projected.bought(line("r7", at=old), line("r8"))
    await projected.project()
    copies = "MATCH (u:User {user_id: 'ann'})-[r:PURCHASED]->(p) WHERE r.key = $key RETURN properties(r), p.product_id"
    kept = [(await projected.graph.ask(copies, key=f"receipt:{receipt}:1"))[0] for receipt in ("r7", "r8")]
    await projected.bought(line("r8", version=4, deleted=True))
    await projected.rolled(NOW - timedelta(days=50))
    await projected.project()
    back = OF_ANN + " MATCH (p:Product {product_id: $product}) CREATE (u)-[r:PURCHASED]->(p) SET r = $properties"
    for properties, product in kept:
        await projected.graph.ask(back, properties=properties, product=product)
    report = await audited(projected)
    assert sorted(cause for _, cause in found(report)["stale edge"]) == [
        "PURCHASED receipt:r7:1: older than the window, by the facts",
        "PURCHASED receipt:r8:1: deleted by the facts, in version 4",
    ]


PRODUCT_FAULTS = {
    "foreign edit": (
        "MATCH (p:Product {product_id: 'milk'}) SET p.name = 'Mischief', p.category_hierarchy = null",
        "wrong product",
        "name is Mischief in the graph, Milk by the facts; category_hierarchy is nothing in the graph,"
        " ['food', 'dairy'] by the facts",
    ),
    "a version of another type": (
        "MATCH (p:Product {product_id: 'milk'}) SET p.version = toFloat(p.version)",
        "wrong product",
        "version is 2.0 in the graph, 2 by the facts",
    ),
    "a version as text": (
        "MATCH (p:Product {product_id: 'milk'}) SET p.version = toString(p.version)",
        "wrong product",
        "version is 2 (text) in the graph, 2 (integer) by the facts",
    ),
    "a property more": (
        "MATCH (p:Product {product_id: 'milk'}) SET p.colour = 'white'",
        "wrong product",
        "it has properties that Hark never wrote",
    ),
    "in no category": (
        "MATCH (:Product {product_id: 'milk'})-[r:IN_CATEGORY]->() DELETE r",
        "in category",
        "it is in no category in the graph, in dairy (food > dairy) by what is known",
    ),
    "more on its edge": (
        "MATCH (:Product {product_id: 'milk'})-[r:IN_CATEGORY]->() SET r.foo = 'x'",
        "in category",
        "IN_CATEGORY dairy: it has properties that Hark never wrote",
    ),
    "another hierarchy": (
        "MATCH (c:Category {category_id: 'dairy'}) SET c.hierarchy = ['toys']",
        "in category",
        "it is in dairy (toys) in the graph, in dairy (food > dairy) by what is known",
    ),
}


@pytest.mark.parametrize("fault", sorted(PRODUCT_FAULTS))
async def test_what_is_wrong_with_a_product(projected: Projected, fault: str) -> None:
    await filled(projected)
    cypher, check, cause = PRODUCT_FAULTS[fault]
    await projected.ask(cypher)
    report = await audited(projected)
    assert {key: value for key, value in found(report).items() if key != "totals"} == {check: [("milk", cause)]}
    await projected.rebuild.everything()
    await projected.project()
    assert found(await audited(projected)) == {}


async def test_what_somebody_else_wrote_on_stores_and_categories(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(line("r2", store="south"))
    await projected.project()
    await projected.ask(
        "MATCH (c:Category), (s:Store {store_id: 'north'}) SET c.foo = 'x', s.`foo bar` = 1, s.hierarchy = ['food']"
    )
    report = await audited(projected)
    assert found(report) == {
        "foreign property": [
            ("dairy", "a Category with foo, which Hark never wrote"),
            ("north", "a Store with foo bar, hierarchy, which Hark never wrote"),
        ]
    }
    assert not report.good and report.score < 100
    assert await projected.rebuild.forget_strangers() == 0
    assert found(await audited(projected)) == {}
    await projected.assert_in_step()


async def test_strangers_orphans_and_other_kinds_of_things(projected: Projected) -> None:
    await filled(projected)
    await projected.ask(
        "CREATE (u:User {user_id: 'eve'})-[:PURCHASED {key: 'receipt:z:1'}]->(:Product {product_id: 'gin'}),"
        " (:Store {store_id: 'pub'}), (:Category {category_id: 'spirits'}), (:Ghost)-[:HAUNTS]->(u)"
    )
    report = await audited(projected)
    assert found(report)["stranger"] == [
        ("eve", "a User that no fact knows, with 2 edges"),
        ("gin", "a Product that no fact knows, with 1 edges"),
    ]
    assert found(report)["orphan"] == [
        ("spirits", "a Category that no fact knows, and nothing leads to"),
        ("pub", "a Store that no fact knows, and nothing leads to"),
    ]
    assert [name for name, _ in found(report)["foreign kind"]] == [":Ghost", "-[:HAUNTS]-"]
    assert ("PURCHASED", "6 in the graph, 5 by the facts") in found(report)["totals"]
    await projected.ask("MATCH (g:Ghost) DETACH DELETE g")
    await projected.rebuild.everything()
    await projected.project()
    await projected.rebuild.forget_strangers()
    assert found(await audited(projected)) == {}


async def test_a_store_that_was_left_is_no_orphan(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(
        line("r1", version=9, deleted=True), *(line(u, user=u, version=9, deleted=True) for u in ("bob", "cid", "dan"))
    )
    await projected.project()
    assert await projected.ask("MATCH (s:Store) WHERE NOT (s)--() RETURN s.store_id") == [("north",)]
    assert found(await audited(projected)) == {}


@asynccontextmanager
async def unguarded(projected: Projected) -> AsyncIterator[None]:
    """Nothing keeps nodes unique, for the time of a block."""
    for name in ("user", "product", "category", "store"):
        await projected.ask(f"DROP CONSTRAINT hark_{name} IF EXISTS")
    try:
        yield
    finally:
        await projected.ask("MATCH (n) DETACH DELETE n")
        await projected.graph.prepare()


TWINS = """
CREATE (m:Product {product_id: 'milk', version: 9}),
       (:User {user_id: 'bob', facts_version: 1})-[:PURCHASED {key: 'receipt:x:1'}]->(m),
       (c:Category {category_id: 'dairy', hierarchy: ['toys']})<-[:IN_CATEGORY]-(m), (s:Store {store_id: 'north'})
WITH m, c, s
MATCH (u:User {user_id: 'ann'})-[r:PURCHASED {key: 'receipt:r1:1'}]->(p)
CREATE (u)-[t:PURCHASED]->(m) SET t = properties(r) DELETE r
WITH u, c, s
CREATE (u)-[:SHOPS_IN {count: 7}]->(c), (u)-[:SHOPS_AT]->(s)"""


@pytest.mark.parametrize("only", [None, "bob"])
async def test_twin_nodes_are_found_and_made_one(projected: Projected, only: str | None) -> None:
    await filled(projected)
    before = await projected.edges()
    async with unguarded(projected):
        await projected.ask(TWINS)
        report = await audited(projected)
        assert counted(report)[Name.CONSTRAINTS] == 4
        assert sorted(found(report)["twin node"]) == [
            ("bob", "2 nodes have this id"),
            ("dairy", "2 Category nodes have this id"),
            ("milk", "2 nodes have this id"),
            ("north", "2 Store nodes have this id"),
        ]
        with pytest.raises(GraphRefused):
            await projected.graph.prepare()
        rebuild = projected.rebuild
        assert await rebuild.make_ready() == 4
        await (rebuild.user(only) if only else rebuild.everything())
        await projected.project()
        await rebuild.forget_strangers()
        assert found(await audited(projected)) == {}
        assert await projected.edges() == before


async def test_edges_lead_to_their_own_products_and_stores_though_others_have_twins(projected: Projected) -> None:
    async with unguarded(projected):
        two = "UNWIND ['gin', 'milk'] AS id UNWIND [1, 2] AS n"
        await projected.ask(f"{two} CREATE (:Product {{product_id: id}}), (:Store {{store_id: id}})")
        goods = ("bread", "gin", "milk", "tea")
        await projected.bought(*(line(each, product=each, store=each) for each in goods))
        await projected.project()
        led = await projected.ask("MATCH (:User)-[r:PURCHASED]->(p) RETURN r.receipt_id, p.product_id ORDER BY r.key")
        assert led == [(each, each) for each in goods]
        shops = await projected.ask("MATCH (:User)-[r:SHOPS_AT]->(s) RETURN s.store_id, r.count ORDER BY s.store_id")
        assert shops == [(each, 1) for each in goods]


async def test_who_was_united_is_written_anew_though_whoever_united_them_died(projected: Projected) -> None:
    await filled(projected)
    before = await projected.edges()
    async with unguarded(projected):
        await projected.ask(TWINS)
        assert await projected.graph.unite() == 4
        await projected.graph.prepare()
        assert await projected.sweep() > 0
        await projected.project()
        assert found(await audited(projected)) == {}
        assert await projected.edges() == before


async def test_many_edges_to_a_twin_are_moved_bit_by_bit(projected: Projected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniting, "AT_ONCE", 1)
    await filled(projected)
    async with unguarded(projected):
        await projected.ask(
            "CREATE (m:Product {product_id: 'milk'}), (:Product {product_id: 'tea'}), (:Product {product_id: 'tea'})"
            " WITH m MATCH (u:User)-[r:PURCHASED]->(p:Product {product_id: 'milk'})"
            " CREATE (u)-[t:PURCHASED]->(m) SET t = properties(r) DELETE r"
        )
        assert await projected.rebuild.make_ready() == 3
        await projected.project()
        await projected.assert_in_step()
        assert found(await audited(projected)) == {}


async def test_what_has_a_name_of_harks_and_can_be_nobodys(projected: Projected) -> None:
    await filled(projected)
    await projected.ask(
        "MATCH (p:Product {product_id: 'milk'}) CREATE (:Ghost)-[:PURCHASED {key: 'receipt:r1:1'}]->(p),"
        " (p)-[:SHOPS_AT]->(:Store {store_id: 7}), (:User {name: 'nobody'})-[:PURCHASED]->(p), (:User {user_id: ''})"
    )
    await projected.ask(
        "MATCH (u:User {user_id: 'bob'}), (c:Category {category_id: 'dairy'}) CREATE (u)-[:IN_CATEGORY]->(c)"
    )
    report = await audited(projected)
    assert sorted(found(report)["stranger"]) == [
        ("''", "a User whose user_id is no id: ''"),
        ("7", "a Store whose store_id is no id: 7"),
        ("nothing", "a User whose user_id is no id: nothing"),
    ]
    assert found(report)["extra edge"] == [
        (":Ghost", "PURCHASED: it begins at a node of :Ghost, where Hark leads none"),
        ("milk", "SHOPS_AT: it begins at a node of :Product, where Hark leads none"),
        ("bob", "IN_CATEGORY: it begins at a node of :User, where Hark leads none"),
    ]
    assert report.check(Name.EXTRA_EDGE).mend == OF_EITHER
    await projected.rebuild.everything()
    await projected.project()
    await projected.rebuild.forget_strangers()
    assert set(found(await audited(projected))) == {"foreign kind"}  # the ghost is somebody else's


async def test_a_graph_that_was_emptied_or_is_behind(projected: Projected) -> None:
    await filled(projected)
    await projected.ask("MATCH (u:User {user_id: 'bob'}) DETACH DELETE u")
    await projected.ask(OF_ANN + " SET u.facts_version = 0")
    report = await audited(projected)
    assert found(report)["missing node"] == [("bob", "has 1 purchases, and no node")]
    assert found(report)["version"] == [
        ("ann", "the graph holds version 0, the facts are at 1, marked is 1"),
    ]
    await projected.sweep()
    waiting = await audited(projected)
    assert waiting.good
    await projected.project()
    assert found(await audited(projected)) == {}


async def test_a_product_that_is_gone_is_no_users(projected: Projected) -> None:
    await filled(projected)
    await projected.known("tea", "Tea", "dairy")
    await projected.project()
    assert found(await audited(projected)) == {}
    await projected.ask("MATCH (p:Product {product_id: 'tea'}) DETACH DELETE p")
    report = await audited(projected)
    assert found(report)["missing node"] == [("tea", "the product has no node")]
    assert report.check(Name.MISSING_NODE).mend == OF_EITHER
    await projected.rebuild.everything()
    await projected.project()
    assert found(await audited(projected)) == {}


async def test_who_waits_for_long_is_a_warning(projected: Projected) -> None:
    await filled(projected)
    await projected.shop.record(line("r5"), now=NOW - timedelta(minutes=1))
    assert found(await audited(projected)) == {}
    await projected.shop.record(line("b5", user="bob"), now=NOW - timedelta(hours=1))
    report = await audited(projected)
    assert found(report) == {"waiting": [("bob", "is ahead of the graph since 2026-11-27T11:00:00+00:00")]}


async def test_facts_that_cannot_be(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(line("bob", user="ann", version=3))
    await projected.shop.rows("update hark.fact set moved_at = 9 where key = 'order:o1' returning 1")
    report = await audited(projected)
    assert found(report) == {
        "fact version": [("ann", "order:o1: of a later version than its user")],
        "quarantine": [("ann", "receipt:bob:1: it is bob's")],
    }


async def test_without_a_graph_the_facts_alone_are_looked_at(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(line("r5", at=NOW + timedelta(days=3)))
    report = await Audit(projected.shop.database, None, NOW, pause=no_pause).everything()
    assert not report.graph
    assert found(report) == {"future time": [("ann", "receipt:r5:1: lies in the future")]}
    assert (report.facts["PURCHASED"], report.facts["SHOPS_IN"], report.held) == (6, 4, {})
    assert {check.name for check in report.checks} == {
        Name.FUTURE_TIME,
        Name.FACT_VERSION,
        Name.WINDOW,
        Name.QUARANTINE,
    }


async def test_what_was_compared_and_who_brought_it(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(order("o2", user="bob"), order("o1"), by=12)
    await projected.project()
    report = await audited(projected)
    assert (report.compared["users"], report.compared["products"], report.compared["purchases"]) == (4, 2, 6)
    assert report.facts.items() >= report.held.items() - {("Category", 1), ("Store", 1)}
    assert [(each.run, each.facts, each.alone) for each in report.brought] == [(0, 5, 4), (12, 2, 1)]
    assert report.known["with a hierarchy"] == 1
    assert (report.score, report.severity) == (100, Severity.OK)


async def test_only_whom_a_run_touched(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(order("o2", user="bob"), by=12)
    await projected.shop.load(by=13, user="cid", version=0)
    await projected.project()
    await projected.ask("MATCH (:User)-[r:PURCHASED]->() DELETE r")
    database = projected.shop.database
    assert [await _users(projected, run) for run in (12, 13, 14)] == [["bob"], ["cid"], []]
    report = await audit_users(database, None, 12, NOW)
    assert report.compared["users"] == 1


async def _users(projected: Projected, run: int) -> list[str]:
    report = await Audit(projected.shop.database, projected.graph, NOW, pause=no_pause).of_run(run)
    return sorted({user for user, _ in found(report).get("missing edge", [])})


ALL_AT_ONCE = (
    "MATCH (:User {user_id: 'ann'})-[r:PURCHASED {key: 'receipt:r1:1'}]->() DELETE r",
    "MATCH (u:User {user_id: 'bob'}), (p:Product {product_id: 'tea'}) CREATE (u)-[:PURCHASED {key: 'receipt:x'}]->(p)",
    "MATCH (:User {user_id: 'cid'})-[r:SHOPS_AT]->() SET r.totals_minor = [1]",
    "MATCH (u:User {user_id: 'dan'})-[r:PURCHASED]->(p) CREATE (u)-[t:PURCHASED]->(p) SET t = properties(r)",
    "MATCH (u:User {user_id: 'eli'}) MERGE (s:Store {store_id: 'south'}) CREATE (u)-[:SHOPS_AT {count: 1}]->(s)",
    "CREATE (:Category {category_id: 'spirits'})",
    "MATCH (:User {user_id: 'fay'})-[r:PURCHASED]->() SET r.occurred_at = datetime('2099-01-01T00:00Z')",
    "MATCH (p:Product {product_id: 'milk'}) SET p.name = 'Mischief'",
    "CREATE (:User {user_id: 'gus', facts_version: 7})",
)


async def test_all_faults_at_once_are_each_told_of_whom_and_healed_by_one_rebuild(projected: Projected) -> None:
    await filled(projected)
    await projected.bought(*(line(user, user=user) for user in ("eli", "fay", "gus")))
    await projected.project()
    before = await projected.edges()
    assert found(await audited(projected)) == {}
    async with unguarded(projected):
        for cypher in ALL_AT_ONCE:
            await projected.ask(cypher)
        seen = found(await audited(projected))
        whom = {name: {each for each, _ in examples} for name, examples in seen.items() if name != "totals"}
        assert whom == {
            "missing edge": {"ann"},
            "extra edge": {"bob"},
            "wrong total": {"cid"},
            "twin edge": {"dan"},
            "stale edge": {"eli"},
            "orphan": {"spirits"},
            "future time": {"fay"},
            "wrong edge": {"fay"},
            "wrong product": {"milk"},
            "twin node": {"gus"},
            "constraints": {"User", "Product", "Category", "Store"},
        }
        assert all(cause for examples in seen.values() for _, cause in examples)
        await projected.rebuild.make_ready()
        await projected.rebuild.everything()
        await projected.project()
        await projected.rebuild.forget_strangers()
        healed = await audited(projected)
        assert (found(healed), healed.score) == ({}, 100)
        assert await projected.edges() == before
