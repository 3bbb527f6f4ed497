"""The behaviours that Open Discussions' own tests describe, here.

Theirs stand in `notifications/*_test.py` of mitodl/open-discussions, as of June 2023, before discussions were taken
out of it. What they call an EmailNotification is a delivery; their comments and posts are entities.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from hark import preferences
from hark.audience import Recipient
from hark.batching import ChunkSize
from hark.catalogue import Channel, Frequency, Templates
from hark.delivery.recheck import recheck
from hark.delivery.settle import mark
from hark.preferences import Why
from tests.delivery.holding import claim, due, hand_over, hold
from tests.world import ACCEPTED, DEFERRED, MONDAY_NOON, World, reason, student

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
IMMEDIATE = reason("mention", frequency=Frequency.IMMEDIATE)
COUNTING = replace(IMMEDIATE, templates=Templates(text="{{ payload.n + 1 }}"))
SPEAKING = replace(reason("comment"), templates=Templates(text="{{ payload.parent }}: {{ payload.comment }}"))


async def place(world: World) -> tuple[str, str]:
    row = await world.delivery()
    return row.state, row.outcome


# utils_test: mark_as_sent_or_canceled ---------------------------------------------------------------------------------


async def test_sent_if_there_were_no_errors(world: World) -> None:
    await due(world, "bob")
    await world.attempt()
    assert await place(world) == ("SENT", "accepted")
    (sent,) = [line for line in await world.history() if line.to_state == "SENT" and line.to_outcome == "unknown"]
    assert sent.at == MONDAY_NOON


async def test_already_sent_is_not_sent_again(world: World) -> None:
    await due(world, "bob")
    held = await hold(world)
    assert await mark(world.database, held, world.clock.now()) == {held[0].id}
    assert await mark(world.database, held, world.clock.now()) == set()
    assert (await world.attempt()).claimed == 0
    assert (await place(world))[0] == "SENT"


async def test_canceled_when_there_is_cause_to(world: World) -> None:
    await due(world, "bob")
    await world.execute("update hark.notification set read_at = %s", world.clock.now())
    assert (await world.attempt()).canceled == 1
    assert await place(world) == ("CANCELED", "none")
    assert world.recorder.handed_over == []


async def test_another_error_puts_it_back_and_it_is_tried_again(world: World) -> None:
    await world.install(COUNTING)
    await world.know("bob")
    await world.publish("mention", to=["bob"], payload={"n": "not a number"})
    await world.fan_out()
    assert (await world.attempt()).given_back == 1
    assert await place(world) == ("PENDING", "none")
    await world.execute("""update hark.event set payload = '{"n": 1}'""")
    await world.run_until(MONDAY_NOON + HOUR)
    assert await place(world) == ("SENT", "accepted")


# base_test: can_notify ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("active", [True, False])
async def test_immediate_is_told_at_once_while_they_are_active(world: World, active: bool) -> None:
    await world.know(student("bob", active=active))
    await world.publish("mention", to=["bob"])
    await world.drain()
    assert len(world.recorder.accepted) == int(active)


@pytest.mark.parametrize(("frequency", "period"), [(Frequency.DAILY, DAY), (Frequency.WEEKLY, 7 * DAY)])
async def test_one_message_a_period_whatever_the_hour(world: World, frequency: Frequency, period: timedelta) -> None:
    """Theirs: frequency × hour of the day × whether the last one was a period ago."""
    names = [f"h{hour:02}" for hour in range(24)]
    await world.know(*names)
    for name in names:
        await world.choose(name, "comment", frequency=frequency)
    await world.publish(to=names)
    last_sent = MONDAY_NOON.replace(hour=8) + period
    await world.run_until(last_sent)
    assert Counter(mail.at for mail in world.recorder.accepted) == {last_sent: 24}

    for hour, name in enumerate(names):
        await world.run_until(last_sent + hour * HOUR + SECOND)
        await world.publish(to=[name])
    await world.run_until(last_sent + period - SECOND)
    assert len(world.recorder.accepted) == 24
    await world.run_until(last_sent + period)
    assert Counter(mail.at for mail in world.recorder.accepted) == {last_sent: 24, last_sent + period: 24}


async def test_never_is_not_told(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "mention", frequency=Frequency.NEVER)
    await world.publish("mention", to=["bob"])
    await world.drain()
    assert await world.deliveries() == []
    assert [row.why for row in await world.told()] == [Why.NEVER]


async def test_a_frequency_that_does_not_exist_is_not_obeyed_and_is_named(world: World) -> None:
    """Theirs raises; so does ours when it is set. Should it be in the table all the same, nobody else suffers."""
    await world.know("bob", "eve")
    with pytest.raises(ValueError, match="bananas"):
        await world.choose("bob", "mention", frequency=Frequency("bananas"))
    await world.execute(
        """insert into hark.preference values ('bob', '{}', '{"mention": "bananas"}', %s)""", world.clock.now()
    )
    await world.publish("mention", to=["bob", "eve"])
    await world.drain()
    assert [row.why for row in await world.told()] == [Why.MALFORMED, Why.DEFAULT_CHANNELS]
    assert [mail.address for mail in world.recorder.accepted] == ["eve@school.example"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_what_may_be_told_is_pending_and_the_rest_is_not_there(world: World, wanted: bool) -> None:
    await world.know("bob")
    if not wanted:
        await world.choose("bob", "mention", frequency=Frequency.NEVER)
    await world.publish("mention", to=["bob"])
    await world.fan_out()
    assert [row.state for row in await world.deliveries()] == ["PENDING"] * wanted


# email_test -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("by_email", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
async def test_mail_only_if_offered_and_wanted_by_that_way(
    world: World, offered: bool, by_email: bool, wanted: bool
) -> None:
    """Theirs: feature × may be told × via_email. A feature is a reason of the catalogue here."""
    await world.install(replace(IMMEDIATE, channels={} if not offered else IMMEDIATE.channels))
    await world.know("bob")
    frequency = Frequency.IMMEDIATE if wanted else Frequency.NEVER
    channels = [Channel.EMAIL, Channel.IN_APP] if by_email else [Channel.IN_APP]
    await world.choose("bob", "mention", channels=channels, frequency=frequency)
    await world.publish("mention", to=["bob"])
    await world.drain()
    assert len(world.recorder.accepted) == int(offered and by_email and wanted)


async def test_one_message_is_handed_over(world: World) -> None:
    await due(world, "bob")
    assert (await world.attempt()).accepted == 1
    (mail,) = world.recorder.handed_over
    assert mail.address == "bob@school.example"


async def test_no_message_can_be_made_so_it_is_canceled(world: World) -> None:
    """Their user without an address: no messages."""
    await due(world, "bob")
    await world.know(Recipient("bob", "Students", None))
    assert (await world.attempt()).canceled == 1
    assert (await world.delivery()).why == "nothing left to say: 0 of 1 items left: 1 without an address"
    assert world.recorder.handed_over == []


async def test_a_delivery_of_somebody_else_is_not_touched(world: World) -> None:
    """Their user mismatch is a mistake of the program. Ours cannot be made by a key that begins with the recipient."""
    await due(world, "bob")
    (claimed,) = await claim(world)
    assert await recheck(world.database, [replace(claimed, recipient_id="eve")]) == []
    world.clock.advance(timedelta(minutes=2))
    await world.reap()
    assert await place(world) == ("PENDING", "none")


async def test_never_after_it_was_planned_cancels_it(world: World) -> None:
    await due(world, "bob")
    await world.choose("bob", "mention", frequency=Frequency.NEVER)
    assert (await world.attempt()).canceled == 1
    assert world.recorder.handed_over == []


# api_test: settings ---------------------------------------------------------------------------------------------------


async def test_who_is_new_has_the_defaults(world: World) -> None:
    """Theirs writes a row for each kind; ours writes none, and the catalogue's defaults hold until somebody chooses."""
    await world.know("bob")
    await world.publish("mention", to=["bob"])
    await world.publish("comment", to=["bob"])
    await world.fan_out()
    assert [row.frequency for row in await world.deliveries()] == ["immediate", "batched"]
    assert await world.rows("select from hark.preference") == []


