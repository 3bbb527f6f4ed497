"""Digests as their readers and their product meet them: only with news, once, in one message, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from hark import audience, preferences
from hark.catalogue import Calendar, Channel, Feed, Frequency
from hark.clock import VirtualClock
from hark.digests import CoverageLost, Planner
from hark.digests.narrowing import smaller
from hark.digests.planning import FEW
from hark.digests.walks import MOST_PASSED_OVER
from hark.errors import BadInput, SourceFailed
from hark.feeds import Asking, Due, FeedItem
from hark.postgres.database import open_database
from tests.digests.forum import (
    BY_TIME_SQL,
    FRONT_PAGE_SQL,
    MORNING,
    TUESDAY,
    by_asking,
    digests,
    front_page,
    hand_over,
    keys_sent,
    morning,
    open_forum,
    post,
    writer,
)
from tests.servers import Postgres
from tests.world import NEWS, World, open_world, student, students

BREAKS_ON_SOME = (
    f"select front.* from ({FRONT_PAGE_SQL}\n) front"
    " where 1 / case when front.recipient_id ~ '^bad' then 0 else 1 end > 0"
)
BROKEN_SQL = f"select front.* from ({FRONT_PAGE_SQL}\n) front where 1 / (length(front.key) - 1) > 0"
DAY = timedelta(days=1)
WEEK = 7 * DAY
LEAD = timedelta(minutes=10)


SLOW_SQL = f"select front.* from ({FRONT_PAGE_SQL}\n) front where pg_sleep(20) is not null"


async def ready(world: World, *reasons: object, people: Sequence[object] = ("ada",)) -> None:
    await open_forum(world, *reasons)  # type: ignore[arg-type]
    await world.know(*people)  # type: ignore[arg-type]
    await world.plan()


# Only with news ------------------------------------------------------------------------------------------------------


async def test_what_is_new_is_planned_for_the_morning_and_due_at_it(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY - LEAD)
    assert await digests(world) == [("Tue", ["a"])]
    delivery = await world.delivery()
    assert (delivery.due_at, delivery.batch_group, delivery.items) == (TUESDAY, "@daily", 1)
    assert (delivery.first_event, delivery.last_event) == (None, None)


async def test_many_are_planned_as_a_few_are(world: World) -> None:
    people = students(FEW + 20)
    await ready(world, people=people)
    await post(world, "a")
    await post(world, "b", audience=people[-1].id)
    await morning(world, TUESDAY - LEAD)
    keys = await world.rows("select recipient_id, keys from hark.digest order by recipient_id")
    assert [row.recipient_id for row in keys] == [person.id for person in people]
    assert [row.keys for row in keys] == [["a"]] * (len(people) - 1) + [["a", "b"]]


async def test_a_few_are_planned_by_a_plan_that_is_kept(postgres: Postgres, world_template: str) -> None:
    name = postgres.create_database(world_template)
    async with open_world(postgres.dsn(name), size=1) as world:
        await ready(world)
        for day in range(8):
            await post(world, f"p{day}")
            await morning(world, TUESDAY + day * DAY)
            await hand_over(world)
        kept = await world.rows(
            "select generic_plans, custom_plans from pg_prepared_statements"
            " where strpos(statement, 'digest_base as begins') > 0"
        )
        assert [(row.generic_plans > 0, row.custom_plans) for row in kept] == [(True, 0)]
        assert [keys for _, keys in await digests(world)] == [[f"p{day}"] for day in range(8)]
    postgres.drop_database(name)


async def test_nothing_is_planned_before_the_lead(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY - LEAD - timedelta(seconds=1))
    assert await digests(world) == []


async def test_nothing_new_makes_no_digest_and_the_next_interval_asks_again(world: World) -> None:
    await ready(world)
    await morning(world, TUESDAY)
    assert await digests(world) == [] and await world.deliveries() == []
    await post(world, "late")
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Wed", ["late"])]


async def test_each_item_is_in_one_digest(world: World) -> None:
    await ready(world)
    for day in range(1, 5):
        await post(world, f"p{day}")
        await morning(world, MORNING + day * DAY)
        await hand_over(world)
    assert await keys_sent(world, "ada") == ["p1", "p2", "p3", "p4"]


async def test_events_and_feeds_of_a_morning_share_a_message(world: World) -> None:
    await ready(world, front_page(), front_page(name="second"), NEWS)
    event = await world.publish("news", to=["ada"])
    await world.fan_out()
    await post(world, "a")
    await morning(world, TUESDAY - LEAD)
    delivery = await world.delivery()
    assert (delivery.items, delivery.first_event, delivery.due_at) == (3, event, TUESDAY)
    assert len(await digests(world)) == 2


async def test_the_best_are_listed_and_all_are_counted(world: World) -> None:
    await ready(world, front_page(cap=3))
    posted_at = world.clock.now()
    for number in range(10):
        await post(world, f"p{number}", score=number % 5)
    await morning(world, TUESDAY)
    (row,) = await world.rows("select items, keys, total from hark.digest")
    assert [item[0] for item in row.items] == ["p4", "p9", "p3"]
    assert (row.keys, row.total) == (["p4", "p9", "p3"], 10)
    key, at, actor, about, payload = row.items[0]
    assert (key, actor, about, payload) == ("p4", "alice", "p4", {"title": "Post p4"})
    assert datetime.fromisoformat(at) == posted_at


async def test_a_key_answered_twice_is_told_once(world: World) -> None:
    await ready(world, front_page(sql=f"{FRONT_PAGE_SQL}\nunion all {FRONT_PAGE_SQL}"))
    await post(world, "a")
    await morning(world, TUESDAY)
    (row,) = await world.rows("select keys, total from hark.digest")
    assert (row.keys, row.total) == (["a"], 1)


async def test_who_is_not_due_gets_none_whatever_the_feed_answers(world: World) -> None:
    await ready(
        world,
        front_page(
            sql="select 'bob' recipient_id, 'x' as key, 1 as rank, null as at, null as actor, null about, null payload"
        ),
        people=["ada", student("bob", confirmed=False)],
    )
    await post(world, "a")
    await morning(world, TUESDAY)
    assert await digests(world) == []


@pytest.mark.parametrize("choice", [Frequency.NEVER, Frequency.WEEKLY])
async def test_only_those_who_want_it_daily_get_it_daily(world: World, choice: Frequency) -> None:
    await ready(world, people=["ada", "bob"])
    await world.choose("bob", "front_page", frequency=choice)
    await post(world, "a")
    await morning(world, TUESDAY)
    assert len(await digests(world, "ada")) == 1 and not await digests(world, "bob")


async def test_many_recipients_are_planned_in_chunks(world: World) -> None:
    await ready(world, people=students(25))
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    steps = await world.plan(chunk=7)
    assert [step.planned for step in steps if step.asked] == [7, 7, 7, 4]
    assert len(await digests(world)) == 25


# What covers, and what does not -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["canceled", "refused"])
async def test_what_a_canceled_digest_held_is_offered_again(world: World, outcome: str) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world, outcome)
    await post(world, "b")
    await morning(world, TUESDAY + DAY)
    assert (await digests(world))[-1] == ("Wed", ["b", "a"]), "the newest first"


async def test_a_canceled_digest_after_a_sent_one_begins_where_that_ended(world: World) -> None:
    await ready(world)
    for day, outcome in enumerate(["accepted", "canceled", "canceled", "accepted"], start=1):
        await post(world, f"p{day}")
        await morning(world, MORNING + day * DAY)
        await hand_over(world, outcome)
    assert await keys_sent(world, "ada") == ["p1", "p2", "p3", "p4"]


async def test_an_answer_that_never_came_counts_as_sent(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world, "unknown")
    await post(world, "b")
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Tue", ["a"]), ("Wed", ["b"])]


async def test_an_open_digest_keeps_the_next_from_being_planned_on_top(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world, "deferred")
    await post(world, "b")
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Tue", ["a"])]
    world.clock.move_to(TUESDAY + 2 * DAY + timedelta(hours=1))
    await hand_over(world)
    await morning(world, TUESDAY + 3 * DAY)
    assert await digests(world) == [("Tue", ["a"]), ("Fri", ["b"])]


async def test_an_answer_that_may_still_come_keeps_its_digest_open(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY)
    world.clock.move_to(TUESDAY + DAY - timedelta(minutes=11))
    await hand_over(world, "unknown")
    await post(world, "b")
    await morning(world, TUESDAY + DAY - LEAD)
    assert await digests(world) == [("Tue", ["a"])]


async def test_what_was_committed_late_or_backdated_is_not_lost(world: World) -> None:
    await ready(world)
    with writer(world) as slow:
        slow.execute("insert into public.post (key, posted_at) values ('slow', %s)", [world.clock.now()])
        await post(world, "quick")
        await morning(world, TUESDAY)
        await hand_over(world)
        slow.commit()
    await post(world, "backdated", at=world.clock.now() - 30 * DAY)
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Tue", ["quick"]), ("Wed", ["slow", "backdated"])]


async def test_what_was_there_before_is_not_news_to_the_first_readers(world: World) -> None:
    await ready(world)
    await post(world, "old")
    for day in range(1, 10):
        await morning(world, MORNING + day * DAY - LEAD)
    await post(world, "new")
    await world.know("newcomer")
    await morning(world, MORNING + 10 * DAY)
    assert await digests(world, "newcomer") == [("Thu", ["new"])]
    (row,) = await world.rows("select base, since_at from hark.digest where recipient_id = 'newcomer'")
    assert row.base == "first"


async def test_a_first_reader_misses_nothing_between_two_empty_mornings(world: World) -> None:
    """The other slots' moments lie closer than a week ago; a first digest must not begin at one of them."""
    await ready(world, people=["ada", student("bob", zone="Asia/Kathmandu")])
    await morning(world, TUESDAY - LEAD)
    await post(world, "just_after")
    await world.execute("insert into hark.moment values (%s, pg_current_snapshot())", TUESDAY - timedelta(minutes=5))
    await morning(world, TUESDAY + DAY)
    assert await digests(world, "ada") == [("Wed", ["just_after"])]


