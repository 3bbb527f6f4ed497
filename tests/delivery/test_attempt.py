"""One attempt from claim to settle: in order, outside transactions, and no neighbour pays for another's poison."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from hark.catalogue import Frequency, Templates
from hark.delivery.attempt import Attempted, Sender, Step
from hark.delivery.backoff import Backoff
from hark.delivery.handover import Outcome, Prepared
from hark.errors import Undeliverable
from hark.rendering import Message
from tests.delivery.holding import due
from tests.world import ACCEPTED, DEFERRED, MONDAY_NOON, Recorder, Row, World, reason

NAMES = [f"u{n:02}" for n in range(30)]
CATALOGUED = reason("mention", frequency=Frequency.IMMEDIATE)
COUNTING = replace(CATALOGUED, templates=Templates(text="{{ payload.n + 1 }}"))


@dataclass(slots=True)
class Scripted:
    """The recorder, with something of a test's own before it prepares and before it sends."""

    inner: Recorder
    before_prepare: Callable[[Message], object] = lambda _message: None
    before_send: Callable[[Sequence[Prepared]], object] = lambda _batch: None

    def prepare(self, message: Message) -> Prepared:
        self.before_prepare(message)
        return self.inner.prepare(message)

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        waits = self.before_send(batch)
        if asyncio.iscoroutine(waits):
            await waits
        return await self.inner.send(batch)

    async def close(self) -> None:
        pass


def scripted(world: World, *, passed: Callable[[Step, int], None] | None = None, **given: object) -> Sender:
    outbound = Scripted(world.recorder, **given)  # type: ignore[arg-type]
    sender = replace(world.sender(), outbound=outbound)
    return replace(sender, passed=passed) if passed else sender


async def places(world: World) -> Counter[tuple[str, str]]:
    return Counter((row.state, row.outcome) for row in await world.deliveries())


# The steps -----------------------------------------------------------------------------------------------------------


async def test_the_steps_come_in_their_order_and_each_is_announced(world: World) -> None:
    await due(world, "a", "b", "c")
    passed: list[tuple[str, int]] = []
    sender = scripted(world, passed=lambda step, count: passed.append((str(step), count)))
    await replace(sender, send_chunk=2).attempt_due()
    assert passed == [
        ("claim", 3),
        ("recheck", 3),
        ("render", 3),
        ("mark", 2),
        ("hand_over", 2),
        ("settle", 2),
        ("mark", 1),
        ("hand_over", 1),
        ("settle", 1),
    ]


async def test_the_history_of_a_delivery_that_went_well(world: World) -> None:
    await due(world, "bob")
    assert await world.attempt() == Attempted(claimed=1, accepted=1)
    assert [(line.to_state, line.to_outcome, line.why) for line in await world.history()] == [
        ("SENDING", "none", ""),
        ("SENT", "unknown", "its one item is still wanted"),
        ("SENT", "accepted", ACCEPTED.response),
    ]


async def test_when_the_provider_is_called_it_is_marked_and_no_transaction_is_open(world: World) -> None:
    await due(world, "a", "b")
    seen: list[object] = []

    async def look(_batch: object) -> None:
        seen.append(await places(world))
        open_ones = (
            "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null"
        )
        seen.append((await world.rows(open_ones))[0].count)

    await scripted(world, before_send=look).attempt_due()
    only_this_look = 1
    assert seen == [Counter({("SENT", "unknown"): 2}), only_this_look]


async def test_nothing_due_is_nothing_done(world: World) -> None:
    assert await world.attempt() == Attempted()


async def test_a_full_chunk_says_that_there_may_be_more(world: World) -> None:
    await due(world, "a", "b", "c")
    assert (await world.attempt(claim_chunk=3)).more
    await due(world, "a", "b", "c")
    assert not (await world.attempt(claim_chunk=4)).more


