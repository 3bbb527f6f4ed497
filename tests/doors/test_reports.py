"""The pipeline at a glance, with advice that fits; deliveries in pages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark import audience
from hark.audience import Subscription
from hark.catalogue import Channel
from hark.delivery.claim import claim_due
from hark.delivery.states import Result, State
from hark.doors import reports
from hark.doors.reports import BOUND, Count, DeliveryFilter, Pipeline, advice, applied_migrations, deliveries, pipeline
from hark.postgres.database import open_database
from hark.postgres.migrate import migrations
from tests.servers import Postgres
from tests.world import ACCEPTED, DEFERRED, MAX_STALE, REFUSED, UNKNOWN, World


async def seen(world: World) -> Pipeline:
    return await pipeline(world.database, world.clock.now())


async def test_a_new_database_says_how_to_begin(world: World) -> None:
    assert advice(await seen(world)) == ["nobody is known yet: hark recipients import people.csv"]
    await world.know("bob")
    assert advice(await seen(world)) == ["nothing has happened yet: hark publish REASON --to WHOM"]
    await world.execute("update hark.reason set retired = true")
    assert "hark migrate --catalogue" in advice(await seen(world))[0]


async def test_each_stage_is_counted(world: World) -> None:
    await world.know("bob", "carol")
    await world.follow("post:1", "bob", "carol")
    await audience.mute(world.database, [Subscription("carol", "post:1")], world.clock.now())
    await world.choose("carol", "news", channels=[Channel.EMAIL])
    await world.publish(to=["bob"])
    await world.publish(to=["bob", "carol"])
    await world.publish("mention", to=["carol"])
    at_first = await seen(world)
    assert (at_first.events_waiting.counted, at_first.waiting_since) == (3, world.clock.now())
    await world.fan_out()
    then = await seen(world)
    counts = (then.events, then.recipients, then.subscriptions, then.preferences, then.notifications, then.deliveries)
    assert [count.counted for count in counts] == [3, 2, 2, 1, 4, 3]
    assert (then.reasons, then.gathering.counted, then.due.counted, then.events_waiting.counted) == (4, 2, 1, 0)
    await world.drain()
    assert (await seen(world)).due.counted == 0


async def test_work_that_nobody_does(world: World) -> None:
    await world.know("bob")
    await world.publish(to=["bob"])
    world.clock.advance(timedelta(minutes=2))
    assert "1 event is not fanned out yet: does a worker run?" in advice(await seen(world))[0]
    await world.fan_out()
    world.clock.advance(MAX_STALE)
    assert "1 message is due and unclaimed: does a worker run?" in advice(await seen(world))[0]
    await claim_due(world.database, Channel.EMAIL, world.clock.now(), worker="w", lease=timedelta(minutes=1), limit=9)
    assert (await seen(world)).sending.counted == 1
    world.clock.advance(timedelta(minutes=2))
    assert "held by a worker whose lease ran out" in advice(await seen(world))[0]


async def test_what_failed_is_pointed_at(world: World) -> None:
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    world.recorder.answer = lambda _prepared: DEFERRED
    await world.drain()
    assert advice(await seen(world)) == ["1 message is to be attempted again: hark deliveries --state PENDING says why"]
    world.recorder.answer = lambda _prepared: UNKNOWN
    world.clock.advance(timedelta(minutes=1))
    await world.drain()
    assert "all is quiet" in advice(await seen(world))[0]
    world.clock.advance(reports.ANSWER_WAIT + timedelta(seconds=1))
    assert advice(await seen(world)) == ["1 message is without an answer for good: hark deliveries --outcome unknown"]


async def test_all_is_well_while_batches_gather(world: World) -> None:
    await world.know("bob")
    await world.publish(to=["bob"])
    await world.fan_out()
    (line,) = advice(await seen(world))
    assert line.startswith("all is well; the next message is due at ")


async def test_counts_stop(world: World) -> None:
    await world.execute(
        "insert into hark.event (reason, occurred_at, published_at) select 'comment', now(), now()"
        f" from generate_series(1, {BOUND + 50})"
    )
    assert (await seen(world)).events.counted == BOUND + 1
    assert str((await seen(world)).events_waiting) == "10,000+"
    await world.execute("analyze hark.event")
    assert str((await seen(world)).events) == "10,000+ (about 10,050)"


@pytest.mark.parametrize(("count", "said"), [(Count(0), "0"), (Count(BOUND), "10,000"), (Count(1234), "1,234")])
def test_small_counts_are_exact(count: Count, said: str) -> None:
    assert str(count) == said


async def test_pages_of_deliveries(world: World) -> None:
    names = [f"s{number}" for number in range(5)]
    await world.know(*names)
    for name in names:
        await world.publish("mention", to=[name])
    await world.fan_out()
    page = await deliveries(world.database, DeliveryFilter(), limit=3)
    rest = await deliveries(world.database, DeliveryFilter(), before=page[-1].id, limit=3)
    assert [line.recipient_id for line in [*page, *rest]] == names[::-1]


async def test_filtered_deliveries(world: World) -> None:
    answers = {"s0": ACCEPTED, "s1": REFUSED, "s2": UNKNOWN, "s3": DEFERRED}
    await world.know(*answers)
    for name in answers:
        await world.publish("mention", to=[name])
    await world.fan_out()
    world.recorder.answer = lambda prepared: answers[prepared.address.partition("@")[0]]
    await world.attempt()
    world.clock.advance(timedelta(days=1))
    await world.publish(to=["s0"])
    await world.fan_out()

    async def found(which: DeliveryFilter) -> list[str]:
        return [line.recipient_id for line in await deliveries(world.database, which)]

    assert await found(DeliveryFilter(state=State.PENDING)) == ["s0", "s3"]
    assert await found(DeliveryFilter(state=State.SENT)) == ["s2", "s0"]
    assert await found(DeliveryFilter(outcome=Result.REFUSED)) == ["s1"]
    assert await found(DeliveryFilter(outcome=Result.UNKNOWN)) == ["s2"]
    assert await found(DeliveryFilter(recipient="s0")) == ["s0", "s0"]
    assert await found(DeliveryFilter(since=world.clock.now())) == ["s0"]
    assert await found(DeliveryFilter(recipient="s0", state=State.CANCELED)) == []


async def test_which_migrations_a_database_has(world: World, postgres: Postgres) -> None:
    assert await applied_migrations(world.database) == {migration.name for migration in migrations()}
    name = postgres.create_database()
    async with open_database(postgres.dsn(name)) as empty:
        assert await applied_migrations(empty) == set()
    postgres.drop_database(name)
