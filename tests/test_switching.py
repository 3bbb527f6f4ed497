"""Who chooses another frequency gets what waits by it: nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import preferences
from hark.batching import FAN_OUT_FRESH, ChunkSize, fan_out_fresh
from hark.catalogue import Channel, Frequency
from hark.switching import Switch, move_waiting
from tests.world import COMMENT, COOLDOWN, MAX_STALE, MENTION, MONDAY_NOON, NEWS, World, reason, student

NEVER, IMMEDIATE, BATCHED, DAILY, WEEKLY = Frequency
TUESDAY_8 = datetime(2026, 3, 3, 8, tzinfo=UTC)
MONDAY_8 = datetime(2026, 3, 9, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def waiting(world: World) -> list[tuple[str, datetime, int, bool]]:
    return [(row.batch_group, row.due_at, row.items, row.gathering) for row in await world.deliveries()]


async def three_comments(world: World) -> list[int]:
    await world.know("bob")
    events = [await world.publish(to=["bob"], about=f"post:{number}") for number in range(3)]
    await world.fan_out()
    return events


async def check_books(world: World) -> None:
    """What the deliveries say of their notifications is so, and nobody holds a place open."""
    rows = await world.rows(
        "select d.id, d.items, d.first_event, d.last_event, d.moved_on, count(n) as held, min(n.event_id) as first,"
        " max(n.event_id) as last, bool_and(n.frequency = d.frequency) as agreed"
        " from hark.delivery d left join hark.notification n"
        " on n.recipient_id = d.recipient_id and n.email_delivery = d.id group by d.recipient_id, d.id"
    )
    for row in rows:
        assert (row.items, row.first_event, row.last_event) == (row.held, row.first, row.last), row
        assert row.moved_on >= 0
        assert row.agreed
    astray = await world.rows(
        "select n.* from hark.notification n where n.email_delivery is not null and not exists (select from"
        " hark.delivery d where d.recipient_id = n.recipient_id and d.id = n.email_delivery)"
    )
    assert astray == []


# Where it goes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frequency", "next_one"), [(DAILY, TUESDAY_8), (WEEKLY, MONDAY_8)])
async def test_who_switches_after_the_mornings_message_left_has_no_second_one_before_the_next(
    world: World, frequency: Frequency, next_one: datetime
) -> None:
    await world.know("bob")
    world.clock.move_to(next_one - timedelta(hours=1))
    await world.publish("news" if frequency is DAILY else "round_up", to=["bob"])
    await world.drain()
    await world.publish(to=["bob"], at=next_one - timedelta(seconds=1))
    world.clock.move_to(next_one)
    await world.drain()
    world.clock.advance(timedelta(seconds=1))
    await world.choose("bob", "comment", frequency=frequency)
    await world.drain()
    period = timedelta(days=1 if frequency is DAILY else 7)
    assert [mail.at for mail in world.recorder.accepted] == [next_one]
    await world.run_until(next_one + period)
    assert [mail.at for mail in world.recorder.accepted] == [next_one, next_one + period]


@pytest.mark.parametrize(
    ("frequency", "place"),
    [
        (DAILY, ("@daily", TUESDAY_8, 3, True)),
        (WEEKLY, ("@weekly", MONDAY_8, 3, True)),
        (IMMEDIATE, ("@immediate", MONDAY_NOON + MINUTE, 3, False)),
        (NEVER, ("comment", MONDAY_NOON + COOLDOWN, 3, True)),
        (BATCHED, ("comment", MONDAY_NOON + COOLDOWN, 3, True)),
    ],
)
async def test_what_waits_in_a_batch_goes_where_the_new_frequency_says(
    world: World, frequency: Frequency, place: tuple[str, datetime, int, bool]
) -> None:
    await three_comments(world)
    world.clock.advance(MINUTE)
    await world.choose("bob", "comment", frequency=frequency)
    assert await waiting(world) == [place]
    moved = await world.told()
    if frequency is not NEVER:
        assert {(row.frequency, row.email_delivery) for row in moved} == {(frequency, (await world.delivery()).id)}
        assert all(row.own_frequency == (frequency is not BATCHED) for row in moved)
        await check_books(world)


async def test_what_becomes_immediate_is_one_message_and_not_one_each(world: World) -> None:
    await three_comments(world)
    await world.choose("bob", "comment", frequency=IMMEDIATE)
    await world.drain()
    assert [mail.subject for mail in world.recorder.accepted] == ["3 new: Comment"]


async def test_what_becomes_batched_is_due_a_cool_down_from_now_or_earlier_by_its_oldest(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", frequency=DAILY)
    await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(MAX_STALE - MINUTE)
    await world.choose("bob", "comment", frequency=BATCHED)
    assert await waiting(world) == [("comment", MONDAY_NOON + MAX_STALE, 1, True)]
    await world.choose("bob", "comment", frequency=WEEKLY)
    world.clock.advance(MAX_STALE)
    await world.choose("bob", "comment", frequency=BATCHED)
    assert await waiting(world) == [("comment", world.clock.now(), 1, True)]


async def test_it_joins_the_message_that_gathers_there_already_and_leaves_other_reasons_alone(world: World) -> None:
    await world.know("bob")
    await world.publish("news", to=["bob"])
    await world.publish("comment", to=["bob"])
    await world.publish("round_up", to=["bob"])
    await world.fan_out()
    await world.choose("bob", "comment", frequency=DAILY)
    assert await waiting(world) == [("@daily", TUESDAY_8, 2, True), ("@weekly", MONDAY_8, 1, True)]
    await world.choose("bob", "news", frequency=WEEKLY)
    assert await waiting(world) == [("@daily", TUESDAY_8, 1, True), ("@weekly", MONDAY_8, 2, True)]
    await check_books(world)


async def test_it_goes_to_the_recipients_own_morning(world: World) -> None:
    await three_comments(world)
    own = replace(student("bob", zone="Asia/Kolkata"), digest_at=time(7, 30), digest_weekday=4)
    await world.know(own)
    await world.choose("bob", "comment", frequency=WEEKLY)
    friday = datetime(2026, 3, 6, 2, tzinfo=UTC)
    assert await waiting(world) == [("@weekly", friday, 3, True)]


async def test_forgetting_a_choice_moves_it_back(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", frequency=DAILY)
    await world.publish(to=["bob"])
    await world.fan_out()
    await preferences.unchoose(world.database, "bob", "comment", world.clock.now())
    assert await waiting(world) == [("comment", MONDAY_NOON + COOLDOWN, 1, True)]
    (told,) = await world.told()
    assert (told.frequency, told.own_frequency) == ("batched", False)


async def test_another_channel_alone_moves_nothing(world: World) -> None:
    await three_comments(world)
    before = await world.deliveries()
    await world.choose("bob", "comment", channels=[Channel.EMAIL])
    assert await world.deliveries() == before


async def test_what_was_claimed_or_tried_stays_where_it_is(world: World) -> None:
    await three_comments(world)
    await world.execute(
        "update hark.delivery set state = 'SENDING', gathering = false, attempt = 1, worker = 'w', lease_until = now()"
    )
    await world.choose("bob", "comment", frequency=DAILY)
    assert [(row.state, row.batch_group, row.items) for row in await world.deliveries()] == [("SENDING", "comment", 3)]
    await world.execute("update hark.delivery set state = 'PENDING', worker = null, lease_until = null")
    await world.choose("bob", "comment", frequency=WEEKLY)
    assert [(row.batch_group, row.items) for row in await world.deliveries()] == [("comment", 3)]


async def test_immediate_ones_that_still_wait_move_too(world: World) -> None:
    await world.know("bob")
    for _ in range(3):
        await world.publish("mention", to=["bob"])
    await world.fan_out()
    assert len(await world.deliveries()) == 3
    await world.choose("bob", "mention", frequency=DAILY)
    assert await waiting(world) == [("@daily", TUESDAY_8, 3, True)]
    await check_books(world)


async def test_never_and_back_before_it_is_due_is_told_after_all(world: World) -> None:
    await three_comments(world)
    await world.choose("bob", "comment", frequency=NEVER)
    await world.choose("bob", "comment", frequency=DAILY)
    await world.run_until(TUESDAY_8 + MINUTE)
    assert [mail.subject for mail in world.recorder.accepted] == ["3 new: Comment"]


async def test_a_narrower_reason_moves_by_its_own_name(world: World) -> None:
    await world.install(COMMENT, MENTION, replace(NEWS, narrower=reason("x", narrower={"comment": "named"}).narrower))
    await world.know("bob", "eve")
    await world.follow("post:1", "bob", "eve")
    await world.publish("news", to=["bob"], entities=["post:1"])
    await world.fan_out()
    await world.choose("eve", "comment", frequency=WEEKLY)
    await world.choose("bob", "news", frequency=WEEKLY)
    assert sorted((row.recipient_id, row.batch_group) for row in await world.deliveries()) == [
        ("bob", "comment"),
        ("eve", "@daily"),
    ]
    await world.choose("bob", "comment", frequency=WEEKLY)
    assert sorted((row.recipient_id, row.batch_group) for row in await world.deliveries()) == [
        ("bob", "@weekly"),
        ("eve", "@daily"),
    ]


async def test_many_switches_at_once_each_go_their_way(world: World) -> None:
    await world.know("ann", "bob", "eve")
    for name in ("comment", "news", "mention"):
        await world.publish(name, to=["ann", "bob", "eve"])
    await world.fan_out()
    switches = [
        Switch("ann", "comment", DAILY, True),
        Switch("ann", "news", BATCHED, True),
        Switch("bob", "comment", IMMEDIATE, True),
        Switch("bob", "news", IMMEDIATE, True),
        Switch("eve", "mention", WEEKLY, True),
    ]
    async with world.database.transaction() as connection:
        await move_waiting(connection, "hark", switches, world.clock.now())
    rows = sorted((row.recipient_id, row.batch_group, row.items) for row in await world.deliveries())
    assert rows == [
        ("ann", "@daily", 1),
        ("ann", "@immediate", 1),
        ("ann", "news", 1),
        ("bob", "@immediate", 1),
        ("bob", "@immediate", 2),
        ("eve", "@daily", 1),
        ("eve", "@weekly", 1),
        ("eve", "comment", 1),
    ]
    await check_books(world)


# Whatever happens in between -----------------------------------------------------------------------------------------

acts = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(["comment", "mention", "news", "round_up"])),
        st.tuples(st.just("fan out"), st.none()),
        st.tuples(
            st.just("choose"),
            st.tuples(
                st.sampled_from(["comment", "mention", "news", "round_up"]), st.none() | st.sampled_from(Frequency)
            ),
        ),
        st.tuples(st.just("pass"), st.sampled_from([1, 5, 60, 20 * 60])),
        st.tuples(st.just("attempt"), st.none()),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(acts)
async def test_each_is_told_once_however_often_they_change_their_mind(world: World, happens: list[Any]) -> None:
    await world.execute(
        "truncate hark.event, hark.notification, hark.delivery, hark.delivery_history, hark.inbox, hark.preference"
        " restart identity"
    )
    world.recorder.handed_over.clear()
    await world.know("bob")
    published: list[int] = []
    for what, which in happens:
        if what == "publish":
            published.append(await world.publish(which, to=["bob"], about=f"<{len(published)}>"))
        elif what == "fan out":
            await world.fan_out()
        elif what == "choose" and which[1] is None:
            await preferences.unchoose(world.database, "bob", which[0], world.clock.now())
        elif what == "choose":
            await world.choose("bob", which[0], frequency=which[1])
        elif what == "pass":
            world.clock.advance(which * MINUTE)
        else:
            await world.attempt()
        if what == "choose":
            await check_pending(world)
    await world.fan_out()
    await world.run_until(world.clock.now() + timedelta(days=8))
    said = Counter(
        number for mail in world.recorder.handed_over for number in range(len(published)) if f"<{number}>" in mail.text
    )
    assert set(said.values()) <= {1}
    silent = await world.rows(
        "select n.event_id from hark.notification n left join hark.delivery d on d.recipient_id = n.recipient_id"
        " and d.id = n.email_delivery where n.email_delivery is null or d.left_out ? n.event_id::text"
    )
    assert len(said) + len(silent) == len(published)


async def check_pending(world: World) -> None:
    rows = await world.rows(
        "select d.items, d.first_event, d.last_event, d.moved_on, count(n) as held, min(n.event_id) as first,"
        " max(n.event_id) as last from hark.delivery d left join hark.notification n"
        " on n.recipient_id = d.recipient_id and n.email_delivery = d.id where d.state = 'PENDING'"
        " group by d.recipient_id, d.id"
    )
    for row in rows:
        assert (row.items, row.first_event, row.last_event) == (row.held, row.first, row.last), row
        assert row.moved_on >= 0


async def test_a_switch_waits_for_the_fan_out_that_joins_just_now_and_takes_its_notification_along(
    world: World,
) -> None:
    await three_comments(world)
    await world.publish(to=["bob"])
    async with await psycopg.AsyncConnection.connect(world.dsn) as joiner:
        await joiner.execute(FAN_OUT_FRESH.text(), {"events": 10, "pairs": 10, "now": world.clock.now()})
        switch = asyncio.create_task(world.choose("bob", "comment", frequency=DAILY))
        await blocked(world, joiner)
        await joiner.commit()
        await switch
    assert await waiting(world) == [("@daily", TUESDAY_8, 4, True)]
    await check_books(world)


async def test_a_fan_out_waits_for_the_switch_that_empties_its_batch_and_opens_another(world: World) -> None:
    await three_comments(world)
    await world.publish(to=["bob"])
    async with await psycopg.AsyncConnection.connect(world.dsn) as switcher:
        await move_waiting(switcher, "hark", [Switch("bob", "comment", DAILY, True)], world.clock.now())
        fan_out = asyncio.create_task(fan_out_fresh(world.database, world.clock.now(), ChunkSize()))
        await blocked(world, switcher)
        await switcher.commit()
        await fan_out
    rows = sorted((row.batch_group, row.items) for row in await world.deliveries())
    assert rows == [("@daily", 3), ("comment", 1)]
    await check_books(world)


async def test_what_a_claim_took_in_between_stays_claimed(world: World) -> None:
    await three_comments(world)
    world.clock.advance(COOLDOWN)
    async with await psycopg.AsyncConnection.connect(world.dsn) as claimer:
        await claimer.execute(
            "update hark.delivery set state = 'SENDING', gathering = false, attempt = 1, worker = 'w',"
            " lease_until = now() + interval '1h'"
        )
        switch = asyncio.create_task(world.choose("bob", "comment", frequency=DAILY))
        await blocked(world, claimer)
        await claimer.commit()
        await switch
    assert [(row.state, row.items) for row in await world.deliveries()] == [("SENDING", 3)]


async def blocked(world: World, holder: psycopg.AsyncConnection[Any]) -> None:
    """Until someone waits for what it holds."""
    async with asyncio.timeout(30):
        while not await world.rows(
            "select from pg_stat_activity where %s = any(pg_blocking_pids(pid))", holder.info.backend_pid
        ):
            pass


async def test_switches_fan_outs_and_claims_at_once_lose_nothing_and_never_wait_in_a_circle(world: World) -> None:
    names = [f"s{number}" for number in range(6)]
    await world.know(*names)
    reasons = ("comment", "news", "round_up", "mention")

    async def publish() -> None:
        for number in range(12):
            await world.publish(reasons[number % 4], to=names)
            await fan_out_fresh(world.database, world.clock.now(), ChunkSize(events=2))

    async def switch(seed: int) -> None:
        for number in range(16):
            frequency = (DAILY, WEEKLY, BATCHED, IMMEDIATE)[(number * seed) % 4]
            await world.choose(names[(number + seed) % 6], reasons[(number // 3) % 4], frequency=frequency)

    async def claim() -> None:
        for _ in range(8):
            await world.attempt(worker="w")

    await asyncio.gather(publish(), publish(), switch(1), switch(3), switch(5), claim())
    await world.fan_out()
    await check_pending(world)
    await world.run_until(world.clock.now() + timedelta(days=8))
    (row,) = await world.rows(
        "select count(*) as told, count(*) filter (where d.state = 'SENT') as sent, count(distinct (n.recipient_id,"
        " n.event_id)) as pairs from hark.notification n join hark.delivery d on d.recipient_id = n.recipient_id"
        " and d.id = n.email_delivery"
    )
    assert row.told == row.sent == row.pairs == 24 * 6
