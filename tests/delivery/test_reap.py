"""What dead workers held comes back; what was handed over does not, unless its reason asks for it."""

from __future__ import annotations

from datetime import timedelta

from hark.catalogue import Frequency
from hark.delivery.backoff import Backoff
from tests.delivery.holding import LEASE, claim, due, hand_over
from tests.world import MONDAY_NOON, World, reason

MICROSECOND = timedelta(microseconds=1)
ANSWER_WAIT = timedelta(minutes=15)
BILL = reason("mention", frequency=Frequency.IMMEDIATE, at_least_once=True)


async def test_a_lease_holds_to_its_end_and_then_another_may_try(world: World) -> None:
    await due(world, "bob")
    await claim(world, worker="web-2/411")
    world.clock.advance(LEASE)
    assert (await world.reap()).lost == 0
    world.clock.advance(MICROSECOND)
    assert (await world.reap()).lost == 1
    row = await world.delivery()
    assert (row.state, row.due_at, row.lease_until) == ("PENDING", world.clock.now(), None)
    assert row.why == "the lease of worker web-2/411 ran out"
    assert (await world.attempt()).accepted == 1


async def test_every_death_is_an_attempt_and_the_last_one_ends_it(world: World) -> None:
    await due(world, "bob")
    backoff = Backoff(max_attempts=3)
    for _ in range(3):
        assert len(await claim(world)) == 1
        world.clock.advance(2 * LEASE)
        await world.reap(backoff=backoff)
    row = await world.delivery()
    assert (row.state, row.outcome, row.attempt) == ("CANCELED", "none", 3)
    assert row.why == "the lease of worker w/1 ran out; attempts used up (3)"
    assert await claim(world) == []


async def test_what_was_handed_over_is_not_taken_back(world: World) -> None:
    await due(world, "bob")
    await hand_over(world)
    world.clock.advance(timedelta(days=365))
    done = await world.reap()
    assert (done.lost, done.unanswered) == (0, 0)
    assert (await world.delivery()).outcome == "unknown"


async def test_at_least_once_goes_back_when_no_answer_came_in_time(world: World) -> None:
    await world.install(BILL)
    await due(world, "bob")
    await hand_over(world)
    world.clock.advance(ANSWER_WAIT)
    assert (await world.reap(answer_wait=ANSWER_WAIT)).unanswered == 0
    world.clock.advance(MICROSECOND)
    assert (await world.reap(answer_wait=ANSWER_WAIT)).unanswered == 1
    row = await world.delivery()
    assert (row.state, row.outcome, row.due_at) == ("PENDING", "none", world.clock.now())
    assert (await world.attempt()).accepted == 1


async def test_at_least_once_ends_too_when_its_attempts_are_used_up(world: World) -> None:
    await world.install(BILL)
    await due(world, "bob")
    backoff = Backoff(max_attempts=2)
    for sent_again in (1, 0):
        await hand_over(world)
        world.clock.advance(2 * ANSWER_WAIT)
        assert (await world.reap(backoff=backoff)).unanswered == sent_again
    row = await world.delivery()
    assert (row.state, row.outcome) == ("SENT", "unknown")


async def test_a_reaper_takes_the_oldest_first_up_to_its_limit(world: World) -> None:
    await due(world, "a", "b", "c")
    for _ in range(3):
        await claim(world, limit=1)
        world.clock.advance(timedelta(seconds=1))
    world.clock.advance(2 * LEASE)
    assert (await world.reap(limit=2)).lost == 2
    left = [row.lease_until for row in await world.deliveries() if row.state == "SENDING"]
    assert left == [MONDAY_NOON + timedelta(seconds=2) + LEASE]
    assert (await world.reap(limit=2)).lost == 1
