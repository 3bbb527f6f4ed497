"""kill -9 of a planner in the middle of a chunk: the chunk never happened, and another planner goes on where it was."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.digests.forum import FRONT_PAGE_SQL, TUESDAY, front_page, open_forum, post
from tests.servers import eventually, spawn
from tests.world import World, students

pytestmark = pytest.mark.chaos

PEOPLE = 25
STALLING_SQL = f"""{FRONT_PAGE_SQL}
   and (due.recipient_id <> 's013' or not exists (select from public.stall) or pg_sleep(3) is not null)"""
CHILD = """
import asyncio, sys
from datetime import datetime
from hark.clock import VirtualClock
from hark.digests import Planner
from hark.postgres.database import open_database
from tests.chaos.test_kill_planner import STALLING_SQL
from tests.digests.forum import front_page
from tests.world import catalogue

async def main():
    async with open_database(sys.argv[1], size=1) as database:
        clock = VirtualClock(datetime.fromisoformat(sys.argv[2]))
        planner = Planner(database, clock, catalogue(front_page(sql=STALLING_SQL)), chunk=5)
        while (await planner.step()).more:
            pass

asyncio.run(main())
"""


async def test_killed_in_the_middle_of_a_chunk(world: World) -> None:
    await open_forum(world, front_page(sql=STALLING_SQL))
    await world.execute("create table public.stall as select true as here")
    await world.know(*students(PEOPLE))
    await world.plan()
    await post(world, "a")
    with spawn(CHILD, world.dsn, TUESDAY.isoformat()) as victim:
        eventually(lambda: _stalls(world.dsn), "the third chunk stalls")
        victim.kill()
    (walk,) = await world.rows("select reached, planned from hark.walk where planned > 0")
    assert (walk.reached, walk.planned) == ("s009", 10), "two chunks are done, the third never happened"
    await world.execute("drop table public.stall")
    await world.install(front_page())
    world.clock.move_to(TUESDAY + timedelta(minutes=2))
    await world.plan(chunk=5)
    (row,) = await world.rows("select count(*) as all, count(distinct recipient_id) as people from hark.digest")
    assert (row.all, row.people) == (PEOPLE, PEOPLE)
    assert {delivery.items for delivery in await world.deliveries()} == {1}


def _stalls(dsn: str) -> bool:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        ).fetchone()
    return row is not None