async def test_a_worker_that_stops_gives_back_what_it_has_not_marked(world: World) -> None:
    await due(world, *NAMES)
    handed: list[int] = []
    sender = scripted(world, before_send=lambda batch: handed.append(len(batch)))
    done = await replace(sender, send_chunk=10, stopping=lambda: bool(handed)).attempt_due()
    assert (done.accepted, done.given_back) == (10, 20)
    assert (await world.attempt()).accepted == 20
    assert len({mail.address for mail in world.recorder.accepted}) == 30


# Poison --------------------------------------------------------------------------------------------------------------


async def the_others_are_sent(world: World, done: Attempted) -> None:
    assert (done.claimed, done.accepted) == (30, 29)
    assert {mail.address for mail in world.recorder.accepted} == {
        f"{name}@school.example" for name in NAMES if name != "u17"
    }


async def poisoned_row(world: World) -> Row:
    return next(row for row in await world.deliveries() if row.recipient_id == "u17")


async def test_a_poisoned_payload_does_not_hold_up_its_neighbours(world: World) -> None:
    await world.install(COUNTING)
    await world.know(*NAMES)
    for name in NAMES:
        await world.publish("mention", to=[name], payload={"n": "poison" if name == "u17" else 1})
    await world.fan_out()
    done = await world.attempt()
    await the_others_are_sent(world, done)
    assert done.given_back == 1
    row = await poisoned_row(world)
    assert (row.state, row.attempt) == ("PENDING", 1)
    assert row.why.startswith("rendering failed: ")
    assert row.due_at > MONDAY_NOON


async def test_a_payload_that_python_cannot_read_does_not_hold_up_its_neighbours(world: World) -> None:
    await due(world, *NAMES[:17], *NAMES[18:])
    await world.know("u17")
    await world.publish("mention", to=["u17"])
    await world.execute("update hark.event set payload = ('{\"n\": 1' || repeat('0', 5000) || '}')::jsonb where id = 2")
    await world.fan_out()
    done = await world.attempt()
    assert done.claimed == 30
    assert done.accepted + done.given_back == 30
    assert done.accepted >= 29


async def test_a_poisoned_address_does_not_hold_up_its_neighbours(world: World) -> None:
    def refuse(message: Message) -> None:
        if message.recipient_id == "u17":
            raise Undeliverable("the address has a line break")

    await due(world, *NAMES)
    done = await scripted(world, before_prepare=refuse).attempt_due()
    await the_others_are_sent(world, done)
    assert done.canceled == 1
    row = await poisoned_row(world)
    assert (row.state, row.outcome) == ("CANCELED", "none")
    assert row.why == "cannot be sent as it is: the address has a line break"


async def test_a_channel_that_breaks_on_one_message_does_not_hold_up_its_neighbours(world: World) -> None:
    def break_down(message: Message) -> None:
        if message.recipient_id == "u17":
            raise RuntimeError("a fault of the channel's own")

    await due(world, *NAMES)
    done = await scripted(world, before_prepare=break_down).attempt_due()
    await the_others_are_sent(world, done)
    assert done.given_back == 1
    row = await poisoned_row(world)
    assert row.state == "PENDING"
    assert "RuntimeError" in row.why


async def test_poison_ends_when_its_attempts_are_used_up(world: World) -> None:
    await world.install(COUNTING)
    await world.know("bob")
    await world.publish("mention", to=["bob"], payload={"n": "poison"})
    await world.fan_out()
    backoff = Backoff(max_attempts=3)
    for _ in range(3):
        assert (await world.attempt(backoff=backoff)).claimed == 1
        world.clock.advance(timedelta(days=1))
    assert (await world.attempt(backoff=backoff)).claimed == 0
    row = await world.delivery()
    assert (row.state, row.outcome) == ("CANCELED", "none")
    assert row.why.startswith("attempts used up (3): rendering failed: ")
    assert world.recorder.handed_over == []


# The provider is away ------------------------------------------------------------------------------------------------


