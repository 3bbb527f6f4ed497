"""When a message closes and what it holds: the statement against the plain words of the promise."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hark.batching import FAN_OUT_FRESH, ChunkSize, closes_at, fan_out_fresh, fan_out_next
from hark.catalogue import Channel, Frequency, Windows
from hark.delivery import claim
from hark.delivery.claim import claim_due, next_due
from hark.postgres.queries import Queries
from tests.world import COMMENT, COOLDOWN, MAX_STALE, MENTION, MONDAY_NOON, NEWS, ROUND_UP, World, reason, student

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WINDOWS = Windows(COOLDOWN, MAX_STALE)
CLAIM = Queries.beside(claim.__file__)["claim_due"]

lenient = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
windows = st.builds(
    lambda cooldown, more: Windows(cooldown * SECOND, None if more is None else (cooldown + more) * SECOND),
    st.integers(1, 600),
    st.none() | st.integers(0, 3000),
)
offsets = st.lists(st.integers(0, 4000).map(lambda seconds: seconds * SECOND), min_size=1, max_size=12)


@dataclass(slots=True)
class Gathered:
    """A batch of the model: the times of its events."""

    times: list[datetime] = field(default_factory=list)

    def closes(self, given: Windows) -> datetime:
        """The promise, word for word: a cool-down after the newest, or max stale after the oldest if sooner."""
        ends = [max(self.times) + given.cooldown]
        if given.max_stale is not None:
            ends.append(min(self.times) + given.max_stale)
        return min(ends)


def modelled(times: list[datetime], given: Windows) -> list[tuple[datetime, int]]:
    """Which messages these events make: when each leaves, and with how many of them."""
    batches: list[Gathered] = []
    for at in sorted(times):
        if not batches or at > batches[-1].closes(given):
            batches.append(Gathered())
        batches[-1].times.append(at)
    return [(batch.closes(given), len(batch.times)) for batch in batches]


async def clean(world: World, *given: Any) -> None:
    """An empty world with these reasons: databases are slower to make than examples."""
    await world.execute("truncate hark.event, hark.notification, hark.delivery, hark.delivery_history, hark.inbox")
    world.recorder.accepted.clear()
    world.recorder.handed_over.clear()
    await world.install(*given)
    await world.know("bob")


async def sent(world: World) -> list[tuple[datetime, int]]:
    """When each message left, and with how many items."""
    items = {row.id: row.items for row in await world.deliveries()}
    return [(mail.at, items[mail.delivery_id]) for mail in world.recorder.accepted]


async def live_through(world: World, times: list[datetime]) -> None:
    """Publish at these times, with a worker that is never late."""
    for at in sorted(times):
        await send_what_is_due(world, before=at)
        world.clock.move_to(at)
        await world.publish(to=["bob"])
        await world.fan_out()
    await send_what_is_due(world, before=datetime.max.replace(tzinfo=UTC))


async def send_what_is_due(world: World, *, before: datetime) -> None:
    while (due := await next_due(world.database, Channel.EMAIL)) is not None and due < before:
        world.clock.move_to(due)
        await world.attempt()


# Cool-down and max stale ---------------------------------------------------------------------------------------------


@given(st.integers(0, 9000), st.integers(0, 9000), windows)
def test_closes_at_is_the_promise(oldest: int, more: int, given_windows: Windows) -> None:
    first = MONDAY_NOON + oldest * SECOND
    last = first + more * SECOND
    assert closes_at(first, last, given_windows) == Gathered([first, last]).closes(given_windows)


@settings(lenient, max_examples=25)
@given(offsets, windows)
async def test_messages_leave_when_the_model_says_with_what_it_says(
    world: World, gaps: list[timedelta], given_windows: Windows
) -> None:
    await clean(world, reason("comment", cooldown=given_windows.cooldown, max_stale=given_windows.max_stale))
    start = world.clock.now()
    times = [start + gap for gap in gaps]
    await live_through(world, times)
    assert await sent(world) == modelled(times, given_windows)


@lenient
@given(offsets, windows, st.integers(1, 5), st.randoms(use_true_random=False))
async def test_a_batch_is_due_the_same_however_its_events_are_fanned_out(
    world: World, gaps: list[timedelta], given_windows: Windows, at_a_time: int, chance: Any
) -> None:
    await clean(world, reason("comment", cooldown=given_windows.cooldown, max_stale=given_windows.max_stale))
    times = [MONDAY_NOON + gap for gap in gaps]
    for at in chance.sample(times, len(times)):
        await world.publish(to=["bob"], at=at)
    done = await world.fan_out(ChunkSize(events=at_a_time))
    (row,) = await world.rows("select due_at, items, moved_on, first_event, last_event from hark.delivery")
    assert row.due_at == closes_at(min(times), max(times), given_windows)
    assert (row.items, row.moved_on, row.last_event - row.first_event) == (len(times), len(done) - 1, len(times) - 1)


@lenient
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.booleans()), min_size=1, max_size=8),
    windows,
    windows,
    st.integers(1, 4),
)
async def test_reasons_of_one_group_share_a_message_each_with_its_own_windows(
    world: World, events: list[tuple[int, bool]], quick: Windows, slow: Windows, at_a_time: int
) -> None:
    both = [
        reason(name, cooldown=given_windows.cooldown, max_stale=given_windows.max_stale, group="talk")
        for name, given_windows in (("quick", quick), ("slow", slow))
    ]
    await clean(world, *both)
    named = [(MONDAY_NOON + seconds * SECOND, "quick" if is_quick else "slow") for seconds, is_quick in events]
    for at, name in named:
        await world.publish(name, to=["bob"], at=at)
    await world.fan_out(ChunkSize(events=at_a_time))

    windows_of = {"quick": quick, "slow": slow}
    quiet = max(at + windows_of[name].cooldown for at, name in named)
    stale = [at + age for at, name in named if (age := windows_of[name].max_stale) is not None]
    (row,) = await world.rows("select due_at, items from hark.delivery")
    assert (row.due_at, row.items) == (min([quiet, *stale]), len(named))


async def test_an_event_at_the_very_instant_of_closing_still_joins(world: World) -> None:
    await world.know("bob")
    await live_through(world, [MONDAY_NOON, MONDAY_NOON + COOLDOWN])
    assert await sent(world) == [(MONDAY_NOON + 2 * COOLDOWN, 2)]


async def test_an_event_just_after_the_instant_of_closing_opens_another(world: World) -> None:
    await world.know("bob")
    late = MONDAY_NOON + COOLDOWN + timedelta(microseconds=1)
    await live_through(world, [MONDAY_NOON, late])
    assert await sent(world) == [(MONDAY_NOON + COOLDOWN, 1), (late + COOLDOWN, 1)]


async def test_an_event_just_before_every_cool_down_ends_is_mailed_at_max_stale_only(world: World) -> None:
    await world.know("bob")
    step = COOLDOWN - SECOND
    times = [MONDAY_NOON + n * step for n in range(int(HOUR / step) + 1)]
    await live_through(world, times)
    assert len(times) == 16
    assert await sent(world) == [(MONDAY_NOON + MAX_STALE, 16)]


async def test_without_max_stale_a_batch_waits_for_quiet_only(world: World) -> None:
    await clean(world, reason("comment", max_stale=None))
    times = [MONDAY_NOON + n * (COOLDOWN - SECOND) for n in range(40)]
    await live_through(world, times)
    assert await sent(world) == [(times[-1] + COOLDOWN, 40)]


async def test_a_late_worker_gathers_more_instead_of_sending_more(world: World) -> None:
    await world.know("bob")
    await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(3 * COOLDOWN)
    await world.publish(to=["bob"])
    await world.fan_out()
    assert (await world.delivery()).items == 2


# What shares a message -----------------------------------------------------------------------------------------------


async def test_each_group_and_each_recipient_has_a_message_of_its_own(world: World) -> None:
    talk = [reason(name, group="talk") for name in ("comment", "reply")]
    await world.install(*talk, reason("sale"))
    await world.know("bob", "eve")
    for name in ("comment", "reply", "sale", "comment"):
        await world.publish(name, to=["bob", "eve"])
    await world.fan_out()
    messages = [(row.recipient_id, row.batch_group, row.items) for row in await world.deliveries()]
    assert Counter(messages) == Counter(
        [("bob", "talk", 3), ("bob", "sale", 1), ("eve", "talk", 3), ("eve", "sale", 1)]
    )


async def test_every_notification_knows_its_message(world: World) -> None:
    await world.install(COMMENT, MENTION, NEWS)
    await world.know("bob", "eve")
    for name in ("comment", "mention", "news", "mention", "comment"):
        await world.publish(name, to=["bob", "eve"])
    await world.fan_out(ChunkSize(events=3))
    rows = await world.rows(
        "select d.id, d.recipient_id, d.items, count(n.*) as told, min(n.event_id) as first, max(n.event_id) as last,"
        " d.first_event, d.last_event, count(distinct e.reason) as reasons"
        " from hark.delivery d left join hark.notification n"
        " on n.email_delivery = d.id and n.recipient_id = d.recipient_id"
        " left join hark.event e on e.id = n.event_id group by d.id, d.recipient_id"
    )
    assert len(rows) == 2 * (1 + 2 + 1)
    for row in rows:
        assert (row.told, row.first, row.last, row.reasons) == (row.items, row.first_event, row.last_event, 1)


async def test_immediate_events_are_messages_of_their_own_due_at_once(world: World) -> None:
    await world.know("bob")
    for _ in range(3):
        await world.publish("mention", to=["bob"])
    await world.fan_out()
    rows = await world.deliveries()
    assert [(row.items, row.due_at, row.gathering) for row in rows] == [(1, MONDAY_NOON, False)] * 3


async def test_who_gets_it_in_app_only_has_no_message(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", channels=[Channel.IN_APP])
    await world.publish(to=["bob"])
    (done,) = await world.fan_out()
    assert (done.notifications, done.messages, done.inboxes, done.next_due) == (1, 0, 1, None)


async def test_a_fan_out_says_what_it_did(world: World) -> None:
    await world.know("bob", "eve")
    await world.choose("eve", "comment", channels=[Channel.EMAIL])
    await world.publish(to=["bob", "eve"])
    await world.publish(to=["bob"], at=MONDAY_NOON + MINUTE)
    (done,) = await world.fan_out()
    assert (done.events, done.begun, done.notifications, done.messages, done.inboxes) == (2, 0, 3, 2, 1)
    assert done.next_due == MONDAY_NOON + COOLDOWN


async def test_a_message_is_at_least_once_only_if_all_that_it_holds_is(world: World) -> None:
    await world.install(reason("bill", at_least_once=True, group="talk"), reason("comment", group="talk"))
    await world.know("bob", "eve")
    await world.publish("bill", to=["bob", "eve"])
    await world.fan_out()
    await world.publish("comment", to=["bob"])
    await world.fan_out()
    assert {row.recipient_id: row.at_least_once for row in await world.deliveries()} == {"bob": False, "eve": True}


async def test_a_hundred_publishes_within_a_second_are_one_message(world: World) -> None:
    await world.know("bob")
    times = [MONDAY_NOON + timedelta(milliseconds=10 * n) for n in range(100)]
    await asyncio.gather(*[world.publish(to=["bob"], at=at) for at in times])
    await world.fan_out(ChunkSize(events=7))
    await world.run_until(MONDAY_NOON + HOUR)
    assert [(mail.address, mail.subject) for mail in world.recorder.accepted] == [
        ("bob@school.example", "100 new: Comment")
    ]
    assert world.recorder.accepted[0].at == times[-1] + COOLDOWN


# Claim and join ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def claiming(world: World) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Another worker that has claimed what is due, and has not committed yet."""
    async with await psycopg.AsyncConnection.connect(world.dsn) as other:
        now = world.clock.now()
        cursor = await other.execute(
            CLAIM.text(),
            {"channel": "email", "now": now, "lease_until": now + MINUTE, "worker": "other", "limit": 10},
        )
        assert cursor.rowcount == 1
        yield other


