"""The column that says by which transaction a row came, as the how-tos have it: added late, and after a restore."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from hark.digests import CoverageLost, coverage
from tests.digests.forum import FRONT_PAGE_SQL, TUESDAY, front_page, hand_over, keys_sent, morning, open_forum, post
from tests.world import NEWS, World

DAY = timedelta(days=1)
HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
COLUMNS = {"digests.md": ("forum.post", "committed"), "feeds.md": ("shop.post", "xid")}


def of_the_page(page: str, start: str) -> str:
    """A statement of a how-to, about the posts of the tests."""
    table, _ = COLUMNS[page]
    (statement,) = re.findall(rf"{start} {table}[^;]*;", (HOW_TO / page).read_text(encoding="utf-8"))
    return str(statement).replace(table, "public.post")


@pytest.mark.parametrize("page", COLUMNS)
async def test_where_it_is_added_later_what_there_is_is_old(world: World, page: str) -> None:
    await world.execute(
        "create table public.post (key text, author text, audience text, score float8, posted_at timestamptz)"
    )
    await world.execute(
        "insert into public.post select 'old' || n, 'alice', null, n, now() from generate_series(1, 20) n"
    )
    await world.install(NEWS)
    await world.know("ada")
    await world.plan()
    await world.execute(of_the_page(page, "alter table"))
    sql = FRONT_PAGE_SQL.replace("p.committed", f"p.{COLUMNS[page][1]}")
    await world.install(NEWS, front_page(sql=sql))
    await post(world, "new")
    await morning(world, TUESDAY)
    await hand_over(world)
    assert await keys_sent(world, "ada") == ["new"]


async def test_after_a_restore_nothing_is_told_twice_and_what_is_new_is_told(world: World) -> None:
    await open_forum(world)
    await world.know("ada")
    await world.plan()
    await post(world, "a")
    await post(world, "b")
    await morning(world, TUESDAY)
    await hand_over(world)
    # As they come from a server that had counted further than this one.
    await world.execute("update public.post set committed = '999999'")
    await world.execute(
        "update hark.moment set snapshot = '999999:999999:' where at = (select max(at) from hark.moment)"
    )
    world.clock.move_to(TUESDAY + timedelta(hours=1))
    with pytest.raises(CoverageLost):
        await world.plan()

    await coverage.rebase(world.database, world.clock.now())
    await world.execute(of_the_page("digests.md", "update"))
    await post(world, "c")
    for day in range(1, 3):
        await morning(world, TUESDAY + day * DAY)
        await hand_over(world)
    assert await keys_sent(world, "ada") == ["a", "b", "c"]
    assert [fault async for fault in coverage.faults(world.database, world.clock.now())] == []


def test_there_is_one_recipe_for_it() -> None:
    assert "(digests.md#after-restoring-a-dump)" in (HOW_TO / "feeds.md").read_text(encoding="utf-8")
    assert not any("drop and add" in page.read_text(encoding="utf-8") for page in HOW_TO.glob("*.md"))