async def test_six_hours_without_a_provider_lose_nothing_and_double_nothing(world: World) -> None:
    """Bounded attempts meanwhile; once it is back, everyone has their mail, once."""
    back_at = MONDAY_NOON + timedelta(hours=6)
    world.recorder.answer = lambda _: ACCEPTED if world.clock.now() >= back_at else DEFERRED
    await due(world, *NAMES[:12])
    await world.run_until(back_at)
    tries = Counter(mail.delivery_id for mail in world.recorder.handed_over)
    assert len(tries) == 12
    assert all(6 <= count <= 14 for count in tries.values())
    assert world.recorder.accepted == []

    await world.run_until(back_at + timedelta(hours=3))
    assert Counter(mail.address for mail in world.recorder.accepted) == Counter(
        [f"{name}@school.example" for name in NAMES[:12]]
    )
    assert await places(world) == Counter({("SENT", "accepted"): 12})


async def test_a_provider_that_never_comes_back_ends_it_with_all_attempts_told(world: World) -> None:
    world.recorder.answer = lambda _: DEFERRED
    await due(world, "bob")
    await world.run_until(MONDAY_NOON + timedelta(days=30))
    row = await world.delivery()
    assert (row.state, row.outcome, row.attempt) == ("CANCELED", "refused", Backoff().max_attempts)
    assert row.why == f"attempts used up (25): {DEFERRED.response}"
    assert len(world.recorder.handed_over) == 25


async def test_what_is_new_during_an_outage_is_not_lost_either(world: World) -> None:
    back_at = MONDAY_NOON + timedelta(hours=2)
    world.recorder.answer = lambda _: ACCEPTED if world.clock.now() >= back_at else DEFERRED
    for minutes in range(0, 120, 30):
        await world.run_until(MONDAY_NOON + timedelta(minutes=minutes))
        await due(world, "bob", reason="comment")
    await world.run_until(back_at + timedelta(hours=6))
    held = await world.rows("select sum(items) as items from hark.delivery where outcome = 'accepted'")
    assert held[0].items == 4
    assert len({mail.delivery_id for mail in world.recorder.accepted}) == len(world.recorder.accepted)


async def test_a_channel_that_fails_altogether_leaves_unknown_what_it_had_and_loses_nothing_else(world: World) -> None:
    def fail(_batch: object) -> None:
        raise ConnectionError("the channel itself broke")

    await due(world, *NAMES)
    with pytest.raises(ConnectionError):
        await replace(scripted(world, before_send=fail), send_chunk=10).attempt_due()
    assert await places(world) == Counter({("SENT", "unknown"): 10, ("SENDING", "none"): 20})
    world.clock.advance(timedelta(minutes=2))
    await world.reap()
    assert (await world.attempt()).accepted == 20
    assert await places(world) == Counter({("SENT", "unknown"): 10, ("SENT", "accepted"): 20})


# Several workers -----------------------------------------------------------------------------------------------------


async def test_four_workers_send_each_delivery_once(world: World) -> None:
    names = [f"u{n:03}" for n in range(200)]
    await due(world, *names)

    async def work(number: int) -> None:
        sender = world.sender(worker=f"w/{number}", claim_chunk=9, send_chunk=4)
        while (await sender.attempt_due()).claimed:
            pass

    await asyncio.gather(*[work(number) for number in range(4)])
    assert Counter(mail.address for mail in world.recorder.handed_over) == Counter(
        [f"{name}@school.example" for name in names]
    )
    assert await places(world) == Counter({("SENT", "accepted"): 200})


async def test_a_worker_that_stalls_past_its_lease_hands_over_nothing(world: World) -> None:
    """It stalls after rendering; another takes over; when it goes on, its mark finds nothing."""
    await due(world, *NAMES)
    first = world.sender(worker="first")
    ready, _ = first._render(await first._recheck(await first._claim()))

    world.clock.advance(timedelta(minutes=2))
    assert (await world.reap()).lost == 30
    assert (await world.attempt(worker="second")).accepted == 30

    assert await first._mark(ready, world.clock.now()) == ([], 0)
    assert len(world.recorder.handed_over) == 30