async def until_someone_waits_for(world: World, holder: psycopg.AsyncConnection[Any]) -> None:
    """A barrier: pass once another connection waits for a lock of the holder's."""
    for _ in range(5000):
        waiting = await world.rows(
            "select from pg_stat_activity where %s = any(pg_blocking_pids(pid))", holder.info.backend_pid
        )
        if waiting:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nobody ever waited")


async def one_due_and_one_to_join(world: World) -> None:
    await world.know("bob")
    await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(COOLDOWN)
    await world.publish(to=["bob"])


async def test_who_joins_while_it_is_claimed_waits_and_opens_another(world: World) -> None:
    await one_due_and_one_to_join(world)
    async with claiming(world) as claimer:
        joining = asyncio.create_task(fan_out_fresh(world.database, world.clock.now(), ChunkSize()))
        await until_someone_waits_for(world, claimer)
        await claimer.commit()
        assert (await joining).messages == 1
    rows = await world.deliveries()
    assert [(row.state, row.items, row.gathering) for row in rows] == [("SENDING", 1, False), ("PENDING", 1, True)]


async def test_who_joins_while_a_claim_is_rolled_back_joins(world: World) -> None:
    await one_due_and_one_to_join(world)
    async with claiming(world) as claimer:
        joining = asyncio.create_task(fan_out_fresh(world.database, world.clock.now(), ChunkSize()))
        await until_someone_waits_for(world, claimer)
        await claimer.rollback()
        await joining
    row = await world.delivery()
    assert (row.state, row.items, row.due_at) == ("PENDING", 2, world.clock.now() + COOLDOWN)


