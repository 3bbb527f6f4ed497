"""Products and categories are asked for once, in bulk, and what is empty overwrites nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hark.config import Settings
from hark.durations import Rate
from hark.errors import BadInput
from hark.history.facts import record_facts, record_snapshots
from hark.history.products import unasked_products
from hark.history.sandbox.faults import Kind
from hark.history.sandbox.goods import Known
from hark.history.sources.enrich import Enriched, enrich
from hark.history.sources.reach import Sources
from hark.history.tending import Tender, open_tender
from tests.history.sources.scene import SINCE, USER, Scene, bought, open_scene

QUICK = Rate(1000, timedelta(seconds=1))


@pytest.fixture
async def fresh(database: str) -> AsyncIterator[Scene]:
    """A sandbox, and a database in which nothing is known."""
    async with open_scene(database) as opened:
        yield opened


def sources(scene: Scene, **given: str) -> Sources:
    urls = given or {f"{name}_url": f"{scene.url}/" for name in ("purchase", "shop", "product", "category")}
    settings = Settings(source_rate=QUICK, **urls)  # type: ignore[arg-type]
    return Sources(settings, scene.database, scene.clock, scene.client)


async def load(scene: Scene, asked: Sources) -> None:
    """One user's whole history becomes facts."""
    every = [await asked.purchase.receipts(USER, SINCE), await asked.shop.orders(USER, SINCE)]
    async with scene.database.connection() as connection:
        now = scene.clock.now()
        await record_snapshots(connection, [each.snapshot for each in every], now=now, by=1)


async def test_what_was_bought_is_asked_for_once(fresh: Scene) -> None:
    asked = sources(fresh)
    await load(fresh, asked)
    products = {product for *_, product, _, _ in bought(fresh.goods, USER).values()}
    known = products & fresh.goods.products.keys()
    first = await enrich(fresh.database, asked, fresh.clock)
    assert first.products == len(products) <= 100
    assert first.categories == len({fresh.goods.products[each].category_id for each in known})
    assert await enrich(fresh.database, asked, fresh.clock) == Enriched(0, 0)
    assert [len(fresh.arrivals(each).every) for each in ("product", "category")] == [1, 1]
    async with fresh.database.connection() as connection:
        rows = await (
            await connection.execute(
                "select product_id, name, category_id, hierarchy from hark.product"
                " left join hark.product_category using (category_id)"
            )
        ).fetchall()
    assert {row[0]: row[1:3] for row in rows} == {
        each: (said.name, said.category_id) if (said := fresh.goods.products.get(each)) else (None, None)
        for each in products
    }
    assert all(tuple(row[3]) == fresh.goods.categories[row[2]] for row in rows if row[2])


async def test_what_is_empty_says_nothing(fresh: Scene) -> None:
    fresh.goods.products.update({"fido-x": Known("", "")})  # type: ignore[attr-defined]
    (answer,) = await sources(fresh).product.lookup(["fido-x"])
    assert (answer.name, answer.category_id) == (None, None)


async def test_what_was_not_answered_is_asked_again(fresh: Scene) -> None:
    asked = sources(fresh)
    await load(fresh, asked)
    fresh.fault(Kind.ERROR, source="product", times=1)
    assert (await enrich(fresh.database, asked, fresh.clock)).products > 0
    assert fresh.statuses("product") == [500, 200]


async def test_a_load_ends_the_same_however_often_it_is_done(fresh: Scene) -> None:
    asked = sources(fresh)
    for _ in range(2):
        await load(fresh, asked)
    async with fresh.database.connection() as connection:
        rows = await (
            await connection.execute(
                "select key, store_id, occurred_at, currency, product_id, amount_minor, quantity from hark.fact"
                " where not deleted"
            )
        ).fetchall()
        again = await record_facts(
            connection, (await asked.shop.orders(USER, SINCE)).snapshot.facts, now=fresh.clock.now(), by=None
        )
    assert {key: tuple(rest) for key, *rest in rows} == bought(fresh.goods, USER)
    assert (again.new, again.changed) == (0, 0)


def test_a_source_that_is_not_set_is_named() -> None:
    with pytest.raises(BadInput, match=r"this needs the shop source: set HARK_SHOP_URL, or shop_url in hark\.toml"):
        _ = Sources(Settings(), None, None, None).shop  # type: ignore[arg-type]


async def test_sources_that_are_not_set_are_not_asked(fresh: Scene) -> None:
    asked = sources(fresh, purchase_url=fresh.url, shop_url=fresh.url)
    await load(fresh, asked)
    assert await enrich(fresh.database, asked, fresh.clock) == Enriched(0, 0)


async def test_a_worker_asks_by_itself_and_waits_when_told_to(fresh: Scene) -> None:
    asked = sources(fresh)
    await load(fresh, asked)
    tender = Tender(fresh.database, fresh.clock, sources=asked)
    fresh.fault(Kind.TOO_MANY, source="product", retry_after="3600")
    waits = await tender.chunks()["enrich"]()
    assert waits.next_at is not None
    assert waits.next_at - fresh.clock.now() > timedelta(minutes=50)
    came = len(fresh.arrivals("product").every)
    assert (await tender.enrich()).next_at == waits.next_at
    assert len(fresh.arrivals("product").every) == came


async def test_a_worker_asks_until_nothing_is_left(fresh: Scene) -> None:
    asked = sources(fresh)
    await load(fresh, asked)
    tender = Tender(fresh.database, fresh.clock, sources=asked)
    while (await tender.enrich()).more:
        pass
    assert await unasked_products(fresh.database, 1) == []
    async with open_tender(fresh.database, Settings(), fresh.clock, "test") as alone:
        assert "enrich" not in alone.chunks()
    async with open_tender(fresh.database, Settings(category_url=fresh.url), fresh.clock, "test") as asking:
        assert "enrich" in asking.chunks()
