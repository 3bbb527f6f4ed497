"""Known faults of Open Discussions' notifications: each of these tests would fail there.

Their code is described in words, as of June 2023; all of it stands in `notifications/` of mitodl/open-discussions
unless said otherwise.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from hark import audience
from hark.audience import Subscription
from hark.batching import ChunkSize, fan_out_begun, fan_out_fresh
from hark.catalogue import Frequency, Templates
from hark.delivery.backoff import Backoff
from hark.delivery.recheck import recheck
from hark.delivery.settle import Withdrawal, mark, withdraw
from hark.delivery.states import State
from tests.delivery.holding import claim, due, hold
from tests.world import ACCEPTED, DEFERRED, MONDAY_NOON, World, reason

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NAMES = [f"u{number:02}" for number in range(30)]
EACH_ONCE = Counter(f"{name}@school.example" for name in NAMES)
COUNTING = replace(reason("mention", frequency=Frequency.IMMEDIATE), templates=Templates(text="{{ payload.n + 1 }}"))
DIES_HALF_WAY = """
create function hark.dies() returns trigger language plpgsql as $$ begin raise 'dead'; end $$;
create trigger dies before insert on hark.notification
   for each row when (new.recipient_id = 'u15') execute function hark.dies();
"""


def received(world: World) -> Counter[str]:
    return Counter(mail.address for mail in world.recorder.accepted)


async def test_overlapping_runs_send_each_once(world: World) -> None:
    """Theirs: `api.send_unsent_email_notifications` runs every minute. It reads the ids that are pending, and then sets
    them to sending by id, whatever they are by then: a run that began before another was done flips what is SENT back
    to SENDING and queues it again. Ours: one statement picks, locks and moves; it takes nothing that is not PENDING.
    """
    await due(world, *NAMES)
    runs = [world.sender(worker=f"run/{number}", claim_chunk=7, send_chunk=3) for number in range(8)]
    for _ in range(5):
        await asyncio.gather(*[run.attempt_due() for run in runs])
    assert received(world) == EACH_ONCE
    assert {row.attempt for row in await world.deliveries()} == {1}


async def test_a_run_that_read_before_another_was_done_flips_nothing_back(world: World) -> None:
    """The same, moment for moment: what the slow run knows is old, and the database refuses the way back."""
    await due(world, "bob")
    slow = await hold(world, worker="slow")
    world.clock.advance(2 * MINUTE)
    await world.reap()
    assert (await world.attempt(worker="fast")).accepted == 1
    assert await mark(world.database, slow, world.clock.now()) == set()
    with pytest.raises(psycopg.errors.CheckViolation, match=r"no arrow from SENT \(accepted\) to SENDING"):
        await world.execute(
            "update hark.delivery set state = 'SENDING', outcome = 'none', lease_until = now(), worker = 'slow'"
        )
    assert len(world.recorder.handed_over) == 1


async def test_what_a_dead_worker_was_sending_is_sent_by_another(world: World) -> None:
    """Theirs: a worker that dies between `send_unsent_email_notifications` setting SENDING and the task marking SENT
    leaves the row SENDING for ever, for only PENDING is ever looked for. Ours: a claim is a lease.
    """
    await due(world, *NAMES)
    await claim(world, worker="dead")
    world.clock.advance(2 * MINUTE)
    assert (await world.reap()).lost == len(NAMES)
    await world.drain()
    assert received(world) == EACH_ONCE


async def test_an_outage_is_not_taken_for_success(world: World) -> None:
    """Theirs: `EmailNotifier.send_notification` marks SENT and then calls `mail.api.send_messages`, which logs whatever
    the provider raises: in an outage all mails are lost as sent. Ours: a certain no is PENDING again.
    """
    world.recorder.answer = lambda _prepared: DEFERRED
    await due(world, *NAMES)
    await world.run_until(MONDAY_NOON + 6 * HOUR)
    assert {row.state for row in await world.deliveries()} == {"PENDING"}
    world.recorder.answer = lambda _prepared: ACCEPTED
    await world.run_until(MONDAY_NOON + DAY)
    assert received(world) == EACH_ONCE


async def test_what_cannot_be_rendered_is_not_tried_for_ever(world: World) -> None:
    """Theirs: `utils.mark_as_sent_or_canceled` turns any error into PENDING, and the next minute tries again: 1440
    times a day, for ever, in the way of others. Ours: attempts are bounded, wait longer and longer, and end with why.
    """
    await world.install(COUNTING)
    await world.know("bob")
    await world.publish("mention", to=["bob"], payload={"n": "not a number"})
    await world.run_until(MONDAY_NOON + 30 * DAY)
    row = await world.delivery()
    assert (row.state, row.attempt) == ("CANCELED", Backoff().max_attempts)
    assert row.why.startswith("attempts used up (25): rendering failed: ")


async def test_what_is_sent_is_not_canceled_by_a_redelivered_task(world: World) -> None:
    """Theirs: `send_notification` raises the cancel of a user who wants none before it looks whether the row is SENT
    already, and `api.send_email_notification_batch` then writes CANCELED over it: the record says that a mail that was
    sent was not. Ours: moves are guarded by state and attempt.
    """
    await due(world, "bob")
    claimed = await claim(world)
    held = await recheck(world.database, claimed)
    done = await world.sender().attempt(claimed)
    assert done.accepted == 1
    await world.choose("bob", "mention", frequency=Frequency.NEVER)

    assert (await world.sender().attempt(claimed)).canceled == 0
    cancel = [Withdrawal(held[0], State.CANCELED, "never")]
    assert await withdraw(world.database, cancel, world.clock.now()) == set()
    row = await world.delivery()
    assert (row.state, row.outcome) == ("SENT", "accepted")


@pytest.mark.parametrize(
    ("frequency", "at"),
    [
        (Frequency.DAILY, datetime(2026, 3, 3, 8, tzinfo=UTC)),
        (Frequency.WEEKLY, datetime(2026, 3, 9, 8, tzinfo=UTC)),
    ],
)
async def test_comments_daily_or_weekly_are_mailed(world: World, frequency: Frequency, at: datetime) -> None:
    """Theirs: `CommentNotifier.create_comment_event` makes an EmailNotification only if the frequency is immediate;
    nothing ever picks the other events up, so daily and weekly mean never. Ours: they gather, and are mailed.
    """
    await world.know("bob")
    await world.follow("post:1", "bob")
    await world.choose("bob", "comment", frequency=frequency)
    for _ in range(3):
        await world.publish(entities=["post:1"])
    await world.run_until(MONDAY_NOON + 8 * DAY)
    (mail,) = world.recorder.accepted
    assert mail.at == at
    assert (await world.delivery()).items == 3


async def test_a_fan_out_that_is_run_again_goes_on_where_it_was(world: World) -> None:
    """Theirs: `api.send_comment_notifications` inserts user by user; a task that is run again after it died half-way
    meets the unique constraint of its own first rows and ends there, so the second half is never told. Ours: a chunk
    is one statement with its progress, all or nothing, and whoever comes next goes on behind it.
    """
    await world.know(*NAMES)
    await world.follow("post:1", *NAMES)
    await world.publish("mention", entities=["post:1"])
    few = ChunkSize(fresh=10, begun=10)
    await fan_out_fresh(world.database, world.clock.now(), few)
    assert len(await world.told()) == 10

    await world.execute(DIES_HALF_WAY)
    with pytest.raises(psycopg.errors.RaiseException, match="dead"):
        await fan_out_begun(world.database, world.clock.now(), few)
    assert len(await world.told()) == 10
    await world.execute("drop trigger dies on hark.notification")

    while (await fan_out_begun(world.database, world.clock.now(), few)).events:
        pass
    await world.drain()
    assert received(world) == EACH_ONCE


async def test_a_weekly_message_that_was_late_is_on_time_next_week(world: World) -> None:
    """Theirs: `BaseNotifier.can_notify` asks for seven whole UTC days since the last one. A run that slipped past
    midnight makes the next week's run come a day too early, so it sends nothing and the week is lost. Ours: due moments
    are the calendar's, not those of the last message.
    """
    await world.know("bob")
    await world.choose("bob", "comment", frequency=Frequency.WEEKLY)
    await world.publish(to=["bob"])
    await world.fan_out()
    due_at = datetime(2026, 3, 9, 8, tzinfo=UTC)
    world.clock.move_to(due_at + 17 * HOUR)  # no worker ran until Tuesday, 01:00
    await world.drain()
    await world.publish(to=["bob"])
    await world.run_until(due_at + 8 * DAY)
    assert [mail.at for mail in world.recorder.accepted] == [due_at + 17 * HOUR, due_at + 7 * DAY]


async def test_who_wrote_it_is_not_told_of_it(world: World) -> None:
    """Theirs: whoever writes a post is subscribed to it, and `api.send_comment_notifications` takes every subscription:
    an author who comments on their own post is mailed what they wrote. Ours: never the actor, unless named.
    """
    await world.know("author", "reader")
    await world.follow("post:1", "author", "reader")
    own = await world.publish(entities=["post:1"], actor="author")
    await world.fan_out()
    assert await world.names_told(own) == Counter(["reader"])


async def test_one_follows_a_thing_once(world: World) -> None:
    """Theirs: a subscription to a post is a row with a null comment, which its unique constraint takes for different
    from any other null (`channels.models.Subscription`): two requests at once make two. Ours: what one follows is one
    name, never null, and part of the key.
    """
    follow = [Subscription("bob", "post:1")]
    await world.know("bob")
    await asyncio.gather(*[audience.subscribe(world.database, follow, world.clock.now()) for _ in range(8)])
    assert len(await world.rows("select from hark.subscription")) == 1
    with pytest.raises(psycopg.errors.NotNullViolation):
        await world.execute("insert into hark.subscription values ('bob', null, false, now())")
    event = await world.publish(entities=["post:1"])
    await world.fan_out()
    assert await world.names_told(event) == Counter(["bob"])