async def test_a_claim_passes_over_what_is_being_joined(world: World) -> None:
    await one_due_and_one_to_join(world)
    async with await psycopg.AsyncConnection.connect(world.dsn) as joiner:
        await joiner.execute(FAN_OUT_FRESH.text(), {"events": 10, "pairs": 10, "now": world.clock.now()})
        assert await claim_all(world) == []
        await joiner.commit()
    assert await claim_all(world) == []
    world.clock.advance(COOLDOWN)
    (claimed,) = await claim_all(world)
    assert claimed.attempt == 1
    assert (await world.delivery()).items == 2


async def claim_all(world: World) -> list[Any]:
    return await claim_due(
        world.database, Channel.EMAIL, world.clock.now(), worker="test", lease=timedelta(minutes=1), limit=10
    )


async def test_events_are_neither_lost_nor_doubled_while_claims_and_joins_race(world: World) -> None:
    """Cool-down so short that every batch is due when it is made: claims and joins meet all the time."""
    await world.install(reason("comment", cooldown=timedelta(microseconds=1), max_stale=None))
    names = [f"u{n}" for n in range(5)]
    await world.know(*names)
    world.clock.advance(SECOND)
    stop = asyncio.Event()

    async def publish_and_fan_out() -> None:
        for _ in range(25):
            await world.publish(to=names, at=MONDAY_NOON)
            await fan_out_fresh(world.database, world.clock.now(), ChunkSize())

    async def keep_claiming() -> None:
        while not stop.is_set():
            await world.attempt()

    claimers = [asyncio.create_task(keep_claiming()) for _ in range(2)]
    await asyncio.gather(*[publish_and_fan_out() for _ in range(3)])
    await world.fan_out()
    stop.set()
    await asyncio.gather(*claimers)
    await world.drain()

    rows = await world.deliveries()
    assert {(row.state, row.outcome) for row in rows} == {("SENT", "accepted")}
    assert sum(row.items for row in rows) == 75 * len(names)
    assert Counter(mail.delivery_id for mail in world.recorder.accepted) == Counter(row.id for row in rows)
    told = await world.rows("select email_delivery as id, count(*) as items from hark.notification group by 1")
    assert {row.id: row.items for row in told} == {row.id: row.items for row in rows}


