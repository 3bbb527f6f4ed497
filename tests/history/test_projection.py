"""The graph says what the facts say, whatever comes in between."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark.errors import GraphRefused
from hark.history.projection.projector import Sizes
from hark.history.projection.sending import Changes
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, line, order

A_DAY = timedelta(days=1)


async def test_lines_and_sums_are_what_postgres_answers(projected: Projected) -> None:
    await projected.known("milk", "Milk", "dairy")
    await projected.hierarchy("dairy", "food", "dairy")
    await projected.bought(
        line("r1", 1),
        line("r1", 2, product="tea", amount=None, currency=None, quantity="0.125"),
        line("r:2", 1, amount=250, currency="USD", at=NOW - A_DAY + timedelta(microseconds=7)),
        line("r3", 1, user="bob", store=None),
        order("o1", user="bob"),
        line("r4", 1, user="cid", at=NOW.replace(year=1901), amount=-129),
    )
    done = await projected.project()
    assert (done.users, done.products, done.lines, done.beaten, done.refused) == (3, 2, 6, 0, 0)
    await projected.assert_in_step()
    assert (await projected.project()).more is False


async def test_quantities_are_floats_also_where_they_are_whole(projected: Projected) -> None:
    await projected.known("milk", "Milk", "dairy")
    await projected.bought(line("r1", quantity="2"), line("r2", quantity="0.125", user="bob"), order("o1"))
    await projected.project()
    await projected.bought(line("r3", quantity="3"))
    await projected.project()
    types = "MATCH ()-[r:PURCHASED|SHOPS_IN|SHOPS_AT]->() RETURN DISTINCT type(r), valueType(r.quantity)"
    assert sorted(await projected.ask(types)) == [
        (edge, "FLOAT NOT NULL") for edge in ("PURCHASED", "SHOPS_AT", "SHOPS_IN")
    ]


async def test_only_what_changed_is_sent(projected: Projected) -> None:
    await projected.bought(*(line("r", number) for number in range(20)))
    await projected.project()
    await projected.bought(line("r", 3, version=2, product="tea"), line("r", 4, version=2, deleted=True), line("s", 1))
    done = await projected.project()
    assert (done.users, done.lines) == (1, 2)
    await projected.assert_in_step()


async def test_sums_that_are_as_they_were_stay(projected: Projected) -> None:
    await projected.known("milk", "Milk", "dairy")
    await projected.known("tea", "Tea", "drinks")
    dollars = line("r2", product="tea", store="south", amount=250, currency="USD")
    await projected.bought(line("r1"), line("r3", product="tea", store="south", amount=None, currency=None), dollars)
    await projected.bought(line("r4", product="tea", store="south", amount=7, quantity="0.125"))
    await projected.project()
    before = await _sums(projected)
    await projected.bought(line("r5", at=NOW + timedelta(microseconds=1)))
    await projected.project()
    after = await _sums(projected)
    await projected.assert_in_step()
    assert {name: after[name] for name in ("drinks", "south")} == {name: before[name] for name in ("drinks", "south")}
    assert after.keys() == before.keys() == {"dairy", "drinks", "north", "south"}


@pytest.mark.parametrize("word", ["corrected", "deleted and recategorised", "deleted twice", "deleted as another"])
async def test_a_purchase_leaves_no_sum_behind(projected: Projected, word: str) -> None:
    for product, category in (("milk", "dairy"), ("tea", "drinks")):
        await projected.known(product, product, category)
    await projected.bought(line("r1"), line("r2"), line("r3", product="tea", store="south"))
    await projected.project()
    match word:
        case "corrected":
            await projected.bought(line("r1", version=2, product="tea", store="south"))
        case "deleted and recategorised":
            await projected.bought(line("r1", version=2, deleted=True), line("r2", version=2, deleted=True))
            await projected.known("milk", "milk", "drinks")
        case "deleted twice":
            await projected.bought(line("r1", version=2, deleted=True))
            await projected.bought(line("r1", version=3, product="tea", store="south", deleted=True))
        case "deleted as another":
            await projected.bought(line("r1", version=2, product="tea", store="south", deleted=True))
    await projected.project()
    await projected.assert_in_step()
    await projected.bought(line("r4", product="tea", store="south"))
    await projected.project()
    await projected.assert_in_step()


async def _sums(projected: Projected) -> dict[str, str]:
    """Which edge, by what it leads to."""
    rows = await projected.ask(
        "MATCH (:User)-[r:SHOPS_IN|SHOPS_AT]->(t) RETURN coalesce(t.category_id, t.store_id), elementId(r)"
    )
    return dict(rows)


async def test_what_is_taken_back_goes_and_may_come_again(projected: Projected) -> None:
    await projected.bought(line("r1"), line("r2", store="south"), by=7)
    await projected.bought(line("r3", product="tea"))
    await projected.project()
    await projected.shop.undo(7, "ann")
    await projected.project()
    await projected.assert_in_step()
    assert [row[1] for row in (await projected.edges())["purchased"]] == ["receipt:r3:1"]
    await projected.bought(line("r1"))
    await projected.project()
    await projected.assert_in_step()


async def test_what_is_learnt_of_a_product_later_reaches_its_buyers(projected: Projected) -> None:
    await projected.bought(*(line(user, user=user) for user in ("ann", "bob", "cid")), line("x", product="tea"))
    await projected.project()
    await projected.assert_in_step()
    await projected.known("milk", "Milk", "dairy")
    assert (await projected.project()).users == 3
    await projected.assert_in_step()
    await projected.known("milk", "Whole milk", "drinks")
    await projected.hierarchy("drinks", "food", "drinks")
    await projected.project()
    await projected.assert_in_step()
    assert await projected.ask("MATCH (p:Product {name: 'Whole milk'})-[:IN_CATEGORY]->(c) RETURN c.hierarchy") == [
        (["food", "drinks"],)
    ]


async def test_what_leaves_the_window_leaves_the_graph(projected: Projected) -> None:
    await projected.known("milk", "Milk", "dairy")
    for day in range(4):
        await projected.bought(*(line(f"{user}{day}", user=user, at=NOW + day * A_DAY) for user in ("ann", "bob")))
    await projected.project()
    await projected.rolled(NOW + 3 * A_DAY)
    await projected.project()
    await projected.assert_in_step()
    assert len((await projected.edges())["purchased"]) == 2
    await projected.bought(line("late", at=NOW))
    await projected.project()
    await projected.assert_in_step()


async def test_many_users_go_in_small_transactions_and_a_large_one_alone(projected: Projected) -> None:
    await projected.bought(*(line("r", number, user=f"u{number % 9}") for number in range(60)))
    await projected.bought(*(line("big", number, user="big") for number in range(50)))
    done = await projected.project(sizes=Sizes(nodes=4, lines=12, transactions=2))
    assert (done.users, done.lines) == (10, 110)
    await projected.assert_in_step()


async def test_whom_the_graph_refuses_keeps_nobody_else(projected: Projected) -> None:
    refusing = _Refusing(projected.graph, "u3")
    await projected.bought(*(line("r", number, user=f"u{number}") for number in range(8)))
    done = await projected.projector(graph=refusing).step()
    assert (done.users, done.refused) == (7, 1)
    assert await projected.marked("u3") == -1
    assert (await projected.project()).users == 1
    await projected.assert_in_step()


class _Refusing:
    def __init__(self, graph: object, user: str) -> None:
        self.graph, self.user = graph, user

    def __getattr__(self, name: str) -> object:
        return getattr(self.graph, name)

    async def write(self, node: object, changes: Changes) -> object:
        if self.user in changes.ids:
            raise GraphRefused("the graph refuses: no such luck")
        return await self.graph.write(node, changes)  # type: ignore[attr-defined]


# Restored, emptied, edited by others ----------------------------------------------------------------------------------


async def test_an_emptied_graph_heals(projected: Projected) -> None:
    await _filled(projected)
    await projected.ask("MATCH (n) DETACH DELETE n")
    assert (await projected.project()).more is False
    assert await projected.sweep() == 6
    await projected.project()
    await projected.assert_in_step()
    assert await projected.sweep() == 0


async def test_a_database_that_was_restored_moves_past_the_graph(projected: Projected) -> None:
    await _filled(projected)
    await projected.bought(line("r9"))
    await projected.project()
    await projected.shop.rows(
        "with gone as (delete from hark.fact where key = 'receipt:r9:1')"
        " update hark.history_user set version = 1, projected = 1, ahead_since = null where user_id = 'ann' returning 1"
    )
    assert await projected.sweep() == 1
    await projected.project()
    assert await projected.held() == 3
    await projected.assert_in_step()
    await projected.shop.rows(
        "update hark.history_user set version = 2, projected = 1, ahead_since = changed_at where user_id = 'ann'"
        " returning 1"
    )
    await projected.project()
    await projected.assert_in_step()


FAULTS = {
    "missing edge": "MATCH (:User {user_id: 'ann'})-[r:PURCHASED {key: 'receipt:r1:1'}]->() DELETE r",
    "extra edge": "MATCH (u:User {user_id: 'ann'}), (p:Product {product_id: 'tea'})"
    " CREATE (u)-[:PURCHASED {key: 'receipt:r99:1'}]->(p)",
    "twin edge": "MATCH (u:User {user_id: 'ann'})-[r:PURCHASED]->(p)"
    " CREATE (u)-[t:PURCHASED]->(p) SET t = properties(r)",
    "wrong total": "MATCH (:User {user_id: 'ann'})-[r:SHOPS_AT]->() SET r.totals_minor = [1], r.count = r.count + 1",
    "stale edge": "MATCH (u:User {user_id: 'ann'}) MERGE (c:Category {category_id: 'gone'})"
    " CREATE (u)-[:SHOPS_IN]->(c)",
    "future time": "MATCH (:User {user_id: 'ann'})-[r:PURCHASED]->() SET r.occurred_at = datetime('2099-01-01T00:00Z')",
    "foreign edit": "MATCH (:User {user_id: 'ann'})-[:PURCHASED]->(p) SET p.name = 'Mischief', p.category_id = 'x'",
    "another category": "MATCH (:User {user_id: 'ann'})-[:PURCHASED]->(p)-[r:IN_CATEGORY]->() DELETE r",
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_user_written_anew_is_whole_again(projected: Projected, fault: str) -> None:
    await _filled(projected)
    await projected.ask(FAULTS[fault])
    assert await projected.edges() != await projected.expected()
    assert await projected.rebuild.user("ann")
    done = await projected.project()
    assert done.users == 1
    await projected.assert_in_step()


async def test_all_written_anew_forgets_strangers(projected: Projected) -> None:
    await _filled(projected)
    await projected.ask(
        "MERGE (u:User {user_id: 'eve'}) MERGE (p:Product {product_id: 'gin'}) MERGE (s:Store {store_id: 'pub'})"
        " CREATE (u)-[:PURCHASED {key: 'receipt:z:1'}]->(p), (u)-[:SHOPS_AT]->(s)"
    )
    await projected.ask("MATCH (:User {user_id: 'bob'})-[r]->() DELETE r")
    assert (await projected.rebuild.everything()).users == 4
    await projected.project()
    assert await projected.rebuild.forget_strangers() == 3
    await projected.assert_in_step()
    assert await projected.ask("MATCH (n) WHERE n.user_id = 'eve' OR n.store_id = 'pub' RETURN n") == []


async def test_a_stranger_written_anew_is_forgotten(projected: Projected) -> None:
    await projected.ask(
        "CREATE (:User {user_id: 'eve', facts_version: 'many'})-[:PURCHASED]->(:Product {product_id: 'x'})"
    )
    assert not await projected.rebuild.user("eve")
    assert await projected.ask("MATCH (u:User) RETURN u") == []


async def test_what_others_wrote_before_is_replaced(projected: Projected) -> None:
    await projected.ask(
        "CREATE (u:User {user_id: 'ann', facts_version: 'none'}),"
        " (u)-[:PURCHASED {count: 3}]->(:Product {product_id: 'milk'}),"
        " (u)-[:SHOPS_AT {count: 9}]->(:Store {store_id: 'north'})"
    )
    await projected.bought(line("r1"))
    await projected.project()
    await projected.assert_in_step()


@pytest.mark.parametrize("before", [False, True], ids=["for the first time", "once more"])
async def test_a_rebuild_asked_for_while_a_write_is_under_way_is_not_lost(projected: Projected, before: bool) -> None:
    async def edited_and_asked_for() -> None:
        await projected.ask("MATCH (:User {user_id: 'ann'})-[r:SHOPS_AT]->() SET r.count = 9")
        await projected.rebuild.user("ann")

    await _filled(projected)
    await projected.bought(line("r9"))
    if before:
        await projected.rebuild.user("ann")
    await projected.projector(graph=_Meddling(projected.graph, edited_and_asked_for)).step()
    assert await projected.marked() <= -2
    await projected.project()
    await projected.assert_in_step()


class _Meddling:
    """Something happens between a write and its mark."""

    def __init__(self, graph: object, meanwhile: object) -> None:
        self.graph, self.meanwhile = graph, meanwhile

    def __getattr__(self, name: str) -> object:
        return getattr(self.graph, name)

    async def write(self, node: object, changes: object) -> object:
        written = await self.graph.write(node, changes)  # type: ignore[attr-defined]
        await self.meanwhile()  # type: ignore[operator]
        return written


async def _filled(projected: Projected) -> None:
    await projected.known("milk", "Milk", "dairy")
    await projected.bought(*(line(user, user=user) for user in ("bob", "cid", "dan")), line("r1"), order("o1"))
    await projected.project()
    await projected.assert_in_step()