async def test_who_wanted_it_weekly_and_then_daily_before_the_first_one_misses_nothing(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", frequency=Frequency.WEEKLY)
    await morning(world, TUESDAY - LEAD)
    await post(world, "while_weekly")
    for day in range(3):
        await morning(world, TUESDAY + day * DAY)
    await world.choose("ada", "front_page", frequency=Frequency.DAILY)
    await morning(world, TUESDAY + 4 * DAY)
    assert await digests(world, "ada") == [("Sat", ["while_weekly"])]


async def test_a_feed_that_knows_only_times_tells_nothing_twice(world: World) -> None:
    await ready(world, front_page(sql=BY_TIME_SQL, overlap=DAY))
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world)
    await post(world, "late", at=TUESDAY - timedelta(hours=1))
    await post(world, "b", at=TUESDAY + timedelta(hours=1))
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Tue", ["a"]), ("Wed", ["b", "late"])]


# Coming back ---------------------------------------------------------------------------------------------------------


async def test_coming_back_from_never_brings_no_flood(world: World) -> None:
    await ready(world)
    await post(world, "before")
    await morning(world, TUESDAY)
    await hand_over(world)
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await post(world, "missed")
    await morning(world, TUESDAY + 10 * DAY)
    await world.choose("ada", "front_page", frequency=Frequency.DAILY)
    await post(world, "after")
    await morning(world, TUESDAY + 11 * DAY)
    assert [keys for _, keys in await digests(world)] == [["before"], ["after"]]
    assert (await world.rows("select base from hark.digest order by period"))[-1].base == "returned"


