"""A real file, part of it live and part of it loaded, mixed up, again, corrected: the answers are its fold."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pytest

from hark.history.facts import Fact, Kind, Snapshot
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products, spread
from tests.history.groceries import SINCE, Receipt, Sum, category_of, corrected, read, stands, summed
from tests.history.shopping import NOW, Shop
from tests.servers import data_file

RUN = 1
T = TypeVar("T")


def slices(all_of_them: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(all_of_them), size):
        yield all_of_them[begin : begin + size]


async def stream(shop: Shop, receipts: Sequence[Receipt]) -> None:
    for some in slices(receipts, 500):
        await shop.record(*(fact for receipt in some for fact in receipt.facts()))


async def load(shop: Shop, users: Sequence[str], news: Sequence[Receipt]) -> None:
    listed: dict[str, list[Fact]] = defaultdict(list)
    for receipt in stands(news).values():
        if receipt.items:
            listed[receipt.user] += receipt.facts()
    for some in slices(users, 200):
        await shop.load_all(*(Snapshot(user, Kind.RECEIPT, SINCE, len(news), listed[user]) for user in some), by=RUN)


async def enrich(shop: Shop, items: Sequence[str]) -> None:
    await put_products(shop.database, [ProductAnswer(item, item.title(), category_of(item)) for item in items], now=NOW)
    found = {category for item in items if (category := category_of(item))}
    await put_categories(shop.database, [CategoryAnswer(each, ["all", each]) for each in sorted(found)], now=NOW)
    while (await spread(shop.database, now=NOW, limit=5000)).more:
        pass


async def sums(shop: Shop, view: str, key: str) -> dict[Any, Sum]:
    rows = await shop.rows(f"select * from hark.{view}")
    return {
        (row.user_id, getattr(row, key)): Sum(row.purchases, row.totals["EUR"], row.first_at, row.last_at)
        for row in rows
    }


@pytest.mark.data
@pytest.mark.slow
async def test_the_answers_are_the_fold_of_the_file(shop: Shop) -> None:
    numbers = random.Random(3)
    news = corrected(read(data_file("groceries.csv")), numbers)
    users = sorted({receipt.user for receipt in news})
    loaded = users[::2]
    live = [each for each in news if each.user not in set(loaded) or numbers.random() < 0.4]
    again = live + numbers.sample(live, len(live) // 5)
    numbers.shuffle(again)
    items = sorted({item for receipt in news for item in receipt.items})

    await enrich(shop, items[::2])
    await stream(shop, again[: len(again) // 2])
    await load(shop, loaded, news)
    await stream(shop, again[len(again) // 2 :])
    await enrich(shop, items[1::2])
    await load(shop, loaded[:500], news)

    stores, categories, products = summed(news)
    assert await sums(shop, "shops_at", "store_id") == stores
    assert await sums(shop, "shops_in", "category_id") == categories
    bought = await shop.rows("select user_id, product_id, count(*) as times from hark.purchased group by 1, 2")
    assert Counter({(row.user_id, row.product_id): row.times for row in bought}) == products

    for some in slices(users, 1000):
        await shop.undo(RUN, *some)
    heard = {receipt.number for receipt in live}
    left = await shop.rows("select distinct receipt_id from hark.purchased")
    assert {row.receipt_id for row in left} <= heard
