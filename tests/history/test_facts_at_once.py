"""Two writers at the same moment, on connections of their own: none waits for ever, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from psycopg import AsyncConnection

from hark.clock import VirtualClock
from hark.history.facts import Fact, Recorded, record_facts, undo_facts
from hark.history.products import CategoryAnswer, ProductAnswer, put_categories, put_products
from hark.history.projection import changes, sweep
from hark.history.projection.graph import Graph
from hark.history.projection.rebuild import Marked, Rebuild
from tests.history.shopping import NOW, Shop, line


async def record(connection: AsyncConnection[Any], *facts: Fact, by: int | None = None) -> Recorded:
    return await record_facts(connection, facts, now=NOW, by=by)


@asynccontextmanager
async def held_open(shop: Shop, *facts: Fact) -> AsyncIterator[AsyncConnection[Any]]:
    """A writer who has recorded and not committed; at the end of the block it commits."""
    async with shop.database.transaction() as connection:
        await record(connection, *facts)
        yield connection


async def is_waiting(shop: Shop, writer: asyncio.Task[Any]) -> None:
    """Until a writer waits for a lock; that it is done instead is a failure."""
    while not await shop.rows(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    ):
        assert not writer.done(), "it should have waited"
        await asyncio.sleep(0.01)


def begun(shop: Shop, *facts: Fact, by: int | None = None) -> asyncio.Task[Recorded]:
    return asyncio.create_task(shop.record(*facts, by=by))


async def test_two_writers_of_one_user_follow_one_another(shop: Shop) -> None:
    await shop.record(line("0"))
    async with held_open(shop, line("1")):
        second = begun(shop, line("2"))
        await is_waiting(shop, second)
    assert [moved.version for moved in (await second).moved] == [3]
    assert await shop.alive() == {"receipt:0:1": 1, "receipt:1:1": 1, "receipt:2:1": 1}


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
async def test_the_higher_version_holds_whoever_comes_first(shop: Shop, first: int, second: int) -> None:
    async with held_open(shop, line("1", version=first)):
        other = begun(shop, line("1", version=second))
        await is_waiting(shop, other)
    await other
    assert await shop.alive() == {"receipt:1:1": 2}
    assert await shop.version() == max(second, 1)


@pytest.mark.parametrize("who", ["mark_users", "agree_users"])
async def test_a_projector_takes_users_in_the_order_in_which_writers_do(shop: Shop, who: str) -> None:
    """Else the two could wait for each other: here the writer holds the first, and the last must still be free."""
    names = [f"u{number:02}" for number in reversed(range(30))]
    for name in names:  # the last id lies first in the table
        await shop.record(line(name, user=name))
    async with shop.database.connection() as connection:
        await connection.execute("analyze hark.history_user")
    query = (changes if who == "mark_users" else sweep)._SQL[who]
    ids = ["u02", "u17", "u29"]
    given = {"ids": ids, "marked": [-1] * 3, "versions": [1] * 3, "held": [1] * 3, "now": NOW}
    locked = "select from hark.history_user where user_id = %s for no key update nowait"
    async with shop.database.transaction() as writer:
        await writer.execute(locked, [ids[0]])
        marking = asyncio.create_task(shop.database.execute(query, given))
        await is_waiting(shop, marking)
        await writer.execute(locked, [ids[-1]])
    assert await marking == 3


PRODUCTS = [f"p{number:02}" for number in reversed(range(30))]


@pytest.mark.parametrize("who", ["mark_products", "overtake_products", "agree_products", "anew", "of one", "hierarchy"])
async def test_all_take_products_in_one_order(shop: Shop, who: str) -> None:
    """Here somebody holds the third, and the last must still be free; and the user, whom others take after products."""
    for name in PRODUCTS:  # the last id lies first in the table
        await shop.record(line(name, product=name))
        await put_products(shop.database, [ProductAnswer(name, None, "food")], now=NOW)
    async with shop.database.connection() as connection:
        await connection.execute("analyze hark.product")
    locked = "select from hark.product where product_id = %s for no key update nowait"
    async with shop.database.transaction() as writer:
        await writer.execute(locked, ["p02"])
        taking = asyncio.create_task(taken(shop, who))
        await is_waiting(shop, taking)
        await writer.execute(locked, ["p29"])
        await writer.execute("select from hark.history_user where user_id = 'ann' for no key update nowait")
    await taking


async def taken(shop: Shop, who: str) -> None:
    rebuild = Rebuild(shop.database, cast(Graph, None), VirtualClock(NOW))
    if who == "anew":
        assert (await rebuild.everything()).products == 30
    elif who == "of one":
        assert await rebuild.user("ann") == Marked(1, 30, mark=-2)
    elif who == "hierarchy":
        assert await put_categories(shop.database, [CategoryAnswer("food", ["food"])], now=NOW) == 30
    else:
        given = {"ids": ["p02", "p17", "p29"], "marked": [-1] * 3, "versions": [9] * 3, "held": [0] * 3, "now": NOW}
        query = (sweep if who == "agree_products" else changes)._SQL[who]
        given |= {"versions": [1] * 3} if who == "mark_products" else {}
        assert await shop.database.execute(query, given) == 3


async def test_a_key_that_two_users_claim_at_once_is_the_first_ones(shop: Shop) -> None:
    async with held_open(shop, line("1", user="ann")):
        second = begun(shop, line("1", user="bob"), line("2", user="bob"))
        await is_waiting(shop, second)
    assert ((await second).new, (await second).refused) == (1, 1)
    assert await shop.alive("bob") == {"receipt:2:1": 1}


async def test_a_key_whose_first_claim_is_rolled_back_is_the_second_ones(shop: Shop) -> None:
    class Changed(Exception):
        pass

    with pytest.raises(Changed):
        async with held_open(shop, line("1", user="ann")):
            second = begun(shop, line("1", user="bob"))
            await is_waiting(shop, second)
            raise Changed
    assert (await second).new == 1
    assert await shop.alive("bob") == {"receipt:1:1": 1}


async def test_a_load_waits_for_the_live_stream_and_sees_what_it_brought(shop: Shop) -> None:
    async with held_open(shop, line("1", version=3)):
        load = asyncio.create_task(shop.load(version=10))
        await is_waiting(shop, load)
    assert (await load).gone == 1
    assert await shop.alive() == {}


async def test_an_undo_waits_for_the_live_stream_and_leaves_what_it_touched(shop: Shop) -> None:
    await shop.record(line("1"), line("2"), by=7)
    async with held_open(shop, line("1")):
        undo = asyncio.create_task(shop.undo(7, "ann"))
        await is_waiting(shop, undo)
    assert (await undo).taken == 1
    assert await shop.alive() == {"receipt:1:1": 1}


async def test_writers_of_the_same_users_in_any_order_never_stand_in_each_others_way(shop: Shop) -> None:
    users, rounds = [f"u{n}" for n in range(8)], 12
    numbers = random.Random(7)

    async def write(writer: int) -> None:
        async with shop.database.connection() as connection:
            for number in range(rounds):
                mixed = numbers.sample(users, len(users))
                await record(connection, *(line(f"{user}-{writer}-{number}", user=user) for user in mixed))
                await undo_facts(connection, mixed, run=writer, now=NOW)

    await all_of(write(writer) for writer in range(3))
    assert {user: await shop.version(user) for user in users} == dict.fromkeys(users, 3 * rounds)
    rows = await shop.rows("select user_id, count(distinct moved_at) as moves from hark.fact group by user_id")
    assert {row.user_id: row.moves for row in rows} == dict.fromkeys(users, 3 * rounds)


async def test_writers_who_claim_each_others_keys_never_stand_in_each_others_way(shop: Shop) -> None:
    numbers = random.Random(11)
    keys = [str(number) for number in range(60)]

    async def write(user: str) -> None:
        for _ in range(3):
            await shop.record(*(line(key, user=user) for key in numbers.sample(keys, len(keys))))

    await all_of(write(user) for user in ("ann", "bob", "cid"))
    rows = await shop.rows("select user_id from hark.fact")
    refused = await shop.rows("select user_id from hark.fact_refused")
    assert (len(rows), len(refused)) == (len(keys), 2 * len(keys))


async def all_of(work: Any) -> None:
    awaited: list[Awaitable[None]] = list(work)
    await asyncio.gather(*awaited)


@pytest.mark.parametrize("is_there", [True, False])
async def test_an_empty_answer_that_waited_for_another_one_does_not_overwrite_it(shop: Shop, is_there: bool) -> None:
    """Two workers may ask for the same at once, and one of them be told nothing."""
    if is_there:
        await shop.record(line("1"))
        await put_products(shop.database, [ProductAnswer("milk", None, "dairy")], now=NOW)
    async with shop.database.as_one() as first:
        await put_products(first, [ProductAnswer("milk", "Whole milk", "dairy")], now=NOW)
        second = asyncio.create_task(put_products(shop.database, [ProductAnswer("milk")], now=NOW))
        await is_waiting(shop, second)
    await second
    async with shop.database.as_one() as first:
        await put_categories(first, [CategoryAnswer("dairy", ["food", "dairy"])], now=NOW)
        second = asyncio.create_task(put_categories(shop.database, [CategoryAnswer("dairy")], now=NOW))
        await is_waiting(shop, second)
    assert await second == 0
    (product,) = await shop.rows("select name, category_id from hark.product")
    (category,) = await shop.rows("select hierarchy from hark.product_category")
    assert (*product, category.hierarchy) == ("Whole milk", "dairy", ["food", "dairy"])


async def test_a_category_that_is_not_known_yet_keeps_the_answer_that_came_first(shop: Shop) -> None:
    async with shop.database.as_one() as first:
        await put_categories(first, [CategoryAnswer("dairy", ["food", "dairy"])], now=NOW)
        second = asyncio.create_task(put_categories(shop.database, [CategoryAnswer("dairy")], now=NOW))
        await is_waiting(shop, second)
    await second
    (category,) = await shop.rows("select hierarchy, asked_times from hark.product_category")
    assert (category.hierarchy, category.asked_times) == (["food", "dairy"], 2)


async def test_a_product_that_comes_into_a_category_while_its_hierarchy_is_learnt_is_moved_on_with_the_others(
    shop: Shop,
) -> None:
    """Whoever read the product before the hierarchy was there must be told to read it again."""

    async def seen() -> Any:
        joined = "hark.product left join hark.product_category using (category_id)"
        (tea,) = await shop.rows(f"select version, hierarchy from {joined} where product_id = 'tea'")
        return tea

    async def come() -> Any:
        await put_products(shop.database, [ProductAnswer("tea", "Tea", "food")], now=NOW)
        return await seen()

    await shop.record(line("1"), line("2", product="tea"))
    await put_products(shop.database, [ProductAnswer("milk", "Milk", "food")], now=NOW)
    async with shop.database.transaction() as writer:
        await writer.execute("select from hark.product where product_id = 'milk' for no key update")
        learning = asyncio.create_task(put_categories(shop.database, [CategoryAnswer("food", ["food"])], now=NOW))
        await is_waiting(shop, learning)
        coming = asyncio.create_task(come())
        await are_waiting_or_done(shop, learning, coming)
    await learning
    first, then = await coming, await seen()
    assert then.hierarchy == ["food"]
    assert first == then or then.version > first.version


async def are_waiting_or_done(shop: Shop, *writers: asyncio.Task[Any]) -> None:
    """Until each of some writers is done, or waits for a lock."""
    waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    while True:
        under_way = [writer for writer in writers if not writer.done()]
        if len(await shop.rows(waiting)) >= len(under_way):
            return
        await asyncio.sleep(0.01)
