"""The cap of a recipient: hard, for activity only, and nothing over it is lost."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.catalogue import Category, Frequency
from hark.delivery.attempt import Sender
from hark.delivery.backoff import Backoff
from hark.delivery.cap import Cap, mark_within
from hark.delivery.limits import Limits
from hark.delivery.recheck import recheck
from hark.delivery.states import State
from hark.doors.explain import Telling, What, explain
from hark.durations import parse_rate
from hark.postgres.database import open_database
from tests.delivery.holding import claim, due, hold
from tests.delivery.test_gcra import most_in_any
from tests.world import (
    ACCEPTED,
    BAD_ADDRESS,
    DEFERRED,
    MONDAY_NOON,
    REFUSED,
    UNKNOWN,
    World,
    reason,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MENTION = reason("mention", frequency=Frequency.IMMEDIATE)
RESET = replace(reason("password_reset", frequency=Frequency.IMMEDIATE), category=Category.TRANSACTIONAL)
RECEIPT = replace(reason("receipt", group="comment"), category=Category.TRANSACTIONAL)
REASONS = (MENTION, RESET, RECEIPT, reason("comment"))


def capped(world: World, text: str, **given: object) -> Sender:
    cap = Cap.of(parse_rate(text), world.catalogue)
    return replace(world.sender(**given), limits=Limits(cap=cap))  # type: ignore[arg-type]


async def mentioned(world: World, times: int, *names: str, reason: str = "mention") -> None:
    for _ in range(times):
        await due(world, *(names or ("bob",)), reason=reason)


async def run(world: World, sender: Sender, end: datetime) -> None:
    while True:
        if (await sender.attempt_due()).claimed:
            continue
        next_due = await sender.next_due()
        if next_due is None or next_due > end:
            world.clock.move_to(end)
            return
        world.clock.move_to(next_due)


async def states(world: World) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for row in await world.deliveries():
        found[row.state] += 1
    return dict(found)


# What goes and what waits --------------------------------------------------------------------------------------------


async def test_what_is_over_the_cap_waits_until_there_is_room_and_is_not_lost(world: World) -> None:
    await mentioned(world, 25)
    sender = capped(world, "20/d")
    done = await sender.attempt_due()
    assert (done.claimed, done.accepted, done.given_back) == (25, 20, 5)
    assert await states(world) == {"SENT": 20, "PENDING": 5}
    assert await sender.next_due() == MONDAY_NOON + DAY

    await run(world, sender, MONDAY_NOON + 2 * DAY)
    assert [mail.at for mail in world.recorder.accepted] == [MONDAY_NOON] * 20 + [MONDAY_NOON + DAY] * 5
    assert await states(world) == {"SENT": 25}


async def test_it_says_until_when_and_why(world: World) -> None:
    await mentioned(world, 2)
    await capped(world, "1/h").attempt_due()
    row = (await world.deliveries())[1]
    assert (row.state, row.due_at, row.why) == ("PENDING", MONDAY_NOON + HOUR, "the cap of 1 an hour is reached")
    told = await explain(world.database, "bob", row.first_event, world.clock.now())
    assert told.telling is Telling.WAITING
    assert [(step.at, step.why) for step in told.steps if step.what is What.WAITS] == [
        (MONDAY_NOON + HOUR, "until 13:00:00: the cap of 1 an hour is reached")
    ]
    assert [step.why for step in told.steps if step.what is What.GIVEN_BACK] == ["the cap of 1 an hour is reached"]


async def test_each_that_waits_is_due_when_there_will_be_room_for_it(world: World) -> None:
    sender = capped(world, "3/h")
    for minutes in (0, 10, 20):
        world.clock.move_to(MONDAY_NOON + timedelta(minutes=minutes))
        await mentioned(world, 1)
        await sender.attempt_due()
    world.clock.move_to(MONDAY_NOON + timedelta(minutes=30))
    await mentioned(world, 7)
    await sender.attempt_due()
    waiting = [row.due_at - MONDAY_NOON for row in await world.deliveries() if row.state == "PENDING"]
    assert [late // timedelta(minutes=1) for late in waiting] == [60, 70, 80, 120, 130, 140, 180]


async def test_the_longest_due_goes_first(world: World) -> None:
    await world.know("bob")
    for minutes in (3, 1, 2):
        await world.publish("mention", to=["bob"], at=MONDAY_NOON - timedelta(minutes=minutes))
    await world.fan_out()
    await capped(world, "1/h").attempt_due()
    (sent,) = [row for row in await world.deliveries() if row.state == "SENT"]
    assert sent.id == min(row.id for row in await world.deliveries())


async def test_one_recipients_cap_is_no_other_ones(world: World) -> None:
    await mentioned(world, 3, "bob", "eve", "kim")
    await mentioned(world, 1, "joe")
    done = await capped(world, "2/d").attempt_due()
    assert (done.accepted, done.given_back) == (7, 3)


async def test_a_cap_that_was_lowered_lets_none_go_until_it_is_kept(world: World) -> None:
    await mentioned(world, 5)
    await capped(world, "5/d").attempt_due()
    world.clock.advance(HOUR)
    await mentioned(world, 1)
    done = await capped(world, "2/d").attempt_due()
    assert (done.accepted, done.given_back) == (0, 1)
    assert (await world.deliveries())[-1].due_at == MONDAY_NOON + DAY


async def test_the_row_of_a_recipient_does_not_grow(world: World) -> None:
    sender = capped(world, "3/h")
    for _ in range(10):
        await mentioned(world, 3)
        await sender.attempt_due()
        world.clock.advance(HOUR)
    ((recent,),) = await world.rows("select recent from hark.recipient_rate")
    assert len(recent) == 3
    assert len(world.recorder.accepted) == 30


# Hard ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_no_day_wherever_it_begins_has_more(world: World, seed: int) -> None:
    """Some are deferred, refused or never answered; whatever may have arrived counts."""
    chance = random.Random(seed)
    may_have_arrived: dict[str, list[datetime]] = defaultdict(list)
    sender = capped(world, "4/d", send_chunk=chance.choice([1, 3, 50]))
    world.recorder.answer = lambda _prepared: chance.choices([ACCEPTED, DEFERRED, UNKNOWN, REFUSED], [6, 2, 1, 1])[0]
    for _ in range(30):
        await due(world, *chance.sample(["bob", "eve", "kim"], chance.randint(1, 3)), reason="mention")
        await run(world, sender, world.clock.now() + timedelta(minutes=chance.randint(0, 400)))
    world.recorder.answer = lambda _prepared: ACCEPTED
    await run(world, sender, world.clock.now() + 40 * DAY)

    for line in await world.history():
        if line.to_state == "SENT" and line.to_outcome == "unknown":
            may_have_arrived[line.recipient_id].append(line.at)
        elif line.from_state == "SENT" and line.to_state in ("PENDING", "CANCELED"):
            may_have_arrived[line.recipient_id].remove(line.at)
    assert all(most_in_any(DAY, moments) <= 4 for moments in may_have_arrived.values())
    assert set(await states(world)) <= {"SENT", "CANCELED"}
    assert {row.outcome for row in await world.deliveries()} <= {"accepted", "unknown", "refused"}


async def test_many_workers_at_once_let_no_more_through(world: World) -> None:
    """Each holds a share of the same two people's messages and marks it at the same moment."""
    await mentioned(world, 40, "bob", "eve")
    cap = Cap(parse_rate("7/d"))
    shares = [await recheck(world.database, await claim(world, worker=f"w/{n}", limit=10)) for n in range(8)]
    async with open_database(world.dsn, size=8) as database:
        done = await asyncio.gather(*[mark_within(database, share, cap, world.clock.now()) for share in shares])
    assert sum(len(marked) for marked, _ in done) == 14
    assert sum(held_back for _, held_back in done) == 66
    sent = [row.recipient_id for row in await world.deliveries() if row.state == "SENT"]
    assert (sent.count("bob"), sent.count("eve")) == (7, 7)


