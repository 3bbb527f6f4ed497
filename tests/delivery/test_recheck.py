"""What changed before the send counts: what is not wanted any more is left out, with why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from hark import audience, inbox, preferences
from hark.catalogue import Channel, Frequency
from hark.delivery.recheck import recheck
from hark.rendering import LISTED
from tests.delivery.holding import claim, due, hold
from tests.world import COMMENT, COOLDOWN, MENTION, NEWS, World, catalogue, reason, student

Change = Callable[[World], Awaitable[object]]


def known_as(**changes: object) -> Change:
    return lambda world: world.know(replace(student("bob"), **changes))  # type: ignore[arg-type]


def chooses(**choice: object) -> Change:
    return lambda world: world.choose("bob", "mention", **choice)  # type: ignore[arg-type]


def does(sql: str) -> Change:
    return lambda world: world.execute(sql)


CHANGES: dict[str, tuple[Change, str]] = {
    "read": (lambda world: inbox.mark_read(world.database, "bob", [1], world.clock.now()), "read in app"),
    "archived": (lambda world: inbox.archive(world.database, "bob", [1], world.clock.now()), "archived in app"),
    "inactive": (known_as(active=False), "for a recipient no longer active"),
    "no_address": (known_as(address=None), "without an address"),
    "unconfirmed": (known_as(confirmed=False), "with an unconfirmed address"),
    "not_opted_in": (known_as(opted_in=False), "not opted in any more"),
    "suppressed": (
        does("update hark.recipient set suppressed = 'bounced'"),
        "with an address that its provider refused",
    ),
    "unknown_recipient": (does("delete from hark.recipient"), "whose recipient is gone"),
    "unknown_type": (
        does("update hark.recipient set user_type = 'Pupils'"),
        "whose user type the catalogue no longer has",
    ),
    "not_offered": (known_as(user_type="Employers"), "no longer offered to the user type"),
    "never": (chooses(frequency=Frequency.NEVER), "muted since"),
    "own_channels": (chooses(channels=[Channel.IN_APP]), "not wanted by e-mail any more"),
    "default_channels": (
        lambda world: world.install(reason("mention", frequency=Frequency.IMMEDIATE, channels=[Channel.IN_APP])),
        "not sent by e-mail any more",
    ),
    "malformed": (
        does("""insert into hark.preference values ('bob', '{"mention": 7}', '{}', now())"""),
        "with a preference that cannot be read",
    ),
}


@pytest.mark.parametrize("why", CHANGES)
async def test_what_changed_before_the_send_cancels_it_with_the_reason(world: World, why: str) -> None:
    await due(world, "bob")
    change, words = CHANGES[why]
    await change(world)
    attempted = await world.attempt()
    assert (attempted.claimed, attempted.canceled, attempted.accepted) == (1, 1, 0)
    row = await world.delivery()
    assert (row.state, row.outcome, row.left_out) == ("CANCELED", "none", {"1": why})
    assert row.why == f"nothing left to say: 0 of 1 items left: 1 {words}"
    assert world.recorder.handed_over == []


@pytest.mark.parametrize("why", CHANGES)
async def test_what_changes_after_the_claim_still_counts(world: World, why: str) -> None:
    await due(world, "bob")
    claimed = await claim(world)
    await CHANGES[why][0](world)
    (held,) = await recheck(world.database, claimed)
    assert (held.total, held.left_out) == (0, {"1": why})


async def test_what_is_left_is_sent_without_what_was_read(world: World) -> None:
    await world.know("bob")
    events = [await world.publish(to=["bob"], about=f"post:{n}") for n in range(4)]
    await world.fan_out()
    await inbox.mark_read(world.database, "bob", events[1:2], world.clock.now())
    await inbox.archive(world.database, "bob", events[2:3], world.clock.now())
    world.clock.advance(COOLDOWN)
    await world.attempt()
    (mail,) = world.recorder.accepted
    assert [f"post:{n}" in mail.text for n in range(4)] == [True, False, False, True]
    row = await world.delivery()
    assert row.left_out == {str(events[1]): "read", str(events[2]): "archived"}
    sent = next(line for line in await world.history() if line.to_state == "SENT")
    assert sent.why.startswith("2 of 4 items left: ")
    assert {"1 read in app", "1 archived in app"} == set(sent.why.removeprefix("2 of 4 items left: ").split(", "))


async def test_of_several_reasons_only_what_is_not_wanted_is_left_out(world: World) -> None:
    await world.install(
        *[replace(each, group="talk", frequency=Frequency.BATCHED) for each in (COMMENT, MENTION, NEWS)]
    )
    await world.know("bob")
    for name in ("comment", "mention", "news"):
        await world.publish(name, to=["bob"])
    await world.fan_out()
    await world.choose("bob", "mention", frequency=Frequency.NEVER)
    world.clock.advance(COOLDOWN)
    (held,) = await hold(world)
    assert held.total == 2
    assert {item.reason for item in held.batch().items} == {"comment", "news"}


async def test_a_retired_reason_that_waits_is_still_sent(world: World) -> None:
    await due(world, "bob")
    await preferences.install(world.database, catalogue(COMMENT))
    (held,) = await hold(world)
    assert held.total == 1


async def test_a_later_frequency_does_not_stop_what_is_on_its_way(world: World) -> None:
    await due(world, "bob")
    claimed = await claim(world)
    await world.choose("bob", "mention", frequency=Frequency.WEEKLY)
    (held,) = await recheck(world.database, claimed)
    assert held.total == 1


async def test_the_newest_are_listed_and_all_are_counted(world: World) -> None:
    await world.know("bob")
    events = [await world.publish(to=["bob"]) for _ in range(LISTED + 5)]
    await world.fan_out()
    world.clock.advance(COOLDOWN)
    (held,) = await hold(world)
    assert held.total == len(events)
    assert [item.event_id for item in held.batch().items] == events[5:]


async def test_it_is_rechecked_by_the_address_zone_and_locale_of_now(world: World) -> None:
    await due(world, "bob")
    await world.know(replace(student("bob", zone="Asia/Kolkata"), address="new@school.example", locale="de"))
    (held,) = await hold(world)
    assert (held.address, held.zone, held.locale) == ("new@school.example", "Asia/Kolkata", "de")


async def test_what_is_no_longer_ours_is_not_rechecked(world: World) -> None:
    await due(world, "bob", "eve")
    claimed = await claim(world)
    world.clock.advance(timedelta(minutes=2))
    await world.reap()
    assert await recheck(world.database, claimed) == []


async def test_items_of_another_delivery_of_the_same_recipient_are_not_taken_along(world: World) -> None:
    await world.know("bob")
    for name in ("mention", "comment", "mention", "comment"):
        await world.publish(name, to=["bob"])
    await world.fan_out()
    world.clock.advance(COOLDOWN)
    held = await hold(world)
    assert sorted([item.event_id for item in delivery.batch().items] for delivery in held) == [[1], [2, 4], [3]]


@pytest.mark.parametrize("change", ["muted", "removed"])
async def test_whoever_left_the_entity_before_the_send_is_not_mailed_of_it(world: World, change: str) -> None:
    await world.know("bob")
    await world.follow("post:7", "bob")
    await world.publish("comment", entities=["post:7"])
    await world.fan_out()
    left = [audience.Subscription("bob", "post:7")]
    await (
        audience.mute(world.database, left, world.clock.now())
        if change == "muted"
        else audience.unsubscribe(world.database, left)
    )
    world.clock.advance(timedelta(hours=1))
    assert (await world.attempt()).canceled == 1
    assert (await world.delivery()).why == "nothing left to say: 0 of 1 items left: 1 unsubscribed or muted since"


async def test_whoever_was_named_is_mailed_though_they_left_the_entity(world: World) -> None:
    await world.know("bob")
    await world.follow("post:7", "bob")
    await world.publish("comment", to=["bob"], entities=["post:7"])
    await world.fan_out()
    await audience.unsubscribe(world.database, [audience.Subscription("bob", "post:7")])
    world.clock.advance(timedelta(hours=1))
    assert (await world.attempt()).accepted == 1


async def test_a_number_of_thousands_of_digits_holds_up_nothing(world: World) -> None:
    await world.know("bob")
    await world.execute(
        "select hark.publish('comment', array['bob'], payload => ('{\"n\": ' || repeat('9', 6000) || '}')::jsonb)"
    )
    await world.fan_out()
    await world.execute("update hark.delivery set due_at = %s", world.clock.now())
    assert (await world.attempt()).accepted == 1
