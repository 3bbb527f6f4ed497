"""How far users are, and how far the graph: marks are guarded."""

from __future__ import annotations

from datetime import timedelta

from hark.history.people import Lost, Mark, ahead, lower, mark
from tests.history.shopping import NOW, Shop, line

LATER = NOW + timedelta(minutes=1)


async def ids(shop: Shop) -> list[str]:
    return [each.user_id for each in await ahead(shop.database, 10)]


async def test_those_who_are_ahead_longest_come_first(shop: Shop) -> None:
    await shop.record(line("1", user="bob"), now=NOW)
    await shop.record(line("2", user="ann"), now=LATER)
    await shop.record(line("3", user="bob"), now=LATER)
    assert await ids(shop) == ["bob", "ann"]
    (bob, _) = await ahead(shop.database, 10)
    assert (bob.version, bob.projected, bob.ahead_since, bob.changed_at) == (2, -1, NOW, LATER)


async def test_a_mark_takes_a_user_off_the_list_and_counts_once(shop: Shop) -> None:
    await shop.record(line("1"))
    assert await mark(shop.database, [Mark("ann", 1)]) == 1
    assert await mark(shop.database, [Mark("ann", 1)]) == 0
    assert await ids(shop) == []


async def test_a_user_who_moved_on_meanwhile_stays_ahead_since_then(shop: Shop) -> None:
    await shop.record(line("1"), now=NOW)
    await shop.record(line("2"), now=LATER)
    await mark(shop.database, [Mark("ann", 1)])
    (ann,) = await ahead(shop.database, 10)
    assert (ann.version, ann.projected, ann.ahead_since) == (2, 1, LATER)


async def test_a_late_mark_lowers_nothing_and_none_runs_ahead_of_the_facts(shop: Shop) -> None:
    await shop.record(line("1"))
    await shop.record(line("2"))
    assert await mark(shop.database, [Mark("ann", 2)]) == 1
    assert await mark(shop.database, [Mark("ann", 1)]) == 0
    assert await mark(shop.database, [Mark("ann", 3)]) == 0
    assert await ids(shop) == []


async def test_what_the_graph_lost_is_to_be_projected_again(shop: Shop) -> None:
    await shop.record(line("1"))
    await mark(shop.database, [Mark("ann", 1)])
    assert await lower(shop.database, [Lost("ann", marked=1, held=-1)], now=LATER) == 1
    (ann,) = await ahead(shop.database, 10)
    assert (ann.projected, ann.ahead_since) == (-1, LATER)


async def test_a_comparison_that_is_out_of_date_lowers_nothing(shop: Shop) -> None:
    await shop.record(line("1"))
    await shop.record(line("2"))
    await mark(shop.database, [Mark("ann", 1)])
    await mark(shop.database, [Mark("ann", 2)])
    assert await lower(shop.database, [Lost("ann", marked=1, held=0)], now=LATER) == 0
    assert await ids(shop) == []
