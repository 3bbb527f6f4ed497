"""What the graph answers, from Postgres."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hark.history.answers import ShopsAt, ShopsIn, purchased, shops_at, shops_in
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products
from tests.history.shopping import NOW, Shop, line, order

EARLIER = NOW - timedelta(days=3)


async def stocked(shop: Shop) -> None:
    answers = [ProductAnswer("milk", "Whole milk", "dairy"), ProductAnswer("butter", "Butter", "dairy")]
    await put_products(shop.database, answers, now=NOW)
    await put_categories(shop.database, [CategoryAnswer("dairy", ["food", "dairy"])], now=NOW)


async def test_a_purchase_tells_what_is_known_of_its_product(shop: Shop) -> None:
    await stocked(shop)
    await shop.record(line("9:b", 2), order("7"), line("8", deleted=True))
    told = await purchased(shop.database, ["ann"])
    assert [(p.key, p.receipt_id, p.product_name, p.category_id, p.category_hierarchy) for p in told] == [
        ("order:7", None, None, None, None),
        ("receipt:9:b:2", "9:b", "Whole milk", "dairy", ["food", "dairy"]),
    ]


async def test_a_category_sums_up_what_was_bought_in_it_by_currency(shop: Shop) -> None:
    await stocked(shop)
    await shop.record(
        line("1", amount=100, quantity="1.5", at=EARLIER),
        line("2", amount=50, product="butter"),
        line("3", amount=70, currency="USD"),
        line("4", amount=None, currency=None),
        line("5", product="tea"),
        line("6", user="bob", amount=1),
    )
    assert await shops_in(shop.database, ["ann"]) == [
        ShopsIn("ann", "dairy", ["food", "dairy"], 4, Decimal("4.5"), {"EUR": 150, "USD": 70}, EARLIER, NOW)
    ]


async def test_a_store_sums_up_what_was_bought_at_it(shop: Shop) -> None:
    await shop.record(
        line("1", amount=100), line("2", store="south", amount=7, at=EARLIER), line("3", amount=-20), order("4")
    )
    assert await shops_at(shop.database, ["ann", "bob"]) == [
        ShopsAt("ann", "north", 2, Decimal(2), {"EUR": 80}, NOW, NOW),
        ShopsAt("ann", "south", 1, Decimal(1), {"EUR": 7}, EARLIER, EARLIER),
    ]
