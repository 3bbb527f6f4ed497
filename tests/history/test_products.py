"""Products are asked for once, and what is known of them is never forgotten."""

from __future__ import annotations

from hark.history.answers import shops_in
from hark.history.products import (
    CategoryAnswer,
    ProductAnswer,
    put_categories,
    put_products,
    spread,
    unasked_categories,
    unasked_products,
)
from tests.history.shopping import NOW, Shop, line

MILK = ProductAnswer("milk", "Whole milk", "dairy")


async def put(shop: Shop, *answers: ProductAnswer) -> int:
    return await put_products(shop.database, answers, now=NOW)


async def spread_all(shop: Shop, limit: int = 10) -> int:
    moved = 0
    while (step := await spread(shop.database, now=NOW, limit=limit)).more:
        moved += step.moved
    return moved


async def known(shop: Shop) -> list[tuple[object, ...]]:
    rows = await shop.rows("select product_id, name, category_id, version from hark.product order by product_id")
    return [tuple(row) for row in rows]


async def test_a_product_is_to_be_asked_for_until_there_is_an_answer_even_an_empty_one(shop: Shop) -> None:
    await shop.record(line("1"), line("2", product="tea"), line("3", product="tea"))
    assert await unasked_products(shop.database, 10) == ["milk", "tea"]
    await put(shop, MILK, ProductAnswer("tea"))
    await shop.record(line("4", product="tea"))
    assert await unasked_products(shop.database, 10) == []
    assert await unasked_categories(shop.database, 10) == ["dairy"]
    await put_categories(shop.database, [CategoryAnswer("dairy", ["food", "dairy"])], now=NOW)
    assert await unasked_categories(shop.database, 10) == []


async def test_an_empty_value_never_overwrites(shop: Shop) -> None:
    await put(shop, MILK)
    assert await put(shop, ProductAnswer("milk", "", None), ProductAnswer("milk", None, "")) == 0
    assert await known(shop) == [("milk", "Whole milk", "dairy", 1)]
    for hierarchy in (["food", "dairy"], []):
        await put_categories(shop.database, [CategoryAnswer("dairy", hierarchy)], now=NOW)
    (row,) = await shop.rows("select hierarchy, asked_times from hark.product_category")
    assert (row.hierarchy, row.asked_times) == (["food", "dairy"], 2)


async def test_a_product_moves_on_when_it_is_known_otherwise_and_only_then(shop: Shop) -> None:
    assert await put(shop, MILK) == 1
    assert await put(shop, MILK) == 0
    assert await put(shop, ProductAnswer("milk", "Milk")) == 1
    for _ in range(2):
        await put_categories(shop.database, [CategoryAnswer("dairy", ["food", "dairy"])], now=NOW)
    assert await known(shop) == [("milk", "Milk", "dairy", 3)]


async def test_buyers_are_moved_on_when_their_product_comes_into_another_category(shop: Shop) -> None:
    await shop.record(*(line(str(n), user=f"u{n}") for n in range(5)), line("9", user="bob", product="tea"))
    await put(shop, MILK)
    assert await spread_all(shop, limit=2) == 5
    assert [await shop.version(user) for user in ("u0", "u4", "bob")] == [2, 2, 1]
    rows = await shop.rows("select moved_at from hark.fact where product_id = 'milk'")
    assert {row.moved_at for row in rows} == {2}
    (answer,) = await shops_in(shop.database, ["u3"])
    assert (answer.category_id, answer.purchases) == ("dairy", 1)


async def test_another_name_moves_no_buyer(shop: Shop) -> None:
    await shop.record(line("1"))
    await put(shop, MILK)
    await spread_all(shop)
    await put(shop, ProductAnswer("milk", "Milk", "dairy"))
    assert await spread_all(shop) == 0


async def test_a_category_that_changes_while_it_is_spread_is_spread_anew(shop: Shop) -> None:
    await shop.record(*(line(str(n), user=f"u{n}") for n in range(4)))
    await put(shop, MILK)
    await spread(shop.database, now=NOW, limit=2)
    await put(shop, ProductAnswer("milk", None, "drinks"))
    assert await spread_all(shop, limit=2) == 4
    assert [await shop.version(user) for user in ("u0", "u3")] == [3, 2]
