"""Rates: hard in every period, shared by all workers or kept by one process, and free of charge where none is set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from hark.catalogue import Channel
from hark.delivery.attempt import Sender
from hark.delivery.claim import Claimed, claim_due, next_free
from hark.delivery.gcra import LONG_AGO, Gcra
from hark.delivery.limits import Limits, OwnRate
from hark.doors import reports
from hark.doors.explain import explain
from hark.durations import parse_rate
from hark.postgres.database import Database, open_database
from hark.worker import Pace, Progress, Worker
from tests.delivery.claiming import claim_together
from tests.delivery.holding import LEASE, due
from tests.delivery.test_gcra import most_in_any
from tests.world import DEFERRED, MONDAY_NOON, World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
FORTY = Gcra.of(parse_rate("40/m"))
NAMES = [f"u{number:03}" for number in range(120)]


def shared(world: World, rate: str, **given: int) -> Sender:
    return replace(world.sender(**given), limits=Limits(shared=Gcra.of(parse_rate(rate))))  # type: ignore[arg-type]


def own(world: World, rate: str) -> Sender:
    return replace(world.sender(), limits=Limits(own=OwnRate(Gcra.of(parse_rate(rate)), world.clock)))


async def claim(world: World, rate: Gcra, *, limit: int = 100, database: Database | None = None) -> list[Claimed]:
    return await claim_due(
        database or world.database,
        Channel.EMAIL,
        world.clock.now(),
        worker="w/1",
        lease=LEASE,
        limit=limit,
        rate=rate,
    )


async def tat(world: World) -> datetime:
    ((found,),) = await world.rows("select tat from hark.rate_limit where name = 'email'")
    assert isinstance(found, datetime)
    return found


async def claimed_at(world: World) -> list[datetime]:
    return [line.at for line in await world.history() if line.to_state == "SENDING"]


async def run(world: World, sender: Sender, end: datetime) -> None:
    """Attempt, moving the clock to when the sender says that something may be attempted next."""
    while True:
        if (await sender.attempt_due()).claimed:
            continue
        next_due = await sender.next_due()
        if next_due is None or next_due > end:
            return
        assert next_due > world.clock.now()
        world.clock.move_to(next_due)


# Shared by all workers -----------------------------------------------------------------------------------------------


async def test_three_processes_together_keep_to_the_rate_and_make_full_use_of_it(world: World) -> None:
    await due(world, *NAMES)
    moments = [MONDAY_NOON + number * SECOND / 2 for number in range(240)]
    await asyncio.to_thread(claim_together, world.dsn, FORTY, moments, 3)
    went = await claimed_at(world)
    assert most_in_any(MINUTE, went) <= 40
    assert went == by_one(moments)
    assert len({row.worker for row in await world.deliveries() if row.worker}) > 1


def by_one(moments: Sequence[datetime]) -> list[datetime]:
    """When one worker alone would have claimed."""
    left, went = LONG_AGO, []
    for now in moments:
        free = FORTY.free(left, now)
        left = FORTY.after(left, now, free) if free else left
        went += [now] * free
    return went


async def test_eight_at_once_get_one_burst_between_them(world: World) -> None:
    await due(world, *NAMES)
    rate = Gcra.of(parse_rate("100/s"))
    shares = await asyncio.gather(*[claim(world, rate) for _ in range(8)])
    assert sum(len(share) for share in shares) == rate.burst == 5


async def test_what_was_not_there_to_be_claimed_does_not_count(world: World) -> None:
    await due(world, *NAMES[:3])
    rate = Gcra.of(parse_rate("100/s"))
    assert len(await claim(world, rate)) == 3
    assert await tat(world) == MONDAY_NOON + 3 * rate.interval
    assert await claim(world, rate) == []
    assert await tat(world) == MONDAY_NOON + 3 * rate.interval


async def test_what_another_holds_does_not_count(world: World) -> None:
    await due(world, "bob", "eve")
    async with await psycopg.AsyncConnection.connect(world.dsn) as other:
        await other.execute("select from hark.delivery where recipient_id = 'bob' for update")
        assert [each.recipient_id for each in await claim(world, FORTY)] == ["eve"]
    assert [each.recipient_id for each in await claim(world, FORTY)] == ["bob"]


async def test_a_claim_that_fails_counts_nothing(world: World) -> None:
    await due(world, "bob")
    await world.execute(
        "create function hark.no() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        " create trigger no before update on hark.delivery for each row execute function hark.no()"
    )
    with pytest.raises(psycopg.errors.RaiseException):
        await claim(world, FORTY)
    assert await tat(world) == LONG_AGO


async def test_the_limit_of_a_chunk_holds_too(world: World) -> None:
    await due(world, *NAMES[:10])
    assert len(await claim(world, Gcra.of(parse_rate("100/s")), limit=2)) == 2


async def test_each_channel_has_its_own_rate(world: World) -> None:
    await due(world, *NAMES[:3])
    assert len(await claim(world, FORTY)) == 2
    assert await next_free(world.database, Channel.PUSH, FORTY) < MONDAY_NOON
    assert await next_free(world.database, Channel.EMAIL, FORTY) == MONDAY_NOON + FORTY.interval


async def test_a_row_that_somebody_deleted_comes_back(world: World) -> None:
    await due(world, *NAMES[:5])
    await world.execute("delete from hark.rate_limit")
    assert await next_free(world.database, Channel.EMAIL, FORTY) < MONDAY_NOON
    assert len(await claim(world, FORTY)) == 2
    assert await claim(world, FORTY) == []


async def test_database_and_python_reckon_alike(world: World) -> None:
    """Through odd intervals, to the microsecond."""
    await due(world, *NAMES)
    rate = Gcra(timedelta(microseconds=333_333), 4)
    left = LONG_AGO
    for step in (0, 1, 333_332, 333_333, 333_334, 5, 1_333_331, 1, 999_999, 86_400_000_000, 7):
        world.clock.advance(timedelta(microseconds=step))
        free = rate.free(left, world.clock.now())
        assert len(await claim(world, rate)) == free
        left = rate.after(left, world.clock.now(), free) if free else left
        assert await tat(world) == left


async def test_the_database_reckons_days_of_24_hours_in_any_zone(world: World) -> None:
    await due(world, "bob")
    world.clock.move_to(datetime.fromisoformat("2026-03-28T12:00:00+01:00"))  # the day before summer time
    async with open_database(world.dsn, size=1, settings={"timezone": "Europe/Berlin"}) as database:
        assert len(await claim(world, Gcra.of(parse_rate("1/d")), database=database)) == 1
    assert await tat(world) == world.clock.now() + timedelta(hours=24)


# A sender that keeps to it -------------------------------------------------------------------------------------------


async def test_everything_is_sent_in_the_end_and_no_faster(world: World) -> None:
    await due(world, *NAMES[:30])
    await run(world, shared(world, "10/m"), MONDAY_NOON + timedelta(hours=1))
    sent = [mail.at for mail in world.recorder.accepted]
    assert sent == [MONDAY_NOON + number * timedelta(seconds=6) for number in range(30)]


async def test_attempts_count_whatever_became_of_them(world: World) -> None:
    """As in Open Discussions, whose limit was on attempts."""
    world.recorder.answer = lambda _prepared: DEFERRED
    await due(world, "bob", "eve")
    sender = shared(world, "2/h")
    await sender.attempt_due()
    assert (await sender.attempt_due()).claimed == 0
    assert await sender.next_due() == MONDAY_NOON + timedelta(minutes=30)


async def test_an_idle_loop_sleeps_until_the_next_may_go(world: World) -> None:
    await due(world, "bob", "eve")
    sender = shared(world, "10/m")
    await sender.attempt_due()
    worker = Worker(world.database, world.clock, [sender])
    progress = await worker._deliver(sender)()
    assert progress == Progress(more=False, next_due=MONDAY_NOON + timedelta(seconds=6))
    assert Pace(period=MINUTE).pause(progress, 20, world.clock.now()) == 6.0


async def test_what_is_not_due_yet_is_waited_for_not_the_rate(world: World) -> None:
    await due(world, "bob", reason="comment")
    assert await shared(world, "10/m").next_due() == (await world.delivery()).due_at


async def test_nothing_waits_for_nothing(world: World) -> None:
    assert await shared(world, "10/m").next_due() is None


# Of one process ------------------------------------------------------------------------------------------------------


async def test_the_senders_of_a_process_share_its_rate(world: World) -> None:
    await due(world, *NAMES)
    first = own(world, "100/s")
    second = replace(first, worker="test/2")
    done = await asyncio.gather(*[sender.attempt_due() for sender in (first, second) * 4])
    assert sum(each.claimed for each in done) == 5
    assert await tat(world) == LONG_AGO


async def test_a_process_keeps_to_its_own_rate(world: World) -> None:
    await due(world, *NAMES[:5])
    await run(world, own(world, "2/h"), MONDAY_NOON + timedelta(days=1))
    assert [mail.at - MONDAY_NOON for mail in world.recorder.accepted] == [
        number * timedelta(minutes=30) for number in range(5)
    ]


async def test_the_stricter_of_both_rates_holds(world: World) -> None:
    await due(world, *NAMES[:10])
    limits = Limits(own=OwnRate(Gcra.of(parse_rate("60/h")), world.clock), shared=Gcra.of(parse_rate("2/h")))
    await run(world, replace(world.sender(), limits=limits), MONDAY_NOON + timedelta(hours=1))
    assert len(world.recorder.accepted) == 3


async def test_without_limits_nothing_is_written_for_them(world: World) -> None:
    await due(world, *NAMES[:10])
    await world.drain()
    assert len(world.recorder.accepted) == 10
    assert await tat(world) == LONG_AGO
    assert await world.rows("select from hark.recipient_rate") == []


# What is said of it --------------------------------------------------------------------------------------------------


async def test_what_is_due_and_waits_for_the_rate_says_so(world: World) -> None:
    await due(world, "bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    await shared(world, "1/h").attempt_due()
    world.clock.advance(5 * MINUTE)
    told = await explain(world.database, "bob", event, world.clock.now())
    assert told.steps[-1].why == "due since 12:00:00, and what is due goes no faster than the rate limit lets it"
    seen = await reports.pipeline(world.database, world.clock.now())
    assert "1 message is due and unclaimed: the rate limit lets no more go at once" in reports.advice(seen)
    world.clock.advance(timedelta(hours=1))
    later = await explain(world.database, "bob", event, world.clock.now())
    assert later.steps[-1].why.endswith("no worker has claimed it; is one running? (hark worker)")