# Daily and weekly ----------------------------------------------------------------------------------------------------

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Tehran",
    "Africa/Cairo",
    "America/St_Johns",
    "Pacific/Chatham",
    "Pacific/Apia",
]


@cache
def changes_of(zone: str) -> list[datetime]:
    """The moments of 2005 to 2022, to half an hour, at which the zone's clocks changed."""
    info = ZoneInfo(zone)

    def changed(moments: list[datetime]) -> list[tuple[datetime, datetime]]:
        return [
            (a, b) for a, b in pairwise(moments) if a.astimezone(info).utcoffset() != b.astimezone(info).utcoffset()
        ]

    days = changed([datetime(2005, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(18 * 365)])
    return [b for start, _ in days for _, b in changed([start + timedelta(minutes=30 * n) for n in range(49)])]


def instant_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When a clock on the wall there shows that time.

    A time that is skipped goes by the clock as it was before, so it is as much later as was skipped; of a time that
    comes twice it is the first one.
    """
    wall = datetime.combine(day, at)
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    is_skipped = first.astimezone(zone).replace(tzinfo=None) != wall
    return first if is_skipped else min(first, second)


def due_after(moment: datetime, zone_name: str, at: time, weekday: int | None) -> datetime:
    """The first due moment from then on, by looking at every day around it."""
    zone = ZoneInfo(zone_name)
    today = moment.astimezone(zone).date()
    days = [today + timedelta(days=n) for n in range(-2, 10)]
    due = [instant_of(day, at, zone) for day in days if weekday is None or day.weekday() == weekday]
    return min(moment_due for moment_due in due if moment_due >= moment)


near_a_change = st.sampled_from(
    [zone for zone in ZONES if zone not in ("UTC", "Asia/Kolkata", "Asia/Kathmandu")]
).flatmap(
    lambda zone: st.tuples(
        st.just(zone),
        st.sampled_from(changes_of(zone)).flatmap(
            lambda change: st.integers(-2 * 1440, 2 * 1440).map(lambda minutes: change + minutes * MINUTE)
        ),
    )
)
anywhere = st.tuples(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2005, 1, 1), datetime(2022, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
)
night = st.builds(time, st.integers(0, 3), st.integers(0, 59))
whenever = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@settings(lenient, max_examples=400)
@given(near_a_change | anywhere, night | whenever, st.none() | st.integers(0, 6))
@example(("Europe/Berlin", datetime(2021, 3, 27, 23, tzinfo=UTC)), time(2, 30), None)  # skipped
@example(("Europe/Berlin", datetime(2021, 10, 31, 0, 45, tzinfo=UTC)), time(2, 30), None)  # between the two 02:30
@example(("Europe/Berlin", datetime(2021, 10, 31, 1, 30, tzinfo=UTC)), time(2, 30), None)  # at the second one
@example(("Pacific/Apia", datetime(2011, 12, 29, 20, tzinfo=UTC)), time(8), None)  # a day that never was
@example(("America/Sao_Paulo", datetime(2018, 11, 4, 2, 30, tzinfo=UTC)), time(0), None)  # no midnight
@example(("UTC", datetime(2021, 3, 1, 8, tzinfo=UTC)), time(8), 0)  # on the dot
async def test_the_next_local_time_is_what_the_zones_calendar_says(
    world: World, where_and_when: tuple[str, datetime], at: time, weekday: int | None
) -> None:
    zone, moment = where_and_when
    (row,) = await world.rows("select hark.next_local(%s, %s, %s, %s::smallint) as due", moment, zone, at, weekday)
    assert row.due == due_after(moment, zone, at, weekday)


async def test_a_daily_message_gathers_all_daily_reasons_until_the_recipients_own_morning(world: World) -> None:
    await world.know(student("bob", zone="America/New_York"), student("kim", zone="Asia/Kolkata"))
    await world.choose("bob", "comment", frequency=Frequency.DAILY)
    await world.choose("kim", "comment", frequency=Frequency.DAILY)
    for hours in (0, 1, 5):
        await world.publish("news", to=["bob", "kim"], at=MONDAY_NOON + hours * HOUR)
        await world.publish("comment", to=["bob", "kim"], at=MONDAY_NOON + hours * HOUR)
    await world.fan_out()
    due = {(row.recipient_id, row.due_at.isoformat()): row.items for row in await world.deliveries()}
    assert due == {("bob", "2026-03-02T13:00:00+00:00"): 6, ("kim", "2026-03-03T02:30:00+00:00"): 6}


async def test_what_comes_after_the_mornings_message_goes_into_the_next(world: World) -> None:
    await world.know("bob")
    for day in range(3):
        for hour in (1, 20):
            at = MONDAY_NOON.replace(hour=hour) + timedelta(days=day + 1)
            await world.run_until(at)
            await world.publish("news", to=["bob"])
    await world.run_until(MONDAY_NOON + timedelta(days=9))
    mornings = [datetime(2026, 3, day, 8, tzinfo=UTC) for day in (3, 4, 5, 6)]
    assert await sent(world) == list(zip(mornings, [1, 2, 2, 1], strict=True))


async def test_an_event_at_the_very_minute_of_the_daily_message_still_joins(world: World) -> None:
    await world.know("bob")
    eight = datetime(2026, 3, 3, 8, tzinfo=UTC)
    await world.publish("news", to=["bob"], at=MONDAY_NOON)
    await world.publish("news", to=["bob"], at=eight)
    await world.fan_out(ChunkSize(events=1))
    row = await world.delivery()
    assert (row.items, row.due_at) == (2, eight)


async def test_a_late_daily_message_takes_along_what_came_meanwhile(world: World) -> None:
    await world.know("bob")
    await world.publish("news", to=["bob"], at=MONDAY_NOON)
    await world.fan_out()
    await world.publish("news", to=["bob"], at=datetime(2026, 3, 3, 9, tzinfo=UTC))
    await world.fan_out()
    row = await world.delivery()
    assert (row.items, row.due_at) == (2, datetime(2026, 3, 3, 8, tzinfo=UTC))


@pytest.mark.parametrize(("name", "days"), [("news", 1), ("round_up", 7)])
async def test_what_is_fanned_out_after_the_mornings_message_left_waits_for_the_next(
    world: World, name: str, days: int
) -> None:
    eight = MONDAY_NOON.replace(hour=8) + timedelta(days=7)
    world.clock.move_to(eight - HOUR)
    await world.know("bob")
    await world.publish(name, to=["bob"])
    await world.run_until(eight)
    world.clock.advance(timedelta(seconds=1))
    await world.publish(name, to=["bob"], at=eight - timedelta(seconds=1))
    await world.run_until(eight + timedelta(days=days))
    assert await sent(world) == [(eight, 1), (eight + timedelta(days=days), 1)]


async def test_weekly_messages_are_due_on_the_catalogues_weekday(world: World) -> None:
    await world.install(ROUND_UP, at=time(7, 30), weekday=3)
    await world.know(student("bob", zone="Europe/Berlin"))
    for days in (0, 1, 2):
        await world.publish("round_up", to=["bob"], at=MONDAY_NOON + timedelta(days=days))
    await world.fan_out()
    row = await world.delivery()
    assert (row.items, row.due_at) == (3, datetime(2026, 3, 5, 6, 30, tzinfo=UTC))


async def test_daily_weekly_and_batched_do_not_mix(world: World) -> None:
    await world.know("bob")
    for name in ("comment", "news", "round_up", "mention"):
        await world.publish(name, to=["bob"])
    await world.fan_out()
    assert {row.frequency: row.items for row in await world.deliveries()} == dict.fromkeys(
        ["batched", "daily", "weekly", "immediate"], 1
    )


# What is next --------------------------------------------------------------------------------------------------------


async def test_next_is_a_chunk_of_new_events_and_one_of_a_begun_event(world: World) -> None:
    await world.know("ann", "bob", "cat", "dan")
    await world.follow("post:1", "ann", "bob", "cat")
    small = ChunkSize(fresh=1, begun=2)
    nothing = await fan_out_next(world.database, world.clock.now(), small)
    assert (nothing.events, nothing.notifications) == (0, 0)
    await world.publish("comment", entities=["post:1"])
    begun = await fan_out_next(world.database, world.clock.now(), small)
    assert begun.begun == 1 and begun.notifications < 3
    await world.publish("comment", to=["dan"])
    both = await fan_out_next(world.database, world.clock.now(), small)
    assert both.events == 2
    while (await fan_out_next(world.database, world.clock.now(), small)).events:
        pass
    assert await world.names_told() == Counter(["ann", "bob", "cat", "dan"])
