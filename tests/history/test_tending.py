"""A worker keeps the graph up to date by itself: the window, what is learnt, what is restored."""

from __future__ import annotations

from datetime import timedelta

from hark.history.products import ProductAnswer, put_products
from hark.history.projection import Sweep
from hark.history.tending import Graphed, Tender
from tests.history.projection_world import Projected
from tests.history.shopping import NOW, Shop, line

A_DAY = timedelta(days=1)


def tender(projected: Projected, holder: str = "one") -> Tender:
    database, graph, clock = projected.shop.database, projected.graph, projected.clock
    graphed = Graphed(projected.projector(holder), Sweep(database, graph, clock, page=1))
    return Tender(database, clock, A_DAY, graphed)


async def tended(each: Tender) -> None:
    """All its chunks, until none has more at once."""
    while any([(await chunk()).more for chunk in each.chunks().values()]):
        pass


async def test_days_go_by_and_products_become_known(projected: Projected) -> None:
    one = tender(projected)
    await projected.bought(line("old", at=NOW - A_DAY), line("new", at=NOW + A_DAY), line("x", user="bob"))
    await tended(one)
    await projected.assert_in_step()
    await put_products(projected.shop.database, [ProductAnswer("milk", "Milk", "dairy")], now=NOW)
    projected.clock.advance(timedelta(days=2))
    await tended(one)
    await projected.assert_in_step()
    assert [row[1] for row in (await projected.edges())["purchased"]] == ["receipt:new:1"]


async def test_an_emptied_graph_heals_page_by_page(projected: Projected) -> None:
    one = tender(projected)
    await projected.bought(line("r1"), line("x", user="bob"))
    await tended(one)
    await projected.ask("MATCH (n) DETACH DELETE n")
    for _ in range(8):
        projected.clock.advance(timedelta(seconds=11))
        await tended(one)
    await projected.assert_in_step()


async def test_only_who_projects_compares(projected: Projected) -> None:
    one, two = tender(projected, "one"), tender(projected, "two")
    assert not (await one.project()).more
    await projected.bought(line("r1"))
    assert (await two.project()).next_at is not None
    assert (await two.compare()).next_at is None
    assert (await one.compare()).next_at is not None


async def test_without_a_graph_only_the_facts_are_tended(shop: Shop, projected: Projected) -> None:
    alone = Tender(shop.database, projected.clock)
    assert set(alone.chunks()) == {"window", "spread"}
    await tended(alone)
