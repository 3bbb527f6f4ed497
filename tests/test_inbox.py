"""The inbox shows what one was told, newest first, with a count that is always exact."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hark import inbox
from hark.batching import ChunkSize, fan_out_fresh
from hark.catalogue import Channel
from hark.postgres.queries import Queries
from tests.world import COOLDOWN, MONDAY_NOON, World, student

MINUTE = timedelta(minutes=1)


async def given_events(world: World, count: int, reason: str = "comment", to: str = "bob") -> list[int]:
    """So many events for someone, fanned out; their ids, oldest first."""
    await world.know(to)
    events = [await world.publish(reason, to=[to], actor="ann", about=f"post:{n}") for n in range(count)]
    await world.fan_out()
    return events


async def listed(world: World, **given: object) -> list[int]:
    return [item.event_id for item in await inbox.listed(world.database, "bob", **given)]  # type: ignore[arg-type]


async def counted_by_hand(world: World, recipient: str = "bob") -> int:
    (row,) = await world.rows(
        "select count(*) as unread from hark.notification"
        " where recipient_id = %s and in_app and read_at is null and archived_at is null",
        recipient,
    )
    return int(row.unread)


# Listing -------------------------------------------------------------------------------------------------------------


async def test_an_inbox_lists_the_newest_first_with_what_was_said(world: World) -> None:
    await world.know("bob", "eve")
    first = await world.publish(to=["bob"], actor="ann", about="post:7", payload={"stars": 5})
    await world.publish(to=["eve"])
    second = await world.publish("news", to=["bob"], at=MONDAY_NOON + MINUTE)
    await world.fan_out()
    items = await inbox.listed(world.database, "bob")
    assert [item.event_id for item in items] == [second, first]
    assert items[0].occurred_at == MONDAY_NOON + MINUTE
    oldest = items[1]
    assert (oldest.reason, oldest.title, oldest.actor, oldest.about) == ("comment", "Comment", "ann", "post:7")
    assert (oldest.payload, oldest.seen_at, oldest.read_at, oldest.archived_at) == ({"stars": 5}, None, None, None)


async def test_pages_go_on_where_the_last_one_ended_whatever_came_meanwhile(world: World) -> None:
    events = await given_events(world, 7)
    first = await listed(world, limit=3)
    await given_events(world, 2)
    second = await listed(world, limit=3, before=first[-1])
    third = await listed(world, limit=3, before=second[-1])
    assert first + second + third == events[::-1]


async def test_a_list_can_leave_out_what_is_read_and_take_along_what_is_archived(world: World) -> None:
    a, b, c = await given_events(world, 3)
    await inbox.mark_read(world.database, "bob", [a], world.clock.now())
    await inbox.archive(world.database, "bob", [b], world.clock.now())
    assert await listed(world) == [c, a]
    assert await listed(world, unread=True) == [c]
    assert await listed(world, archived=True) == [c, b, a]


async def test_a_list_of_one_reason(world: World) -> None:
    await given_events(world, 2, "comment")
    (mention,) = await given_events(world, 1, "mention")
    assert await listed(world, reason="mention") == [mention]


async def test_what_goes_by_email_only_is_not_in_the_inbox(world: World) -> None:
    await world.know("bob")
    await world.choose("bob", "comment", channels=[Channel.EMAIL])
    await given_events(world, 1)
    assert await listed(world) == []
    assert await inbox.unread(world.database, "bob") == 0


async def test_who_is_unknown_has_an_empty_inbox(world: World) -> None:
    assert await inbox.listed(world.database, "nobody") == []
    assert await inbox.unread(world.database, "nobody") == 0


async def test_who_cannot_be_mailed_still_has_an_inbox(world: World) -> None:
    await world.know(replace(student("bob"), address=None))
    event = await world.publish(to=["bob"])
    await world.fan_out()
    assert await listed(world) == [event]


# Seen, read, archived ------------------------------------------------------------------------------------------------


async def test_reading_counts_once_and_is_also_seeing(world: World) -> None:
    a, b = await given_events(world, 2)
    assert await inbox.mark_read(world.database, "bob", [a, a, 999], world.clock.now()) == 1
    world.clock.advance(MINUTE)
    assert await inbox.mark_read(world.database, "bob", [a, b], world.clock.now()) == 1
    newest, oldest = await inbox.listed(world.database, "bob")
    assert (oldest.read_at, oldest.seen_at) == (MONDAY_NOON, MONDAY_NOON)
    assert (newest.read_at, newest.seen_at) == (MONDAY_NOON + MINUTE, MONDAY_NOON + MINUTE)
    assert await inbox.unread(world.database, "bob") == 0


async def test_seeing_is_not_reading(world: World) -> None:
    events = await given_events(world, 2)
    assert await inbox.mark_seen(world.database, "bob", events, world.clock.now()) == 2
    assert await inbox.mark_seen(world.database, "bob", events, world.clock.now()) == 0
    assert await inbox.unread(world.database, "bob") == 2


async def test_archiving_what_is_unread_takes_it_out_of_the_count_once(world: World) -> None:
    a, b = await given_events(world, 2)
    await inbox.mark_read(world.database, "bob", [a], world.clock.now())
    assert await inbox.archive(world.database, "bob", [a, b], world.clock.now()) == 2
    assert await inbox.unread(world.database, "bob") == 0
    assert await inbox.mark_read(world.database, "bob", [b], world.clock.now()) == 1
    assert await inbox.unread(world.database, "bob") == 0


async def test_reading_all_up_to_what_one_looked_at_leaves_what_came_after(world: World) -> None:
    _, b, c = await given_events(world, 3)
    assert await inbox.mark_all_read(world.database, "bob", world.clock.now(), up_to=b) == 2
    assert await listed(world, unread=True) == [c]
    assert await inbox.mark_all_read(world.database, "bob", world.clock.now()) == 1
    assert await inbox.unread(world.database, "bob") == 0


async def test_nobody_changes_another_ones_inbox(world: World) -> None:
    await world.know("bob", "eve")
    event = await world.publish(to=["bob", "eve"])
    await world.fan_out()
    await inbox.mark_read(world.database, "eve", [event], world.clock.now())
    assert await inbox.unread(world.database, "bob") == 1


@pytest.mark.parametrize("put_away", [inbox.mark_read, inbox.archive])
async def test_what_is_read_or_archived_is_not_mailed_any_more(
    world: World, put_away: Callable[..., Awaitable[int]]
) -> None:
    first, _ = await given_events(world, 2)
    await put_away(world.database, "bob", [first], world.clock.now())
    world.clock.advance(COOLDOWN)
    await world.drain()
    (mail,) = world.recorder.accepted
    assert "post:1" in mail.text
    assert "post:0" not in mail.text


async def test_what_is_only_seen_is_still_mailed(world: World) -> None:
    events = await given_events(world, 1)
    await inbox.mark_seen(world.database, "bob", events, world.clock.now())
    world.clock.advance(COOLDOWN)
    await world.drain()
    assert len(world.recorder.accepted) == 1


# The count -----------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["publish", "read", "read_all", "archive", "seen"]), st.lists(st.integers(0, 9), max_size=4)
    ),
    max_size=15,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps)
async def test_the_count_is_exact_after_whatever_happens(world: World, happens: list[tuple[str, list[int]]]) -> None:
    await world.execute("truncate hark.event, hark.notification, hark.delivery, hark.inbox restart identity")
    await world.know("bob")
    unread: set[int] = set()
    for what, places in happens:
        events = [place + 1 for place in places]
        if what == "publish":
            unread |= {await world.publish(to=["bob"]) for _ in places}
            await world.fan_out()
        elif what == "read":
            await inbox.mark_read(world.database, "bob", events, world.clock.now())
            unread -= set(events)
        elif what == "read_all":
            up_to = max(events, default=0)
            await inbox.mark_all_read(world.database, "bob", world.clock.now(), up_to=up_to)
            unread = {event for event in unread if event > up_to}
        elif what == "archive":
            await inbox.archive(world.database, "bob", events, world.clock.now())
            unread -= set(events)
        else:
            await inbox.mark_seen(world.database, "bob", events, world.clock.now())
        assert await inbox.unread(world.database, "bob") == len(unread)
    assert set(await listed(world, unread=True)) == unread


async def test_the_count_is_exact_while_eight_change_it_at_once(world: World) -> None:
    names = ["bob", "eve", "kim"]
    await world.know(*names)
    events = [await world.publish(to=names) for _ in range(10)]
    await world.fan_out()

    async def publish_and_fan_out() -> None:
        for _ in range(10):
            events.append(await world.publish(to=names))
            await fan_out_fresh(world.database, world.clock.now(), ChunkSize(events=2))

    async def read(seed: int) -> None:
        chance = Random(seed)
        for _ in range(15):
            chosen = chance.sample(events, 4)
            await inbox.mark_read(world.database, chance.choice(names), chosen, world.clock.now())

    async def archive(seed: int) -> None:
        chance = Random(seed)
        for _ in range(15):
            chosen = chance.sample(events, 3)
            await inbox.archive(world.database, chance.choice(names), chosen, world.clock.now())

    async def read_all() -> None:
        for _ in range(4):
            await inbox.mark_all_read(world.database, "eve", world.clock.now(), up_to=events[-5])

    await asyncio.gather(
        publish_and_fan_out(),
        publish_and_fan_out(),
        publish_and_fan_out(),
        read(1),
        read(2),
        archive(3),
        archive(4),
        read_all(),
    )
    await world.fan_out()
    for name in names:
        assert await inbox.unread(world.database, name) == await counted_by_hand(world, name)
    (row,) = await world.rows("select count(*) as told from hark.notification")
    assert row.told == len(events) * len(names) == 120


async def test_counting_looks_at_no_notification(world: World) -> None:
    await given_events(world, 30)
    query = Queries.beside(inbox.__file__)["unread"].text()
    async with world.database.connection() as connection:
        cursor = await connection.execute(f"explain (format json) {query}", {"recipient": "bob"})
        (plan,) = await cursor.fetchone() or ()
    assert set(re.findall(r"'Relation Name': '(\w+)'", str(plan))) == {"inbox"}