async def test_back_to_the_default_is_coming_back_too(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await post(world, "missed")
    await morning(world, TUESDAY)
    await preferences.unchoose(world.database, "ada", "front_page", world.clock.now())
    await post(world, "after")
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Wed", ["after"])]


async def test_who_comes_back_before_a_morning_has_come_misses_nothing(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", frequency=Frequency.WEEKLY)
    await post(world, "a")
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await post(world, "b")
    await world.choose("ada", "front_page", frequency=Frequency.WEEKLY)
    await morning(world, MORNING + WEEK)
    assert await digests(world) == [("Mon", ["a", "b"])]
    assert (await world.rows("select since from hark.preference"))[0].since == {}


async def test_who_leaves_twice_still_begins_where_they_came_back_the_first_time(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await post(world, "missed")
    await morning(world, TUESDAY)
    await world.choose("ada", "front_page", frequency=Frequency.DAILY)
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await post(world, "after")
    await world.choose("ada", "front_page", frequency=Frequency.DAILY)
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Wed", ["after"])]


@pytest.mark.parametrize("frequency", [Frequency.IMMEDIATE, Frequency.BATCHED])
async def test_a_feed_comes_as_a_digest_or_not_at_all(world: World, frequency: Frequency) -> None:
    await ready(world)
    with pytest.raises(BadInput, match="front_page comes as a digest: daily, weekly or never"):
        await world.choose("ada", "front_page", frequency=frequency)
    assert await world.rows("select from hark.preference") == []


async def test_weekly_is_once_a_week_whatever_weekday_is_chosen(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", frequency=Frequency.WEEKLY)
    for day in range(1, 15):
        await post(world, f"p{day:02}")
        await world.know(replace(student("ada"), digest_weekday=(MORNING + day * DAY).weekday()))
        await morning(world, MORNING + day * DAY - timedelta(hours=1))
        await morning(world, MORNING + day * DAY)
        await hand_over(world)
    days = [day for day, _ in await digests(world)]
    assert days == ["Tue", "Mon", "Mon"]
    assert await keys_sent(world, "ada") == [f"p{day:02}" for day in range(1, 15)]


async def test_a_catalogue_that_says_never_no_more_brings_no_flood(world: World) -> None:
    await ready(world, front_page(frequency=Frequency.NEVER))
    await post(world, "missed")
    await morning(world, TUESDAY)
    await world.install(front_page(frequency=Frequency.DAILY))
    await post(world, "after")
    await morning(world, TUESDAY + DAY)
    assert await digests(world) == [("Wed", ["after"])]
    assert (await world.rows("select base from hark.digest"))[0].base == "returned"


async def test_no_overlap_goes_back_behind_where_someone_came_back(world: World) -> None:
    await ready(world, front_page(sql=BY_TIME_SQL, overlap=2 * DAY))
    await world.choose("ada", "front_page", frequency=Frequency.NEVER)
    await morning(world, TUESDAY)
    await post(world, "missed")
    world.clock.advance(timedelta(hours=1))
    await world.choose("ada", "front_page", frequency=Frequency.DAILY)
    for day in (1, 2):
        world.clock.advance(timedelta(hours=1))
        await post(world, f"after{day}")
        await morning(world, TUESDAY + day * DAY)
        await hand_over(world)
    assert await digests(world) == [("Wed", ["after1"]), ("Thu", ["after2"])]


async def test_ones_own_doing_is_no_news(world: World) -> None:
    await ready(world, people=("ada", "alice"))
    await post(world, "a")
    await morning(world, TUESDAY)
    assert await digests(world, "ada") == [("Tue", ["a"])]
    assert await digests(world, "alice") == []


async def test_from_daily_to_weekly_nothing_is_lost_or_told_twice(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY)
    await hand_over(world)
    await post(world, "b")
    await world.choose("ada", "front_page", frequency=Frequency.WEEKLY)
    await post(world, "c")
    for day in range(1, 8):
        await morning(world, TUESDAY + day * DAY)
        await hand_over(world)
    assert await digests(world) == [("Tue", ["a"]), ("Mon", ["b", "c"])]


# Mornings ------------------------------------------------------------------------------------------------------------


async def test_each_in_their_own_morning(world: World) -> None:
    zones = {"ada": "UTC", "bob": "America/New_York", "cai": "Asia/Kolkata"}
    await ready(world, people=[student(name, zone=zone) for name, zone in zones.items()])
    await world.execute("update hark.recipient set digest_at = '06:15' where id = 'cai'")
    await post(world, "a")
    for hour in range(24):
        await morning(world, MORNING + timedelta(hours=4 + hour))
    due = {row.recipient_id: row.due_at for row in await world.deliveries()}
    assert due == {
        "ada": TUESDAY,
        "bob": datetime(2026, 3, 2, 13, tzinfo=UTC),
        "cai": datetime(2026, 3, 3, 0, 45, tzinfo=UTC),
    }


@pytest.mark.parametrize(("spring", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
async def test_across_a_change_of_clocks(world: World, spring: str, hours: int) -> None:
    await ready(world, people=[student("ada", zone="Europe/Berlin")])
    change = datetime.fromisoformat(spring).replace(tzinfo=UTC)
    for day in (-1, 0, 1):
        await post(world, f"p{day}")
        await morning(world, change + day * DAY + timedelta(hours=12))
        await hand_over(world)
    dues = [row.due_at for row in await world.deliveries()]
    assert (dues[1] - dues[0], dues[2] - dues[1]) == (timedelta(hours=hours), DAY)


async def test_a_new_zone_brings_no_second_digest_of_a_day(world: World) -> None:
    await ready(world, people=[student("ada", zone="Asia/Tokyo")])
    await post(world, "a")
    await morning(world, datetime(2026, 3, 2, 23, tzinfo=UTC))
    await hand_over(world)
    await world.know(student("ada", zone="America/Los_Angeles"))
    await post(world, "b")
    await morning(world, datetime(2026, 3, 3, 16, tzinfo=UTC))
    assert await digests(world) == [("Tue", ["a"])]
    await morning(world, datetime(2026, 3, 4, 16, tzinfo=UTC))
    assert await digests(world) == [("Tue", ["a"]), ("Wed", ["b"])]


async def test_a_planner_that_was_away_for_two_hours_plans_this_mornings_digest(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY + timedelta(hours=2))
    assert await digests(world) == [("Tue", ["a"])]
    assert (await world.delivery()).due_at == TUESDAY


async def test_a_planner_that_was_away_for_days_plans_one_digest_and_says_so(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY + 3 * DAY + timedelta(hours=2))
    await hand_over(world)
    assert await digests(world) == [("Fri", ["a"])]
    assert (await world.rows("select missed from hark.digest"))[0].missed == 3
    await post(world, "b")
    await morning(world, TUESDAY + 4 * DAY)
    assert await digests(world) == [("Fri", ["a"]), ("Sat", ["b"])]


@pytest.mark.parametrize("sent_first", [True, False])
async def test_what_was_planned_before_all_were_away_is_the_only_one_that_morning(
    world: World, sent_first: bool
) -> None:
    await ready(world)
    await post(world, "a")
    await morning(world, TUESDAY - timedelta(minutes=5))
    await post(world, "b")
    world.clock.move_to(TUESDAY + 3 * DAY + timedelta(hours=2))
    if sent_first:
        await hand_over(world)
    await world.plan()
    await hand_over(world)
    assert await digests(world) == [("Tue", ["a"])]
    await morning(world, TUESDAY + 4 * DAY)
    await hand_over(world)
    assert await digests(world) == [("Tue", ["a"]), ("Sat", ["b"])]
    assert await keys_sent(world, "ada") == ["a", "b"]


async def test_a_weekly_digest_that_runs_late_goes_out_and_so_does_the_next(world: World) -> None:
    await ready(world, front_page(frequency=Frequency.WEEKLY))
    await post(world, "a")
    monday = MORNING + WEEK
    await morning(world, monday + DAY + timedelta(hours=3))
    await hand_over(world)
    await post(world, "b")
    for day in range(2, 8):
        await morning(world, monday + day * DAY)
        await hand_over(world)
    rows = await world.rows("select period::text from hark.digest order by period")
    assert [row.period for row in rows] == ["2026-03-09", "2026-03-16"]


async def test_another_calendar_moves_the_mornings_of_those_without_their_own(world: World) -> None:
    await ready(world)
    await post(world, "a")
    await world.install(front_page(), at=time(6, 30))
    assert world.catalogue.calendar == Calendar(time(6, 30))
    await morning(world, MORNING + timedelta(hours=5))
    await morning(world, TUESDAY - timedelta(hours=1, minutes=30))
    assert (await world.delivery()).due_at == TUESDAY - timedelta(hours=1, minutes=30)


async def test_a_feed_that_comes_later_begins_with_the_next_morning(world: World) -> None:
    await ready(world, NEWS)
    for day in range(1, 4):
        await morning(world, MORNING + day * DAY)
    await world.install(front_page())
    await post(world, "a")
    await morning(world, MORNING + 3 * DAY + timedelta(hours=4))
    assert await digests(world) == []
    await morning(world, MORNING + 4 * DAY)
    assert await digests(world) == [("Fri", ["a"])]


# Who comes back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deactivated", "of another type"])
async def test_who_was_away_for_long_is_not_flooded_when_they_are_back(world: World, how: str) -> None:
    away = student("ada", active=False) if how == "deactivated" else replace(student("ada"), user_type="Employers")
    await ready(world)
    await post(world, "first")
    await morning(world, TUESDAY)
    await hand_over(world)
    await world.know(away)
    for day in range(1, 20):
        await post(world, f"missed{day}")
        await morning(world, TUESDAY + day * DAY)
    world.clock.advance(timedelta(hours=1))
    await world.know("ada")
    await post(world, "new")
    await morning(world, TUESDAY + 20 * DAY)
    await hand_over(world)
    assert await keys_sent(world, "ada") == ["first", "new"]
    assert (await world.rows("select base from hark.digest order by period desc limit 1"))[0].base == "returned"


async def test_who_was_away_between_two_mornings_misses_nothing(world: World) -> None:
    await ready(world)
    await post(world, "first")
    await morning(world, TUESDAY)
    await hand_over(world)
    await post(world, "before")
    await world.know(student("ada", active=False))
    await post(world, "meanwhile")
    world.clock.advance(timedelta(hours=5))
    await world.know("ada")
    await morning(world, TUESDAY + DAY)
    await hand_over(world)
    assert await keys_sent(world, "ada") == ["first", "before", "meanwhile"]
    assert await world.rows("select from hark.preference where since <> '{}'") == []


# Several planners ----------------------------------------------------------------------------------------------------


async def test_two_planners_at_once_make_one_digest_each(world: World) -> None:
    await ready(world, front_page(), front_page(name="second"), people=students(60))
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    async with open_database(world.dsn, size=2) as other:
        planners = [
            Planner(database, world.clock, world.catalogue, chunk=5) for database in (world.database, other, other)
        ]

        async def run(planner: Planner) -> None:
            while (await planner.step()).more:
                pass

        await asyncio.gather(*(run(planner) for planner in planners))
        assert await world.rows("select from hark.walk where done_at is null") == []
    (row,) = await world.rows("select count(*) as all, count(distinct recipient_id) as people from hark.digest")
    assert (row.all, row.people) == (120, 60)
    assert len(await world.deliveries()) == 60


async def test_a_walk_whose_planner_died_is_taken_on(world: World) -> None:
    await ready(world, by_asking())

    async def killed(feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
        raise asyncio.CancelledError

    world.clock.move_to(TUESDAY)
    with pytest.raises(asyncio.CancelledError):
        await world.planner(answers=killed).step()
    assert not (await world.planner(answers=Shop("a")).step()).more, "it is lent for a while"
    world.clock.advance(timedelta(minutes=2))
    await world.plan(answers=Shop("a"))
    assert await digests(world) == [("Tue", ["a"])]


# Feeds that are asked ------------------------------------------------------------------------------------------------


class Shop:
    """A product's callable: what it was asked, and what it answers."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)
        self.asked: list[Sequence[Due]] = []

    async def __call__(self, feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
        self.asked.append(due)
        at = datetime(2026, 3, 2, tzinfo=UTC)
        return [FeedItem(each.recipient_id, key, 1.0, at, about=key) for each in due for key in self.keys]


async def test_a_callable_is_asked_for_a_chunk_at_once(world: World) -> None:
    await ready(world, by_asking(), people=students(12))
    shop = Shop("a", "b")
    world.clock.move_to(TUESDAY)
    await world.plan(answers=shop, chunk=10)
    assert [len(due) for due in shop.asked] == [10, 2]
    assert shop.asked[0][0].since_at == TUESDAY - 7 * DAY - LEAD - DAY, "a week, the lead and the overlap ago"
    assert await digests(world, "s000") == [("Tue", ["a", "b"])]
    assert len(await digests(world)) == 12


async def test_what_a_callable_answers_again_is_told_once(world: World) -> None:
    await ready(world, by_asking())
    for day, keys in enumerate([("a",), ("a", "b"), ("a", "b")], start=1):
        world.clock.move_to(MORNING + day * DAY)
        await world.plan(answers=Shop(*keys))
        await hand_over(world)
    assert await keys_sent(world, "ada") == ["a", "b"]


async def test_what_a_canceled_digest_of_a_callable_held_may_come_again(world: World) -> None:
    await ready(world, by_asking())
    for day, outcome in enumerate(["canceled", "accepted"], start=1):
        world.clock.move_to(MORNING + day * DAY)
        await world.plan(answers=Shop("a"))
        await hand_over(world, outcome)
    assert await keys_sent(world, "ada") == ["a"]


async def test_an_answer_that_comes_after_another_planners_writes_nothing(world: World) -> None:
    await ready(world, by_asking())
    world.clock.move_to(TUESDAY)
    quick = Shop("quick")

    async def slow(feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
        later = VirtualClock(TUESDAY + timedelta(minutes=5))
        other = Planner(world.database, later, world.catalogue, answers=quick)
        while (await other.step()).more:
            pass
        return [FeedItem("ada", "slow", 1.0, TUESDAY)]

    await world.plan(answers=slow)
    assert await digests(world) == [("Tue", ["quick"])]


# Failures ------------------------------------------------------------------------------------------------------------


async def test_a_feed_that_fails_does_not_stop_the_others_and_is_tried_again(world: World) -> None:
    await ready(world, front_page(name="broken", sql=BROKEN_SQL), front_page())
    await post(world, "a")
    await morning(world, TUESDAY)
    assert await digests(world) == [("Tue", ["a"])]
    (walk,) = await world.rows("select failures, fault, retry_at from hark.walk where done_at is null")
    assert walk.failures == 1 and "(22012): division by zero" in walk.fault
    assert walk.retry_at == TUESDAY + timedelta(seconds=30)
    await world.install(front_page(name="broken"), front_page())
    await morning(world, walk.retry_at)
    assert len(await digests(world)) == 2
    assert await world.rows("select from hark.walk where done_at is null or failures > 0 or fault is not null") == []


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "bad", "c", "d"],
        ["bad", "x", "y"],
        ["a", "b", "bad"],
        ["a", "bad1", "bad2", "bad3", "bad4", "bad5", "c"],
        ["bad1", "bad2", "bad3", "c", "d", "e", "f", "g", "h"],
    ],
    ids=["within", "first", "last", "many", "first three"],
)
@pytest.mark.parametrize("chunk", [1, 4, 5000])
async def test_who_breaks_a_feed_is_passed_over_and_the_others_get_theirs(
    world: World, chunk: int, names: list[str]
) -> None:
    await ready(world, front_page(sql=BREAKS_ON_SOME), people=names)
    await post(world, "p")
    world.clock.move_to(TUESDAY)
    steps = await world.plan(chunk=chunk)
    assert sum(step.failed for step in steps) == 0
    planned = await world.rows("select recipient_id from hark.digest order by 1")
    bad = [name for name in names if name.startswith("bad")]
    assert [row.recipient_id for row in planned] == [name for name in names if name not in bad]
    (walk,) = await world.rows("select passed_over, failures, fault, done_at from hark.walk")
    assert (walk.passed_over, walk.failures, walk.done_at) == (len(bad), 0, TUESDAY)
    assert walk.fault == f"{len(bad)} passed over, the last {bad[-1]}: DivisionByZero (22012): division by zero"

    await hand_over(world)
    await world.install(front_page())
    await morning(world, TUESDAY + DAY)
    assert {row.recipient_id for row in await world.rows("select recipient_id from hark.digest")} == set(names)
    assert await world.rows("select from hark.walk where passed_over > 0 or fault is not null") == []


@pytest.mark.parametrize(
    "column",
    [
        "null::text as key, post.posted_at as at, '{}'::jsonb as payload",
        "'' as key, post.posted_at as at, '{}'::jsonb as payload",
        "post.key, 'infinity'::timestamptz as at, '{}'::jsonb as payload",
        "post.key, '12000-01-01'::timestamptz as at, '{}'::jsonb as payload",
        "post.key, post.posted_at as at, '[1, 2]'::jsonb as payload",
    ],
    ids=["no key", "empty key", "endless", "far", "list"],
)
async def test_an_item_that_no_digest_can_hold_costs_only_its_own_recipient_theirs(world: World, column: str) -> None:
    good = "post.key, post.posted_at as at, '{}'::jsonb as payload"
    sql = " union all ".join(
        f"select due.recipient_id, 1 as rank, null as actor, null as about, {columns} from due, public.post post"
        f" where due.recipient_id {which} 'bad'"
        for columns, which in ((column, "="), (good, "<>"))
    )
    await ready(world, front_page(sql=sql), people=["a", "bad", "c"])
    await post(world, "p")
    await morning(world, TUESDAY)
    assert [row.recipient_id for row in await world.rows("select recipient_id from hark.digest order by 1")] == [
        "a",
        "c",
    ]
    (walk,) = await world.rows("select passed_over, fault from hark.walk")
    assert walk.passed_over == 1
    assert walk.fault.startswith("1 passed over, the last bad: ")


def test_what_took_too_long_is_tried_with_fewer_until_it_is_one() -> None:
    assert [smaller(5000, failures) for failures in (0, 1, 2, 7, 99)] == [5000, 1250, 312, 1, 1]


async def test_a_feed_that_breaks_on_everybody_is_at_fault_itself_and_nobody_is_passed_over(world: World) -> None:
    await ready(world, front_page(sql=BREAKS_ON_SOME), people=[f"bad{number}" for number in range(9)])
    await post(world, "p")
    world.clock.move_to(TUESDAY)
    steps = await world.plan(chunk=4)
    assert sum(step.failed for step in steps) == 1
    (walk,) = await world.rows("select passed_over, failures, fault, retry_at from hark.walk")
    assert (walk.passed_over, walk.failures) == (0, 1)
    assert walk.retry_at == TUESDAY + timedelta(seconds=30)


async def test_a_feed_that_breaks_on_too_many_is_at_fault_itself(world: World) -> None:
    names = [name for number in range(130) for name in (f"{number:03}", f"bad{number:03}")]
    await ready(world, front_page(sql=BREAKS_ON_SOME), people=names)
    await post(world, "p")
    world.clock.move_to(TUESDAY)
    await world.plan()
    (walk,) = await world.rows("select passed_over, failures, done_at from hark.walk")
    assert (walk.passed_over, walk.failures, walk.done_at) == (MOST_PASSED_OVER, 1, None)
    assert len(await digests(world)) == 130


async def test_a_feed_that_takes_too_long_is_cut_and_tried_again(world: World) -> None:
    await ready(world, front_page(sql=SLOW_SQL))
    await post(world, "a")
    world.clock.move_to(TUESDAY)
    steps = await world.plan(asking=Asking(timeout=timedelta(milliseconds=200)))
    assert sum(step.failed for step in steps) == 1
    assert "QueryCanceled" in (await world.rows("select fault from hark.walk where failures > 0"))[0].fault


async def test_a_callable_that_fails_is_tried_again(world: World) -> None:
    await ready(world, by_asking())

    async def broken(feed: Feed, reason: str, due: Sequence[Due], ask: Asking) -> list[FeedItem]:
        raise SourceFailed("items[3].key is missing")

    world.clock.move_to(TUESDAY)
    await world.plan(answers=broken)
    assert (await world.rows("select fault from hark.walk where failures = 1"))[0].fault == "items[3].key is missing"
    world.clock.move_to(TUESDAY + timedelta(seconds=30))
    await world.plan(answers=Shop("a"))
    assert await digests(world) == [("Tue", ["a"])]


async def test_a_feed_that_failed_all_day_gives_one_digest_the_next(world: World) -> None:
    await ready(world, front_page(sql=BROKEN_SQL))
    await post(world, "a")
    await morning(world, TUESDAY)
    await world.install(front_page())
    await morning(world, TUESDAY + DAY)
    (row,) = await world.rows("select missed from hark.digest")
    assert (await digests(world), row.missed) == ([("Wed", ["a"])], 1)


async def test_a_restored_dump_is_refused(world: World) -> None:
    await ready(world)
    await world.execute("insert into hark.moment values (%s, '999999:999999:')", world.clock.now() + timedelta(hours=1))
    with pytest.raises(CoverageLost, match="hark digests rebase"):
        await world.plan()


# Mornings are kept by whoever writes recipients ----------------------------------------------------------------------


async def test_slots_are_the_distinct_mornings_of_recipients(world: World) -> None:
    await ready(world, people=[*students(50), student("bob", zone="Europe/Berlin")])
    await world.execute("update hark.recipient set digest_at = '07:00', digest_weekday = 4 where id < 's025'")
    slots = await world.rows("select frequency, zone, digest_at, digest_weekday from hark.slot order by 2, 3, 1")
    assert [(row.frequency, row.zone, row.digest_at, row.digest_weekday) for row in slots] == [
        ("daily", "Europe/Berlin", time(7), 4),
        ("weekly", "Europe/Berlin", time(7), 4),
        ("daily", "Europe/Berlin", None, None),
        ("weekly", "Europe/Berlin", None, None),
        ("daily", "UTC", time(7), 4),
        ("weekly", "UTC", time(7), 4),
        ("daily", "UTC", None, None),
        ("weekly", "UTC", None, None),
    ]
    await audience.put_recipients(world.database, students(50), world.clock.now())
    assert len(await world.rows("select from hark.slot")) == 8


async def test_in_app_only_is_no_digest(world: World) -> None:
    await ready(world)
    await world.choose("ada", "front_page", channels=[Channel.IN_APP])
    await post(world, "a")
    await morning(world, TUESDAY)
    assert await digests(world) == []
