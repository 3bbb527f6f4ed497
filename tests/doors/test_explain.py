"""The stories that explain tells, one for each way in which an event and a person can stand to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from hark import audience, inbox
from hark.audience import Recipient, Subscription
from hark.batching import ChunkSize, fan_out_begun, fan_out_fresh
from hark.catalogue import Channel, Frequency, SqlSource
from hark.delivery.backoff import Backoff
from hark.delivery.claim import claim_due
from hark.delivery.handover import Outcome
from hark.delivery.states import TRANSITIONS
from hark.delivery.whole import GONE, UNASKED
from hark.doors.explain import Explanation, Telling, What, as_lines, explain
from hark.doors.explain.left_out import _BECAUSE
from hark.doors.explain.steps import _MOVES
from hark.errors import BadInput
from hark.preferences import Reach, Why
from tests.digests.forum import TUESDAY, front_page, open_forum, post
from tests.world import (
    ACCEPTED,
    BAD_ADDRESS,
    COMMENT,
    COOLDOWN,
    DEFERRED,
    MAX_STALE,
    MONDAY_NOON,
    NEWS,
    UNKNOWN,
    World,
    reason,
    student,
)

SHORT = timedelta(minutes=1)


async def story(world: World, recipient: str, event: int) -> Explanation:
    return await explain(world.database, recipient, event, world.clock.now())


def whats(explanation: Explanation) -> list[str]:
    return [str(step.what) for step in explanation.steps]


def why(explanation: Explanation, what: What) -> str:
    (only,) = [step.why for step in explanation.steps if step.what is what]
    return only


async def test_told_in_one_mail_with_others(world: World) -> None:
    await world.know("bob")
    first = await world.publish(to=["bob"], actor="alice")
    await world.fan_out()
    for _ in range(2):
        world.clock.advance(SHORT)
        await world.publish(to=["bob"])
        await world.fan_out()
    await world.run_until(MONDAY_NOON + MAX_STALE)
    told = await story(world, "bob", first)
    assert told.telling is Telling.SENT
    assert told.sentence == (
        f"bob was told of event {first} (comment, by alice, 12:00:00) in one e-mail with 2 others, and in app."
    )
    assert whats(told) == ["matched", "decided", "batched", "claimed", "rechecked", "sent"]
    assert why(told, What.MATCHED) == "named as recipient"
    assert why(told, What.DECIDED) == (
        "email, in_app: Students' default for comment; frequency batched (the default of comment)"
    )
    assert why(told, What.BATCHED) == (
        f"into delivery 1, due 12:06:00 (cool-down 4m, at most 1h in all), moved on 2 times, last by event {first + 2}"
    )
    assert why(told, What.CLAIMED) == "by worker test/1, attempt 1"
    assert why(told, What.RECHECKED) == "all 3 items are still wanted"
    assert why(told, What.SENT) == "accepted by recorder: 250 ok"


async def test_told_in_a_morning_mail_with_what_feeds_said(world: World) -> None:
    await open_forum(world, NEWS, front_page())
    await world.know("bob")
    await world.plan()
    await post(world, "a")
    await post(world, "b")
    event = await world.publish("news", to=["bob"])
    await world.run_until(TUESDAY)
    told = await story(world, "bob", event)
    assert told.telling is Telling.SENT
    assert why(told, What.BATCHED) == (
        "into delivery 1, due 3 Mar 08:00:00 (the daily message of 08:00 in UTC), which also holds 2 items of feeds"
        " (front_page)"
    )


async def test_told_in_a_mail_of_its_own(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.drain()
    told = await story(world, "bob", event)
    assert told.sentence == f"bob was told of event {event} (mention, 12:00:00) in an e-mail of its own, and in app."
    assert why(told, What.BATCHED) == "into delivery 1, due 12:00:00 (at once, alone)"


async def test_one_that_was_read_meanwhile_is_left_out_and_not_counted_among_the_others(world: World) -> None:
    await world.know("bob")
    events = [await world.publish(to=["bob"]) for _ in range(3)]
    await world.fan_out()
    world.clock.advance(SHORT)
    await inbox.mark_read(world.database, "bob", [events[1]], world.clock.now())
    await world.run_until(MONDAY_NOON + MAX_STALE)
    left_out, said = await story(world, "bob", events[1]), await story(world, "bob", events[0])
    assert left_out.telling is Telling.LEFT_OUT
    assert left_out.sentence == (
        f"bob was not written to about event {events[1]} (comment, 12:00:00), for they had read it in app at 12:01:00."
        " It is in their inbox."
    )
    assert whats(left_out) == ["matched", "decided", "batched", "read", "claimed", "rechecked", "sent"]
    assert why(left_out, What.RECHECKED) == (
        "2 of 3 items left: 1 read in app; this event was left out, for they had read it in app at 12:01:00"
    )
    assert "in one e-mail with 1 other, and in app" in said.sentence
    assert why(said, What.RECHECKED) == "2 of 3 items left: 1 read in app"


async def test_a_message_of_which_nothing_is_left_is_taken_back(world: World) -> None:
    await world.know("bob")
    event = await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(SHORT)
    await world.choose("bob", "comment", frequency=Frequency.NEVER)
    await world.run_until(MONDAY_NOON + MAX_STALE)
    told = await story(world, "bob", event)
    assert told.telling is Telling.LEFT_OUT
    assert "for they had muted comment since. It is in their inbox." in told.sentence
    assert whats(told)[-2:] == ["claimed", "canceled"]


async def test_waiting_for_more(world: World) -> None:
    await world.know("bob")
    event = await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(SHORT)
    told = await story(world, "bob", event)
    assert told.telling is Telling.WAITING
    assert told.sentence == (
        f"The e-mail that tells bob of event {event} (comment, 12:00:00) waits, until 12:04:00: more may come to share"
        " the message (cool-down 4m, at most 1h in all). It is in their inbox."
    )
    assert told.steps[-1].what is What.WAITS
    assert told.steps[-1].at == MONDAY_NOON + COOLDOWN


async def test_waiting_no_longer_than_max_stale(world: World) -> None:
    await world.install(reason("comment", cooldown=MAX_STALE, max_stale=MAX_STALE))
    await world.know("bob")
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert "until 13:00:00: however much comes, the oldest event of the batch waits no longer" in told.sentence


async def test_waiting_for_the_daily_message_in_their_own_zone(world: World) -> None:
    await world.know(student("bob", zone="Asia/Kolkata"))
    event = await world.publish("news", to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert "waits, until 3 Mar 02:30:00: the daily message of 08:00 in Asia/Kolkata" in told.sentence


async def test_due_and_nobody_there_to_send_it(world: World) -> None:
    await world.know("bob")
    event = await world.publish(to=["bob"])
    await world.fan_out()
    world.clock.advance(MAX_STALE)
    told = await story(world, "bob", event)
    assert "due since 12:04:00, and no worker has claimed it; is one running?" in told.sentence


async def test_held_by_a_worker_and_by_one_whose_lease_ran_out(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    now = world.clock.now()
    await claim_due(world.database, Channel.EMAIL, now, worker="web-2/411", lease=SHORT, limit=1)
    told = await story(world, "bob", event)
    assert told.telling is Telling.SENDING
    assert told.steps[-1].why == "until 12:01:00 at most: worker web-2/411 is on it"
    world.clock.advance(2 * SHORT)
    assert "the lease of worker web-2/411 ran out at 12:01:00" in (await story(world, "bob", event)).steps[-1].why
    await world.reap()
    assert why(await story(world, "bob", event), What.GIVEN_BACK) == "the lease of worker web-2/411 ran out"


async def test_attempted_twice(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    world.recorder.answer = lambda _prepared: DEFERRED
    await world.attempt()
    waiting = await story(world, "bob", event)
    assert waiting.telling is Telling.WAITING
    assert why(waiting, What.DEFERRED) == "recorder: connection refused"
    assert waiting.steps[-1].why.endswith("for attempt 2")
    assert why(waiting, What.BATCHED) == "into delivery 1 (at once, alone)"
    world.recorder.answer = lambda _prepared: ACCEPTED
    world.clock.move_to(waiting.steps[-1].at)
    await world.attempt()
    told = await story(world, "bob", event)
    assert told.telling is Telling.SENT
    assert whats(told)[3:] == ["claimed", "rechecked", "deferred", "claimed", "rechecked", "sent"]
    assert [step.why for step in told.steps if step.what is What.CLAIMED] == [
        "by worker test/1, attempt 1",
        "by worker test/1, attempt 2",
    ]


async def test_refused(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    world.recorder.answer = lambda _prepared: BAD_ADDRESS
    await world.attempt()
    told = await story(world, "bob", event)
    assert told.telling is Telling.REFUSED
    assert told.sentence == (
        f"bob did not get the e-mail about event {event} (mention, 12:00:00): recorder: 550 no such user."
        " It is in their inbox."
    )
    assert why(told, What.REFUSED) == "recorder: 550 no such user"
    later = await world.publish("mention", to=["bob"])
    await world.fan_out()
    assert why(await story(world, "bob", later), What.DECIDED) == (
        "in_app: Students' default for mention; no email, for their address was refused by its provider"
    )


async def test_unknown(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    world.recorder.answer = lambda _prepared: UNKNOWN
    await world.attempt()
    told = await story(world, "bob", event)
    assert told.telling is Telling.UNKNOWN
    assert told.sentence.startswith(f"Whether bob got the e-mail about event {event} (mention, 12:00:00) is unknown")
    assert why(told, What.UNANSWERED) == (
        "handed over, and no answer is known: recorder: no answer within 30 s; it may have arrived, so it is not sent"
        " again by itself"
    )


async def test_given_up_after_its_last_attempt(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"], payload={"n": 1})
    await world.fan_out()
    world.recorder.answer = lambda _prepared: DEFERRED
    await world.attempt(backoff=Backoff(max_attempts=1))
    told = await story(world, "bob", event)
    assert told.telling is Telling.REFUSED
    assert "attempts used up (1): recorder: connection refused" in told.sentence


async def test_a_message_that_cannot_be_rendered_says_so(world: World) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    sender = world.sender()
    await world.install(COMMENT)
    await replace(sender, renderer=world.sender().renderer).attempt_due()
    told = await story(world, "bob", event)
    assert told.telling is Telling.WAITING
    assert "rendering failed: reason mention: the catalogue no longer declares it" in why(told, What.GIVEN_BACK)


async def test_a_choice_of_their_own_is_said_with_its_day(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", channels=[Channel.IN_APP])
    world.clock.advance(timedelta(days=2))
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.IN_APP
    assert told.sentence == f"bob was told of event {event} (comment, 12:00:00) in app only."
    assert why(told, What.DECIDED) == "in_app: bob's own choice, last changed 2 Mar"


async def test_a_frequency_of_their_own(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", frequency=Frequency.WEEKLY)
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert "frequency weekly (bob's own choice, last changed 2 Mar)" in why(told, What.DECIDED)
    assert "the weekly message of 08:00 in UTC" in why(told, What.BATCHED)


async def test_never(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", frequency=Frequency.NEVER)
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.NOT_TOLD
    assert "): their frequency never (bob's own choice, last changed 2 Mar)" in told.sentence
    await world.choose("bob", "comment", frequency=Frequency.DAILY)
    world.clock.advance(SHORT)
    await world.choose("bob", "comment", frequency=Frequency.DAILY)
    changed_since = await story(world, "bob", event)
    assert "bob's own choice then; they changed their choices on 2 Mar" in changed_since.sentence


async def test_no_channel_at_all(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", channels=[])
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.NOT_TOLD
    assert "): no channel is left: bob's own choice" in told.sentence


@pytest.mark.parametrize(
    ("recipient", "said"),
    [
        (Recipient("bob", "Employers", "b@x.example", True), "the catalogue does not offer comment to Employers"),
        (student("bob", active=False), "they are not active"),
    ],
)
async def test_not_told_for_what_they_are(world: World, recipient: Recipient, said: str) -> None:
    await world.know(recipient)
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.NOT_TOLD
    assert said in told.sentence


async def test_an_unconfirmed_address(world: World) -> None:
    await world.know(student("bob", confirmed=False))
    event = await world.publish(to=["bob"])
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.IN_APP
    assert why(told, What.DECIDED).endswith("no email, for their address is not confirmed")


async def test_nobody_of_that_name(world: World) -> None:
    event = await world.publish(to=["zed"])
    await world.fan_out()
    told = await story(world, "zed", event)
    assert told.telling is Telling.NOT_TOLD
    assert told.sentence.endswith("): no recipient zed was known.")


async def test_never_named(world: World) -> None:
    await world.know("bob")
    event = await world.publish(to=["carol"])
    other = await world.publish(entities=["post:1", "post:2", "post:3", "post:4", "post:5"])
    await world.fan_out()
    assert (await story(world, "bob", event)).telling is Telling.NOT_MATCHED
    assert why(await story(world, "bob", event), What.NOT_MATCHED) == (
        "not named, and the event was published to named recipients only"
    )
    assert why(await story(world, "bob", other), What.NOT_MATCHED) == (
        "neither named nor subscribed to post:1, post:2, post:3 and 2 more"
    )


async def test_subscribed(world: World) -> None:
    await world.know("bob")
    await world.follow("post:1", "bob")
    event = await world.publish(entities=["post:1"])
    await world.fan_out()
    assert why(await story(world, "bob", event), What.MATCHED) == "subscribed to post:1"
    await audience.unsubscribe(world.database, [Subscription("bob", "post:1")])
    assert why(await story(world, "bob", event), What.MATCHED) == "subscribed then to post:1, but not any more"


async def test_their_own_doing(world: World) -> None:
    await world.know("bob")
    await world.follow("post:1", "bob")
    event = await world.publish(entities=["post:1"], actor="bob")
    await world.fan_out()
    told = await story(world, "bob", event)
    assert told.telling is Telling.NOT_MATCHED
    assert "did it themselves: nobody is told of what they did to something, named or not" in told.sentence


async def test_muted_too_late_and_not_there_then(world: World) -> None:
    await world.know("bob", "carol", "dora")
    await world.follow("post:1", "bob", "dora")
    await audience.mute(
        world.database, [Subscription("bob", "post:1"), Subscription("dora", "post:1")], world.clock.now()
    )
    event = await world.publish(entities=["post:1"])
    await world.fan_out()
    world.clock.advance(SHORT)
    await world.follow("post:1", "carol")
    await audience.mute(world.database, [Subscription("dora", "post:1")], world.clock.now(), muted=False)
    assert "not named, and muted post:1" in (await story(world, "bob", event)).sentence
    assert "subscribed to post:1 only afterwards, at 12:01:00" in (await story(world, "carol", event)).sentence
    assert "was muted or not there when the fan-out came to them" in (await story(world, "dora", event)).sentence


async def test_not_fanned_out_yet(world: World) -> None:
    await world.know("bob")
    event = await world.publish(to=["bob"])
    told = await story(world, "bob", event)
    assert told.telling is Telling.NOT_YET
    assert "no worker has taken it up yet; they will be matched" in told.steps[0].why
    stranger = await story(world, "carol", event)
    assert "as they stand now, they will not be matched" in stranger.steps[0].why


async def test_half_fanned_out(world: World) -> None:
    names = [f"s{number}" for number in range(4)]
    await world.know(*names)
    await world.follow("post:1", *names)
    event = await world.publish(entities=["post:1"])
    size = ChunkSize(events=1, fresh=2, begun=1)
    await fan_out_fresh(world.database, world.clock.now(), size)
    tellings = [(await story(world, name, event)).telling for name in (*names, "r9")]
    assert tellings == [Telling.WAITING, Telling.WAITING, Telling.NOT_YET, Telling.NOT_YET, Telling.NOT_MATCHED]
    assert "2 recipients are done, they come later" in (await story(world, "s3", event)).steps[0].why
    await fan_out_begun(world.database, world.clock.now(), size)
    assert (await story(world, "s2", event)).telling is Telling.WAITING


async def test_no_such_event(world: World) -> None:
    with pytest.raises(BadInput, match="there is no event 4711"):
        await story(world, "bob", 4711)


async def test_lines_for_a_terminal_in_the_zone_of_who_reads_them(world: World) -> None:
    await world.know("bob")
    event = await world.publish("news", to=["bob"])
    await world.fan_out()
    zone = ZoneInfo("America/New_York")
    told = await explain(world.database, "bob", event, world.clock.now(), zone)
    assert "07:00:00" in told.sentence
    lines = as_lines(told, zone)
    assert lines[0] == told.sentence
    assert [line.strip().split("  ")[0] for line in lines[1:]] == ["07:00:00"] * 3 + ["3 Mar 03:00:00"]
    assert len({line.index(word) for line, word in zip(lines[1:], whats(told), strict=True)}) == 1


@pytest.mark.parametrize("outcomes", [[ACCEPTED], [DEFERRED, ACCEPTED], [DEFERRED, DEFERRED, BAD_ADDRESS], [UNKNOWN]])
async def test_steps_come_in_the_order_of_their_times(world: World, outcomes: Sequence[Outcome]) -> None:
    await world.know("bob")
    event = await world.publish("mention", to=["bob"])
    await world.fan_out()
    for outcome in outcomes:
        world.recorder.answer = lambda _prepared, outcome=outcome: outcome  # type: ignore[misc]
        world.clock.advance(timedelta(hours=1))
        await world.attempt()
    times = [step.at for step in (await story(world, "bob", event)).steps]
    assert times == sorted(times)


def test_every_arrow_has_words() -> None:
    assert set(_MOVES) == {(t.from_state, t.from_outcome, t.to_state, t.to_outcome) for t in TRANSITIONS}


def test_every_reason_to_leave_out_has_words() -> None:
    asked = {"deleted", "private", "blocked", "edited", GONE, UNASKED}
    assert set(_BECAUSE) == {"read", "archived", "unsubscribed", *asked, *Why, *Reach} - {Reach.OK}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select n, 'deleted' as why, null as payload from asked", "it had been deleted"),
        ("select n, 'sold out' as why, null as payload from asked", "its recheck said: sold out"),
        ("select n, null as why, null as payload from asked where false", "it was not there any more"),
    ],
)
async def test_left_out_because_the_product_said_so(world: World, query: str, words: str) -> None:
    await world.install(reason("comment", recheck=SqlSource(query)))
    await world.know("bob")
    event = await world.publish(to=["bob"])
    await world.run_until(MONDAY_NOON + MAX_STALE)
    told = await story(world, "bob", event)
    assert why(told, What.CANCELED).endswith(f"; this event was left out, for {words}")