async def test_a_worker_that_lost_its_lease_marks_and_counts_nothing(world: World) -> None:
    await mentioned(world, 2)
    lost = await hold(world)
    world.clock.advance(timedelta(minutes=2))
    await world.reap()
    assert await mark_within(world.database, lost, Cap(parse_rate("5/d")), world.clock.now()) == (set(), 0)
    assert await world.rows("select from hark.recipient_rate") == []


# What counts ---------------------------------------------------------------------------------------------------------


async def test_transactional_passes_and_does_not_count(world: World) -> None:
    await world.install(*REASONS)
    await mentioned(world, 3)
    await mentioned(world, 4, reason="password_reset")
    sender = capped(world, "2/d")
    done = await sender.attempt_due()
    assert (done.accepted, done.given_back) == (6, 1)
    ((recent,),) = await world.rows("select recent from hark.recipient_rate")
    assert len(recent) == 2


@pytest.mark.parametrize(
    ("reasons", "counts"),
    [(["receipt"], False), (["comment"], True), (["receipt", "comment"], True), (["receipt", "receipt"], False)],
)
async def test_a_mixed_message_counts_if_anything_in_it_does(world: World, reasons: list[str], counts: bool) -> None:
    await world.install(*REASONS)
    await world.know("bob")
    for name in reasons:
        await world.publish(name, to=["bob"])
    await world.fan_out()
    sender = capped(world, "1/d")
    await run(world, sender, MONDAY_NOON + HOUR)
    assert len(world.recorder.accepted) == 1
    assert bool(await world.rows("select from hark.recipient_rate")) is counts


