"""What the tests of the projection say of a graph and the facts behind it, in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hark.clock import VirtualClock
from hark.history import answers, products, window
from hark.history.facts import Fact
from hark.history.products import CategoryAnswer, ProductAnswer
from hark.history.projection import Projector, Stepped, Sweep
from hark.history.projection.neo4j_graph import Neo4jGraph
from hark.history.projection.projector import Sizes
from hark.history.projection.rebuild import Rebuild
from tests.history.shopping import NOW, Shop

PURCHASED = """
MATCH (u:User)-[r:PURCHASED]->(p:Product)
RETURN u.user_id, r.key, r.receipt_id, p.product_id, p.name, p.category_id, p.category_hierarchy, r.store_id,
       r.amount_minor, r.currency, r.quantity, r.occurred_at"""
SHOPS = """
MATCH (u:User)-[r:{edge}]->(t:{label})
RETURN u.user_id, t.{key}, r.count, r.quantity, r.currencies, r.totals_minor, r.total_minor, r.first_at, r.last_at"""
SHOPS_IN = SHOPS.format(edge="SHOPS_IN", label="Category", key="category_id")
SHOPS_AT = SHOPS.format(edge="SHOPS_AT", label="Store", key="store_id")
IN_CATEGORY = "MATCH (p:Product)-[:IN_CATEGORY]->(c:Category) RETURN p.product_id, c.category_id, c.hierarchy"

Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class Projected:
    """Facts, the graph that they are projected to, and a projector."""

    shop: Shop
    graph: Neo4jGraph
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))

    # When -----------------------------------------------------------------------------------------------------------

    async def bought(self, *facts: Fact, by: int | None = None) -> None:
        """Facts are recorded."""
        await self.shop.record(*facts, by=by)

    async def known(self, product: str, name: str | None, category: str | None) -> None:
        """What a product is becomes known, and those who bought it are moved on."""
        await products.put_products(self.shop.database, [ProductAnswer(product, name, category)], now=NOW)
        while (await products.spread(self.shop.database, now=NOW, limit=2)).more:
            pass

    async def hierarchy(self, category: str, *hierarchy: str) -> None:
        """A category's hierarchy becomes known."""
        await products.put_categories(self.shop.database, [CategoryAnswer(category, hierarchy)], now=NOW)

    async def rolled(self, to: datetime) -> None:
        """The window rolls on."""
        while (await window.roll(self.shop.database, now=to, look_back=timedelta(0), limit=3)).more:
            pass

    def projector(self, holder: str = "test", *, graph: Any = None, sizes: Sizes | None = None) -> Projector:
        """One that writes into the graph, or into something that stands before it."""
        return Projector(self.shop.database, graph or self.graph, self.clock, holder, sizes=sizes or Sizes())

    async def project(self, holder: str = "test", sizes: Sizes | None = None) -> Stepped:
        """Project until nobody is ahead; all that was done."""
        projector, all_done = self.projector(holder, sizes=sizes), Stepped()
        while (done := await projector.step()).more:
            for name in ("users", "products", "lines", "beaten", "refused"):
                setattr(all_done, name, getattr(all_done, name) + getattr(done, name))
        assert done.next_at is None, "another one has the lease"
        return all_done

    async def sweep(self) -> int:
        """Compare all; how many the graph held otherwise than marked."""
        return (await Sweep(self.shop.database, self.graph, self.clock, page=3).round()).astray

    @property
    def rebuild(self) -> Rebuild:
        """What writes anew."""
        return Rebuild(self.shop.database, self.graph, self.clock)

    # Then -----------------------------------------------------------------------------------------------------------

    async def ask(self, cypher: str, **given: Any) -> Rows:
        """Whatever the graph says."""
        return [tuple(map(_plain, row)) for row in await self.graph.ask(cypher, **given)]

    async def edges(self) -> dict[str, Rows]:
        """All that the graph says of purchases."""
        queries = {"purchased": PURCHASED, "in": SHOPS_IN, "at": SHOPS_AT, "category": IN_CATEGORY}
        return {name: sorted(await self.ask(query), key=repr) for name, query in queries.items()}

    async def expected(self) -> dict[str, Rows]:
        """What it must say, by the answers from Postgres."""
        database = self.shop.database
        users = [row.user_id for row in await self.shop.rows("select user_id from hark.history_user")]
        bought = await answers.purchased(database, users)
        categories = await self.shop.rows(
            "select product_id, category_id, hierarchy from hark.product"
            " left join hark.product_category using (category_id) where category_id is not null"
        )
        return {
            "purchased": sorted(map(_purchase, bought), key=repr),
            "in": sorted(
                (_shops(each, each.category_id) for each in await answers.shops_in(database, users)), key=repr
            ),
            "at": sorted((_shops(each, each.store_id) for each in await answers.shops_at(database, users)), key=repr),
            "category": sorted((tuple(row) for row in categories), key=repr),
        }

    async def assert_in_step(self) -> None:
        """The graph says what the facts say, to the last edge, and nobody is ahead."""
        assert await self.edges() == await self.expected()
        assert not await self.shop.rows("select from hark.history_user where ahead_since is not null")

    async def held(self, user: str = "ann") -> int:
        """The version that the graph holds of a user."""
        ((version,),) = await self.ask("MATCH (u:User {user_id: $user}) RETURN u.facts_version", user=user)
        return int(version)

    async def marked(self, user: str = "ann") -> int:
        """The version that is marked as projected."""
        (row,) = await self.shop.rows("select projected from hark.history_user where user_id = %s", user)
        return int(row.projected)


def _purchase(each: answers.Purchase) -> tuple[Any, ...]:
    values = [getattr(each, name) for name in each.__slots__]
    return tuple(
        float(value) if name == "quantity" else value for name, value in zip(each.__slots__, values, strict=True)
    )


def _shops(each: answers.ShopsIn | answers.ShopsAt, target: str) -> tuple[Any, ...]:
    currencies: Sequence[str] = sorted(each.totals)
    totals = [each.totals[currency] for currency in currencies]
    only = totals[0] if len(totals) == 1 else None
    times = (each.first_at, each.last_at)
    return (each.user_id, target, each.purchases, float(each.quantity), list(currencies), totals, only, *times)


def _plain(value: Any) -> Any:
    return value.to_native() if hasattr(value, "to_native") else value
