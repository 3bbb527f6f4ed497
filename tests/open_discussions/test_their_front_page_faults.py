"""Known faults of Open Discussions' front pages: each of these tests would fail there.

Their code is described in words, as of June 2023; it stands in `notifications/` of mitodl/open-discussions.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from hark.catalogue import Frequency
from tests.digests.forum import (
    FRONT_PAGE_SQL,
    MORNING,
    TUESDAY,
    front_page,
    hand_over,
    keys_sent,
    morning,
    open_forum,
    post,
    writer,
)
from tests.world import World, students

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.mark.parametrize("outcome", ["canceled", "refused"])
async def test_what_a_front_page_held_that_did_not_go_out_is_in_the_next(world: World, outcome: str) -> None:
    """Theirs: `frontpage._posts_since_notification` takes what was created after the newest EmailNotification, and
    `BaseNotifier._get_most_recent_notification` takes that whatever became of it: what a canceled or failed one would
    have said is behind the watermark, and in no mail. Ours: what was not sent covers nothing.
    """
    await open_forum(world)
    await world.know("bob")
    await world.plan()
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world, outcome)
    await post(world, "b")
    await morning(world, TUESDAY + DAY)
    await hand_over(world)
    assert Counter(await keys_sent(world, "bob")) == Counter(["a", "b"])


async def test_what_is_backdated_or_committed_late_is_in_a_front_page(world: World) -> None:
    """Theirs compares the time at which a post was created (of an episode, modified) with the time at which the last
    EmailNotification was: what is published later than it is dated, or committed while a front page was made, is never
    in any. Ours: the order of commits decides.
    """
    await open_forum(world)
    await world.know("bob")
    await world.plan()
    with writer(world) as late:
        late.execute("insert into public.post (key, posted_at) values ('late', %s)", [world.clock.now()])
        await post(world, "in time")
        await morning(world, TUESDAY)
        await hand_over(world)
    await post(world, "backdated", at=MORNING - 30 * DAY)
    await morning(world, TUESDAY + DAY)
    await hand_over(world)
    await morning(world, TUESDAY + 2 * DAY)
    assert Counter(await keys_sent(world, "bob")) == Counter(["in time", "late", "backdated"])


async def test_a_weekly_front_page_that_slipped_past_midnight_comes_on_time_next_week(world: World) -> None:
    """Theirs: `BaseNotifier.can_notify` counts whole UTC days since the last EmailNotification was created. A weekly
    run that was late by some hours and slipped past midnight makes the next one, on time, come after six: it sends
    nothing, and the week is lost. Ours: a morning is the calendar's, whenever the one before was planned.
    """
    await open_forum(world, front_page(frequency=Frequency.WEEKLY))
    await world.know("bob")
    await world.plan()
    monday = datetime(2026, 3, 9, 8, tzinfo=UTC)
    await post(world, "a")
    world.clock.move_to(monday + 17 * HOUR)  # no planner and no worker ran until Tuesday, 01:00
    await world.drain()
    await post(world, "b")
    await world.run_until(monday + 8 * DAY)
    assert [mail.at for mail in world.recorder.accepted] == [monday + 17 * HOUR, monday + 7 * DAY]
    assert await keys_sent(world, "bob") == ["a", "b"]


async def test_the_front_pages_of_many_take_no_more_statements_than_that_of_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs: for each settings row, `api.attempt_send_notification_batch` reads the user and their last notification
    and asks Reddit for their front page (`frontpage._posts_since_notification`), and sending asks for it all once more.
    Ours: a chunk is one statement with the feed's query inside of it, whoever many are due.
    """
    await open_forum(world)
    await world.know("bob")
    await world.plan()
    counted = [await statements_of_a_morning(world, TUESDAY, monkeypatch)]
    for number, people in enumerate((30, 400), start=1):
        await world.know(*students(people))
        counted.append(await statements_of_a_morning(world, TUESDAY + number * DAY, monkeypatch))
    assert counted == [(1, counted[0][1]), (31, counted[0][1]), (401, counted[0][1])]
    assert counted[0][1] > 0


async def test_a_feeds_query_runs_once_for_all_who_are_due(world: World) -> None:
    """The same from the product's side: how often its query is run."""
    counting = "create sequence public.runs; create function public.run() returns int language sql as $$"
    await world.execute(f"{counting} select nextval('public.runs')::int $$")
    once = f"with run as materialized (select public.run() as n) select front.* from ({FRONT_PAGE_SQL}\n) front, run"
    await open_forum(world, front_page(sql=once))
    await world.know(*students(50))
    await world.plan()
    await post(world, "a")
    await morning(world, TUESDAY)
    (row,) = await world.rows(
        "select count(*) as digests, (select last_value from public.runs) as runs from hark.digest"
    )
    assert (row.digests, row.runs) == (50, 1)


async def statements_of_a_morning(world: World, at: datetime, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many front pages a morning came to, and with how many statements."""
    await post(world, f"of {at:%A}")
    world.clock.move_to(at)
    planner, executed, execute = world.planner(), 0, psycopg.AsyncCursor.execute

    async def counting(self: Any, *args: Any, **given: Any) -> Any:
        nonlocal executed
        executed += 1
        return await execute(self, *args, **given)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.AsyncCursor, "execute", counting)
        planned = 0
        while (step := await planner.step()).more:
            planned += step.planned
    await hand_over(world)
    return planned, executed