@given(st.lists(st.sampled_from(["reset", "receipt", "comment", "like"])))
def test_only_what_is_transactional_throughout_passes(reasons: list[str]) -> None:
    cap = Cap(parse_rate("1/d"), frozenset(["reset", "receipt"]))
    assert cap.counts(reasons) == (not reasons or any(each in ("comment", "like") for each in reasons))


@pytest.mark.parametrize(
    ("outcome", "counts"), [(ACCEPTED, 1), (UNKNOWN, 1), (DEFERRED, 0), (REFUSED, 0), (BAD_ADDRESS, 0)]
)
async def test_what_was_certainly_not_taken_does_not_count(world: World, outcome: object, counts: int) -> None:
    world.recorder.answer = lambda _prepared: outcome  # type: ignore[assignment,return-value]
    await mentioned(world, 1)
    await capped(world, "3/d").attempt_due()
    ((recent,),) = await world.rows("select recent from hark.recipient_rate")
    assert len(recent) == counts


async def test_of_several_marked_together_only_the_untaken_leave(world: World) -> None:
    answers = iter([ACCEPTED, DEFERRED, ACCEPTED, REFUSED, UNKNOWN])
    world.recorder.answer = lambda _prepared: next(answers)
    await mentioned(world, 5)
    await capped(world, "9/d").attempt_due()
    ((recent,),) = await world.rows("select recent from hark.recipient_rate")
    assert recent == [MONDAY_NOON] * 3


async def test_a_night_without_a_provider_uses_up_no_cap(world: World) -> None:
    back_at = MONDAY_NOON + 6 * HOUR
    world.recorder.answer = lambda _prepared: ACCEPTED if world.clock.now() >= back_at else DEFERRED
    await mentioned(world, 3)
    await run(world, capped(world, "3/d"), back_at + 3 * HOUR)
    assert len(world.recorder.accepted) == 3


# Attempts ------------------------------------------------------------------------------------------------------------


async def test_waiting_for_the_cap_uses_up_no_attempts(world: World) -> None:
    await mentioned(world, 30)
    sender = capped(world, "1/h", backoff=Backoff(max_attempts=2))
    for _ in range(40):  # all that wait are tried each hour, however often
        await world.execute(
            "update hark.delivery set due_at = least(due_at, %s) where state = 'PENDING'", world.clock.now()
        )
        await run(world, sender, world.clock.now() + HOUR)
    assert await states(world) == {"SENT": 30}
    ((most,),) = await world.rows("select max(held_back) from hark.delivery")
    assert most > 10


async def test_the_attempts_that_count_still_end(world: World) -> None:
    await mentioned(world, 2)
    world.recorder.answer = lambda _prepared: ACCEPTED
    sender = capped(world, "1/h", backoff=Backoff(max_attempts=3))
    await sender.attempt_due()
    world.recorder.answer = lambda _prepared: DEFERRED
    await run(world, sender, MONDAY_NOON + DAY)
    row = (await world.deliveries())[1]
    assert (row.state, row.why) == ("CANCELED", f"attempts used up (3): {DEFERRED.response}")
    assert row.attempt == 4


async def test_a_dead_worker_counts_the_same_attempts(world: World) -> None:
    await mentioned(world, 2)
    await capped(world, "1/h").attempt_due()
    world.clock.advance(HOUR)
    await claim(world)
    world.clock.advance(timedelta(minutes=2))
    await world.reap(backoff=Backoff(max_attempts=2))
    row = (await world.deliveries())[1]
    assert (row.state, row.attempt) == (State.PENDING, 2)


async def test_the_history_has_each_step(world: World) -> None:
    await mentioned(world, 2)
    await run(world, capped(world, "1/h"), MONDAY_NOON + 2 * HOUR)
    second = (await world.deliveries())[1].id
    assert [(line.to_state, line.to_outcome) for line in await world.history() if line.delivery_id == second] == [
        ("SENDING", "none"),
        ("PENDING", "none"),
        ("SENDING", "none"),
        ("SENT", "unknown"),
        ("SENT", "accepted"),
    ]
