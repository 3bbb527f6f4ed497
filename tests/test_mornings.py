"""Daily and weekly messages come in the reader's own morning, in every zone and on every day of the year."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from hark import audience
from hark.catalogue import Frequency
from hark.errors import BadInput
from tests.world import World, student

YEAR = 2025
FIRST, LAST = datetime(YEAR, 1, 1, tzinfo=UTC), datetime(YEAR, 12, 31, tzinfo=UTC)
DAYS = [date(YEAR, 1, 3) + timedelta(days=n) for n in range(360)]

# One due moment after the other, in every zone, through a year.
DUES = """
with recursive due as (
    select name, hark.next_local(%s, name, %s, null) as due
      from unnest(%s::text[]) name
     where name in (select name from pg_timezone_names)
    union all
    select name, hark.next_local(due + interval '1 microsecond', name, %s, null) from due where due < %s
)
select name, array_agg(due order by due) as dues from due group by name
"""


def first_shown(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The first instant at which a clock there shows that time of that day; skipped, it goes by the clock before."""
    wall = datetime.combine(day, at)
    instants = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [instant for instant in instants if instant.astimezone(zone).replace(tzinfo=None) == wall]
    return min(shown, default=instants[0])


@pytest.mark.slow
@pytest.mark.parametrize("at", [time(0, 0), time(2, 30), time(23, 45)], ids=str)
async def test_in_every_zone_each_day_of_a_year_has_one_due_moment(world: World, at: time) -> None:
    zones = sorted(name for name in available_timezones() if "/" in name)
    rows = await world.rows(DUES, FIRST, at, zones, at, LAST)
    assert len(rows) > 400
    differ = []
    for row in rows:
        zone = ZoneInfo(row.name)
        wanted = [first_shown(day, at, zone) for day in DAYS]
        found = [due for due in row.dues if wanted[0] <= due <= wanted[-1]]
        differ += [row.name] * (found != wanted)
    assert differ == []


@pytest.mark.parametrize(
    ("zone", "day", "at", "due"),
    [
        ("Europe/Berlin", "2025-03-30", "02:30", "2025-03-30T01:30"),  # skipped: 03:30 summer time
        ("Europe/Berlin", "2025-10-26", "02:30", "2025-10-26T00:30"),  # twice: the first, in summer time
        ("America/New_York", "2025-11-02", "01:15", "2025-11-02T05:15"),
        ("Australia/Lord_Howe", "2025-04-06", "01:45", "2025-04-05T14:45"),  # half an hour twice
        ("Africa/Cairo", "2025-04-25", "00:00", "2025-04-24T22:00"),  # no midnight
        ("America/Havana", "2025-11-02", "00:30", "2025-11-02T04:30"),  # midnight twice
        ("Europe/Dublin", "2025-10-26", "01:30", "2025-10-26T00:30"),  # where winter is the exception
        ("Asia/Kathmandu", "2025-06-01", "08:00", "2025-06-01T02:15"),
    ],
)
async def test_where_clocks_change(world: World, zone: str, day: str, at: str, due: str) -> None:
    wanted = datetime.fromisoformat(due).replace(tzinfo=UTC)
    for ahead in (timedelta(0), timedelta(minutes=1), timedelta(hours=3)):
        (row,) = await world.rows(
            "select hark.next_local(%s, %s, %s::time, null) as due", wanted - ahead, zone, time.fromisoformat(at)
        )
        assert row.due == wanted, f"{day} {at} in {zone}"
    (after,) = await world.rows(
        "select hark.next_local(%s, %s, %s::time, null) as due",
        wanted + timedelta(seconds=1),
        zone,
        time.fromisoformat(at),
    )
    assert after.due > wanted + timedelta(hours=20)


