"""Whoever asked to hear of an event is told once, and nobody else, whatever happens to the fan-out on its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, replace
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import audience
from hark.audience import Recipient, Subscription
from hark.batching import FAN_OUT_BEGUN, ChunkSize, chunk_ahead, fan_out_begun, fan_out_fresh
from hark.errors import BadInput
from hark.postgres.database import Database
from tests.world import World, student, students

SMALL_CHUNKS = ChunkSize(events=2, fresh=3, begun=4)


def ids(recipients: list[Recipient]) -> list[str]:
    return [recipient.id for recipient in recipients]


async def crowd(world: World, count: int, entity: str = "post:1") -> list[str]:
    """So many recipients who follow an entity; their names."""
    everyone = students(count)
    await world.know(*everyone)
    await world.follow(entity, *ids(everyone))
    return ids(everyone)


# Whom an event reaches -----------------------------------------------------------------------------------------------


async def test_named_recipients_and_subscribers_are_told_once_each(world: World) -> None:
    await world.know("ann", "bob", "eve", "kim")
    await world.follow("post:1", "bob", "eve")
    await world.follow("post:2", "eve", "kim")
    await world.publish(to=["ann", "bob", "ann"], entities=["post:1", "post:2", "post:1"])
    await world.fan_out()
    assert await world.names_told() == Counter(["ann", "bob", "eve", "kim"])
    assert {row.recipient_id for row in await world.told() if row.named} == {"ann", "bob"}


async def test_the_actor_is_not_told_of_what_they_did(world: World) -> None:
    await world.know("ann", "bob")
    await world.follow("post:1", "ann", "bob")
    await world.publish(entities=["post:1"], actor="ann")
    await world.fan_out()
    assert await world.names_told() == Counter(["bob"])


async def test_who_names_themselves_in_what_they_wrote_is_not_told_of_it(world: World) -> None:
    await world.know("ann", "bob")
    await world.follow("post:1", "ann", "bob")
    await world.publish(to=["ann"], entities=["post:1"], actor="ann")
    await world.publish(to=["ann"], entities=["post:2", "post:3"], actor="ann")
    await world.fan_out()
    assert await world.names_told() == Counter(["bob"])


async def test_an_event_that_only_names_recipients_tells_all_of_them_also_its_actor(world: World) -> None:
    await world.know("ann", "bob")
    await world.publish(to=["ann", "bob"], actor="ann")
    await world.fan_out()
    assert await world.names_told() == Counter(["ann", "bob"])


async def test_an_event_without_an_actor_reaches_all_subscribers(world: World) -> None:
    await crowd(world, 3)
    await world.publish(entities=["post:1"])
    await world.fan_out()
    assert len(await world.told()) == 3


async def test_muted_subscribers_are_not_told_until_they_listen_again(world: World) -> None:
    await world.know("ann", "bob")
    await world.follow("post:1", "ann", "bob")
    assert await audience.mute(world.database, [Subscription("bob", "post:1")], world.clock.now()) == 1
    first = await world.publish(entities=["post:1"])
    await world.fan_out()
    assert await audience.mute(world.database, [Subscription("bob", "post:1")], world.clock.now(), muted=False) == 1
    second = await world.publish(entities=["post:1"])
    await world.fan_out()
    assert await world.names_told(first) == Counter(["ann"])
    assert await world.names_told(second) == Counter(["ann", "bob"])


@pytest.mark.parametrize("size", [ChunkSize(), ChunkSize(events=1, fresh=1, begun=1)])
async def test_who_muted_one_entity_is_not_told_of_its_events_through_another(world: World, size: ChunkSize) -> None:
    await world.know("ann", "bob", "eve")
    await world.follow("post:1", "ann", "bob")
    await world.follow("post:2", "ann", "bob", "eve")
    muted = [Subscription("bob", "post:1"), Subscription("eve", "post:1")]
    assert await audience.mute(world.database, muted, world.clock.now()) == 2
    both = await world.publish(entities=["post:1", "post:2"])
    other = await world.publish(entities=["post:2"])
    await world.fan_out(size)
    assert await world.names_told(both) == Counter(["ann"])
    assert await world.names_told(other) == Counter(["ann", "bob", "eve"])


async def test_who_mutes_what_they_do_not_follow_does_not_follow_it_once_it_may_speak(world: World) -> None:
    await world.know("bob")
    bob = [Subscription("bob", "post:1")]
    assert await audience.mute(world.database, bob, world.clock.now()) == 1
    assert await audience.mute(world.database, bob, world.clock.now()) == 0
    (row,) = await audience.subscriptions_of(world.database, "bob")
    assert (row.entity, row.muted, row.followed, row.since) == ("post:1", True, False, world.clock.now())
    assert await audience.mute(world.database, bob, world.clock.now(), muted=False) == 1
    assert await audience.subscriptions_of(world.database, "bob") == []
    await world.publish(entities=["post:1"])
    await world.fan_out()
    assert await world.names_told() == Counter()


async def test_who_muted_first_and_follows_then_hears_of_it_once_it_may_speak(world: World) -> None:
    await world.know("bob")
    bob = [Subscription("bob", "post:1")]
    await audience.mute(world.database, bob, world.clock.now())
    assert await audience.subscribe(world.database, bob, world.clock.now()) == 1
    assert await audience.subscribe(world.database, bob, world.clock.now()) == 0
    (row,) = await audience.subscriptions_of(world.database, "bob")
    assert (row.muted, row.followed) == (True, True)
    await world.publish(entities=["post:1"])
    await audience.mute(world.database, bob, world.clock.now(), muted=False)
    (row,) = await audience.subscriptions_of(world.database, "bob")
    assert (row.muted, row.followed) == (False, True)


async def test_who_muted_an_entity_is_told_when_named(world: World) -> None:
    await world.know("bob")
    await world.follow("post:1", "bob")
    await audience.mute(world.database, [Subscription("bob", "post:1")], world.clock.now())
    await world.publish(to=["bob"], entities=["post:1"])
    await world.fan_out()
    assert await world.names_told() == Counter(["bob"])


async def test_a_recipient_that_hark_does_not_know_gets_a_row_that_says_so_and_no_message(world: World) -> None:
    await world.publish(to=["nobody"])
    await world.fan_out()
    (row,) = await world.told()
    assert (row.why, row.in_app, row.email_delivery, row.reach) == ("unknown_recipient", False, None, None)
    assert await world.deliveries() == []


async def test_an_event_that_reaches_nobody_is_done(world: World) -> None:
    await world.publish(entities=["post:unheard-of"])
    await world.fan_out()
    (event,) = await world.rows("select * from hark.event")
    assert (event.matched, event.fanned_out_at) == (0, world.clock.now())


PEOPLE = ["ann", "bob", "eve", "kim", "lea", "max"]
some = st.lists(st.sampled_from(PEOPLE), max_size=6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    named=some,
    followers=st.dictionaries(st.sampled_from(["post:1", "post:2", "post:3"]), some, max_size=3),
    muted=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["post:1", "post:2"])), max_size=4),
    actor=st.none() | st.sampled_from(PEOPLE),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
async def test_told_are_the_named_and_the_listening_subscribers_but_the_actor(
    world: World,
    named: list[str],
    followers: dict[str, list[str]],
    muted: list[tuple[str, str]],
    actor: str | None,
    sizes: tuple[int, int],
) -> None:
    if not named and not followers:
        return
    await world.execute("truncate hark.event, hark.notification, hark.delivery, hark.subscription, hark.inbox")
    await world.know(*PEOPLE)
    for entity, names in followers.items():
        await world.follow(entity, *names)
    await audience.mute(world.database, [Subscription(*pair) for pair in muted], world.clock.now())

    await world.publish(to=named, entities=list(followers), actor=actor)
    await world.fan_out(ChunkSize(events=1, fresh=sizes[0], begun=sizes[1]))

    silent = {name for name, entity in muted if entity in followers}
    listening = {name for names in followers.values() for name in names} - silent
    author = {actor} if followers else set()
    assert await world.names_told() == Counter((set(named) | listening) - author)
    assert {row.recipient_id for row in await world.told() if row.named} == set(named) - author


# In chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 8, 11, 30])
async def test_more_recipients_than_a_chunk_holds_are_each_told_once(world: World, count: int) -> None:
    everyone = await crowd(world, count)
    await world.publish(entities=["post:1"], to=everyone[::2])
    done = await world.fan_out(SMALL_CHUNKS)
    assert await world.names_told() == Counter(everyone)
    assert sum(each.notifications for each in done) == count
    (event,) = await world.rows("select * from hark.event")
    assert event.matched == count


async def test_a_fan_out_that_dies_midway_goes_on_and_tells_each_once(world: World) -> None:
    everyone = await crowd(world, 30)
    await world.publish(entities=["post:1"])
    await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)
    for _ in range(3):
        told_before = await world.names_told()
        await _die_in_a_chunk(world)
        assert await world.names_told() == told_before
        await fan_out_begun(world.database, world.clock.now(), SMALL_CHUNKS)
    await world.fan_out(SMALL_CHUNKS)
    assert await world.names_told() == Counter(everyone)
    assert Counter({row.recipient_id: row.unread for row in await world.rows("select * from hark.inbox")}) == Counter(
        everyone
    )
    assert [row.items for row in await world.deliveries()] == [1] * 30


async def _die_in_a_chunk(world: World) -> None:
    """A worker whose connection is cut after its statement and before its commit."""
    chunk = await chunk_ahead(world.database, SMALL_CHUNKS)
    assert chunk is not None
    connection = await psycopg.AsyncConnection.connect(world.dsn)
    cursor = await connection.execute(FAN_OUT_BEGUN.text(), {**asdict(chunk), "now": world.clock.now()}, prepare=False)
    assert cursor.rowcount == 1
    await world.execute("select pg_terminate_backend(%s)", connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        await connection.commit()
    await connection.close()


async def test_the_event_that_another_worker_has_in_hand_is_passed_over(world: World) -> None:
    await crowd(world, 30)
    await world.know("bob")
    await world.publish(entities=["post:1"])
    await world.publish(to=["bob"])
    async with await psycopg.AsyncConnection.connect(world.dsn) as other:
        await other.execute("select from hark.event where id = 1 for update")
        done = await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)
        assert (done.events, done.notifications) == (1, 1)
        await other.rollback()
    await world.fan_out(SMALL_CHUNKS)
    assert sum((await world.names_told()).values()) == 31


async def test_many_workers_at_once_tell_each_recipient_of_each_event_once(world: World) -> None:
    everyone = await crowd(world, 25)
    await world.follow("post:2", *everyone[::3])
    events = [await world.publish(entities=["post:1", "post:2"], to=everyone[:2]) for _ in range(12)]

    await asyncio.gather(*[_work(world.database, world) for _ in range(4)])

    for event in events:
        assert await world.names_told(event) == Counter(everyone)
    unread = await world.rows("select recipient_id, unread from hark.inbox order by 1")
    assert [(row.recipient_id, row.unread) for row in unread] == [(name, len(events)) for name in everyone]
    deliveries = await world.deliveries()
    assert sum(row.items for row in deliveries) == len(events) * len(everyone)
    assert len(deliveries) == len(everyone)


async def _work(database: Database, world: World) -> None:
    while True:
        fresh = await fan_out_fresh(database, world.clock.now(), SMALL_CHUNKS)
        begun = await fan_out_begun(database, world.clock.now(), SMALL_CHUNKS)
        waiting = await world.rows("select from hark.event where fanned_out_at is null limit 1")
        if fresh.events == begun.events == 0 and not waiting:
            return


async def test_a_giant_event_does_not_hold_up_small_ones(world: World) -> None:
    await crowd(world, 60)
    await world.know("bob")
    giant = await world.publish(entities=["post:1"])
    await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)
    await fan_out_begun(world.database, world.clock.now(), SMALL_CHUNKS)

    small = await world.publish(to=["bob"])
    await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)

    assert await world.names_told(small) == Counter(["bob"])
    (event,) = await world.rows("select * from hark.event where id = %s", giant)
    assert event.fanned_out_at is None


async def test_two_giant_events_take_turns(world: World) -> None:
    await crowd(world, 40)
    first, second = [await world.publish(entities=["post:1"]) for _ in range(2)]
    await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)
    for _ in range(6):
        await fan_out_begun(world.database, world.clock.now(), SMALL_CHUNKS)
    told = [sum((await world.names_told(event)).values()) for event in (first, second)]
    assert told[0] == told[1] > 3


async def test_who_unsubscribes_before_their_chunk_is_not_told(world: World) -> None:
    everyone = await crowd(world, 20)
    await world.publish(entities=["post:1"])
    await fan_out_fresh(world.database, world.clock.now(), SMALL_CHUNKS)
    assert await audience.unsubscribe(world.database, [Subscription(everyone[-1], "post:1")]) == 1
    await world.fan_out(SMALL_CHUNKS)
    assert await world.names_told() == Counter(everyone[:-1])


# Recipients and subscriptions ----------------------------------------------------------------------------------------


async def test_a_recipient_is_stored_as_given_and_replaced_as_given(world: World) -> None:
    bob = Recipient("bob", "Students", "bob@a.example", True, True, True, "Asia/Kolkata", "de-AT", {"first": "Bob"})
    assert await audience.put_recipients(world.database, [bob], world.clock.now()) == 1
    changed = replace(bob, user_type="Employers", address=None, active=False, attributes={})
    await audience.put_recipients(world.database, [changed], world.clock.now())
    (known,) = await audience.recipients_after(world.database)
    assert (known.user_type, known.address, known.zone, known.locale) == ("Employers", None, "Asia/Kolkata", "de-AT")
    assert (known.attributes, known.active, known.reach) == ({}, False, "inactive")


async def test_of_two_with_the_same_id_the_later_one_holds(world: World) -> None:
    given = [student("bob"), replace(student("bob"), address="new@a.example")]
    assert await audience.put_recipients(world.database, given, world.clock.now()) == 1
    (known,) = await audience.recipients_after(world.database)
    assert known.address == "new@a.example"


@pytest.mark.parametrize(
    ("changes", "reach"),
    [
        ({}, "ok"),
        ({"active": False, "address": None, "confirmed": False}, "inactive"),
        ({"address": None, "confirmed": False}, "no_address"),
        ({"confirmed": False, "opted_in": False}, "unconfirmed"),
        ({"opted_in": False}, "not_opted_in"),
    ],
)
async def test_reach_is_the_first_thing_that_stands_in_the_way(
    world: World, changes: dict[str, object], reach: str
) -> None:
    await world.know(replace(student("bob"), **changes))  # type: ignore[arg-type]
    (known,) = await audience.recipients_after(world.database)
    assert known.reach == reach


async def test_all_faults_of_recipients_are_told_at_once_and_nothing_is_written(world: World) -> None:
    wrong = [replace(student("a"), zone="Mars/Olympus"), replace(student("b"), user_type="Pupils"), student("c")]
    with pytest.raises(BadInput) as caught:
        await audience.put_recipients(world.database, wrong, world.clock.now())
    assert str(caught.value).splitlines() == [
        "no time zone 'Mars/Olympus'; write an IANA name like Europe/Berlin",
        "no user type 'Pupils'; the catalogue has Employers, Students",
    ]
    assert await audience.recipients_after(world.database) == []


async def test_recipients_come_in_pages_in_the_order_of_their_ids(world: World) -> None:
    await world.know(*students(7), replace(student("zed"), user_type="Employers"))
    first = await audience.recipients_after(world.database, limit=5)
    rest = await audience.recipients_after(world.database, first[-1].id, limit=5)
    assert [known.id for known in first + rest] == [*ids(students(7)), "zed"]
    employers = await audience.recipients_after(world.database, user_type="Employers")
    assert [known.id for known in employers] == ["zed"]


async def test_subscribing_again_changes_nothing_and_what_is_muted_stays_so(world: World) -> None:
    bob = Subscription("bob", "post:1")
    assert await audience.subscribe(world.database, [bob, bob], world.clock.now()) == 1
    await audience.mute(world.database, [bob], world.clock.now())
    world.clock.advance(timedelta(days=1))
    assert await audience.subscribe(world.database, [bob], world.clock.now()) == 0
    (row,) = await world.rows("select * from hark.subscription")
    assert (row.muted, row.since) == (True, world.clock.now() - timedelta(days=1))


async def test_unmuting_and_unsubscribing_what_is_not_there_changes_nothing(world: World) -> None:
    bob = Subscription("bob", "post:1")
    assert await audience.mute(world.database, [bob], world.clock.now(), muted=False) == 0
    assert await audience.unsubscribe(world.database, [bob]) == 0