async def test_existing_choices_are_left_alone(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", frequency=Frequency.NEVER)
    await world.choose("bob", "mention", frequency=Frequency.WEEKLY)
    await preferences.install(world.database, world.catalogue, retire=True)
    await world.know("bob")
    ((chosen,),) = await world.rows("select frequencies from hark.preference")
    assert chosen == {"comment": "never", "mention": "weekly"}


# api_test: batches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faulty", [False, True])
async def test_each_of_a_batch_is_attempted_whatever_becomes_of_another(world: World, faulty: bool) -> None:
    await world.install(COUNTING)
    names = [f"u{number}" for number in range(5)]
    await world.know(*names)
    for name in names:
        await world.publish("mention", to=[name], payload={"n": "no number" if faulty and name == "u2" else 1})
    await world.fan_out()
    done = await world.attempt()
    assert (done.claimed, done.accepted, done.given_back) == (5, 5 - faulty, int(faulty))


async def test_all_that_are_unsent_are_sent_in_chunks(world: World) -> None:
    """Theirs: 150 front pages and 150 others in chunks of 75."""
    names = [f"u{number:03}" for number in range(150)]
    await due(world, *names)
    await due(world, *names, reason="comment")
    world.clock.advance(HOUR)
    chunks = []
    sender = replace(
        world.sender(claim_chunk=75, send_chunk=75), passed=lambda step, count: chunks.append((str(step), count))
    )
    while (await sender.attempt_due()).claimed:
        pass
    assert [count for step, count in chunks if step == "hand_over"] == [75] * 4
    assert {row.state for row in await world.deliveries()} == {"SENT"}


@pytest.mark.parametrize("read", [True, False])
async def test_each_of_a_batch_is_sent_or_canceled(world: World, read: bool) -> None:
    await due(world, "a", "b", "c", "d", "e")
    if read:
        await world.execute("update hark.notification set read_at = %s", world.clock.now())
    await world.attempt()
    assert {row.state for row in await world.deliveries()} == {"CANCELED" if read else "SENT"}


# api_test, comments_test: comments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("entities", [["post:1", "comment:4"], ["post:1"]])
async def test_a_comment_is_told_once_to_each_who_follows(world: World, entities: list[str]) -> None:
    """Theirs: five follow the comment and the post, five the post, one has no settings row, ten follow other things."""
    both, post, other = [[f"{kind}{number}" for number in range(5)] for kind in ("both", "post", "other")]
    await world.know(*both, *post, *other, "rowless")
    await world.follow("comment:4", *both)
    await world.follow("post:1", *both, *post, "rowless")
    await world.follow("post:2", *other)
    comment = await world.publish(entities=entities, about="comment:9")
    await world.fan_out()
    assert await world.names_told(comment) == Counter([*both, *post, "rowless"])


@pytest.mark.parametrize("entity", ["comment:4", "post:1"])
@pytest.mark.parametrize("frequency", [Frequency.IMMEDIATE, Frequency.DAILY])
async def test_a_comment_has_its_notification_and_its_message_at_once(
    world: World, frequency: Frequency, entity: str
) -> None:
    """Theirs has no EmailNotification unless the frequency is immediate; ours has one, due when it is to go."""
    await world.know("bob")
    await world.follow(entity, "bob")
    await world.choose("bob", "comment", frequency=frequency)
    comment = await world.publish(entities=[entity])
    await world.fan_out()
    (told,) = await world.told(comment)
    delivery = await world.delivery()
    assert told.email_delivery == delivery.id
    assert (delivery.due_at == MONDAY_NOON) == (frequency is Frequency.IMMEDIATE)


@pytest.mark.parametrize("parent", ["a post", "a comment"])
async def test_the_mail_has_the_comment_and_what_it_replies_to(world: World, parent: str) -> None:
    await world.install(SPEAKING)
    await world.know("bob")
    await world.follow("post:1", "bob")
    await world.publish(entities=["post:1"], payload={"parent": parent, "comment": "reply comment"})
    await world.run_until(MONDAY_NOON + HOUR)
    (mail,) = world.recorder.accepted
    assert f"{parent}: reply comment" in mail.text


# api_test, moderator_posts_test ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_chosen", [True, False])
async def test_moderators_are_told_of_a_post_whether_they_have_settings_or_not(world: World, has_chosen: bool) -> None:
    """A moderator without a row is not told there (one is made that says never); the catalogue's default holds here."""
    await world.know("mod")
    await world.follow("moderators:physics", "mod")
    if has_chosen:
        await world.choose("mod", "mention", frequency=Frequency.IMMEDIATE)
    post = await world.publish("mention", entities=["moderators:physics"], about="post:1")
    await world.drain()
    assert await world.names_told(post) == Counter(["mod"])
    assert len(world.recorder.accepted) == 1


# tasks_test -----------------------------------------------------------------------------------------------------------


async def test_what_is_asked_for_is_done_to_the_end(world: World) -> None:
    """Theirs: each task calls its function. Ours are loops: fan-out, then attempts, in chunks of any size."""
    names = [f"u{number:02}" for number in range(40)]
    await world.know(*names)
    await world.follow("post:1", *names)
    await world.publish("mention", entities=["post:1"])
    await world.fan_out(ChunkSize(fresh=7, begun=7))
    while (await world.attempt(claim_chunk=7, send_chunk=3)).claimed:
        pass
    assert Counter(mail.address for mail in world.recorder.accepted) == Counter(f"{n}@school.example" for n in names)


async def test_what_was_deferred_is_unsent_and_is_sent_later(world: World) -> None:
    world.recorder.answer = lambda _prepared: DEFERRED
    await hand_over_to_nobody(world)
    world.recorder.answer = lambda _prepared: ACCEPTED
    await world.run_until(MONDAY_NOON + DAY)
    assert await place(world) == ("SENT", "accepted")


async def hand_over_to_nobody(world: World) -> None:
    await due(world, "bob")
    await world.attempt()
    assert await place(world) == ("PENDING", "none")


async def test_a_message_that_was_marked_by_hand_over_has_no_second(world: World) -> None:
    await due(world, "bob")
    await hand_over(world)
    await world.drain()
    await world.run_until(MONDAY_NOON + 7 * DAY)
    assert world.recorder.handed_over == []
    assert await place(world) == ("SENT", "unknown")