# From each due moment in every zone: what does not agree with the one before it.
DISAGREE = """
with recursive due as (
    select name, hark.next_local(%s, name, %s, %s) as due, null::timestamptz as before
      from unnest(%s::text[]) name
     where name in (select name from pg_timezone_names)
    union all
    select name, hark.next_local(due + interval '1 microsecond', name, %s, %s), due from due where due < %s
)
select name, due, before
  from due
 where before is not null
   and (hark.last_local(due, name, %s, %s) <> due
        or hark.last_local(due - interval '1 microsecond', name, %s, %s) <> before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("at", "weekday"), [(time(0, 0), None), (time(1, 30), None), (time(2, 30), 6)])
async def test_the_last_due_moment_is_the_one_before_the_next_in_every_zone_all_year(
    world: World, at: time, weekday: int | None
) -> None:
    zones = sorted(name for name in available_timezones() if "/" in name)
    given = (FIRST, at, weekday, zones, at, weekday, LAST, at, weekday, at, weekday)
    assert await world.rows(DISAGREE, *given) == []


async def test_a_slot_moves_on_from_a_time_that_comes_twice(world: World) -> None:
    (row,) = await world.rows(
        "select hark.last_local(%s, 'Europe/London', '01:30', null) as last",
        datetime(2026, 10, 25, 0, 45, tzinfo=UTC),
    )
    assert row.last == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


# Their own -----------------------------------------------------------------------------------------------------------

BOB = student("bob", zone="Asia/Kolkata")
EARLY = replace(BOB, digest_at=time(7, 30), digest_weekday=4)


async def dues(world: World) -> dict[str, datetime]:
    return {row.batch_group: row.due_at for row in await world.deliveries()}


async def test_a_morning_is_stored_as_given_and_forgotten_when_it_is_not_given(world: World) -> None:
    await world.know(EARLY)
    (known,) = await audience.recipients_after(world.database)
    assert (known.digest_at, known.digest_weekday) == (time(7, 30), 4)
    await world.know(BOB)
    (known,) = await audience.recipients_after(world.database)
    assert (known.digest_at, known.digest_weekday) == (None, None)


async def test_daily_and_weekly_messages_come_at_their_own_time_and_day(world: World) -> None:
    await world.know(EARLY, "kim")
    await world.publish("news", to=["bob", "kim"])
    await world.publish("round_up", to=["bob", "kim"])
    await world.fan_out()
    rows = {(row.recipient_id, row.batch_group): row.due_at for row in await world.deliveries()}
    assert rows == {
        ("bob", "@daily"): datetime(2026, 3, 3, 2, tzinfo=UTC),
        ("bob", "@weekly"): datetime(2026, 3, 6, 2, tzinfo=UTC),
        ("kim", "@daily"): datetime(2026, 3, 3, 8, tzinfo=UTC),
        ("kim", "@weekly"): datetime(2026, 3, 9, 8, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("now_is", "daily", "weekly"),
    [
        (EARLY, (3, 2), (6, 2)),
        (replace(BOB, zone="America/New_York"), (2, 13), (2, 13)),
        (replace(BOB, zone="Pacific/Auckland", digest_at=time(21)), (3, 8), (9, 8)),
        (replace(BOB, digest_weekday=2), (3, 2.5), (4, 2.5)),
    ],
)
async def test_who_moves_gets_what_waits_in_their_new_morning(
    world: World, now_is: audience.Recipient, daily: tuple[int, float], weekly: tuple[int, float]
) -> None:
    await world.know(BOB)
    for name in ("news", "round_up", "comment", "mention"):
        await world.publish(name, to=["bob"])
    await world.fan_out()
    before = await dues(world)
    await world.know(now_is)
    after = await dues(world)
    assert (after["@daily"], after["@weekly"]) == tuple(
        datetime(2026, 3, day, tzinfo=UTC) + timedelta(hours=hour) for day, hour in (daily, weekly)
    )
    assert {group: after[group] for group in ("comment", "@immediate")} == {
        group: before[group] for group in ("comment", "@immediate")
    }
    await world.publish("news", to=["bob"])
    await world.fan_out()
    assert (await dues(world))["@daily"] == after["@daily"]


async def test_who_stays_and_changes_something_else_waits_as_before(world: World) -> None:
    await world.know(BOB)
    await world.publish("news", to=["bob"])
    await world.fan_out()
    before = await world.deliveries()
    world.clock.advance(timedelta(hours=2))
    await world.know(replace(BOB, address="new@a.example"))
    assert await world.deliveries() == before


async def test_what_is_being_sent_is_not_moved(world: World) -> None:
    await world.know(BOB)
    await world.publish("news", to=["bob"])
    await world.fan_out()
    await world.execute(
        "update hark.delivery set state = 'SENDING', gathering = false, attempt = 1, worker = 'w', lease_until = now()"
    )
    before = await world.deliveries()
    await world.know(EARLY)
    assert await world.deliveries() == before


async def test_a_weekday_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match=r"no weekday 7; write 0 \(Monday\) to 6 \(Sunday\)"):
        await world.know(replace(BOB, digest_weekday=7))
    assert await audience.recipients_after(world.database) == []


async def test_a_choice_goes_to_their_own_morning(world: World) -> None:
    await world.know(EARLY)
    await world.publish("comment", to=["bob"])
    await world.fan_out()
    await world.choose("bob", "comment", frequency=Frequency.DAILY)
    assert await dues(world) == {"@daily": datetime(2026, 3, 3, 2, tzinfo=UTC)}
