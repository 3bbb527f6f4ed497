"""One event, several reasons, one message: the most specific that tells, the others noted; never the author."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hark
from hark import audience, inbox, preferences
from hark.audience import Subscription
from hark.batching import ChunkSize
from hark.catalogue import Channel, Frequency
from hark.doors.explain import Explanation, explain
from hark.doors.explain.answer import What
from tests.world import COOLDOWN, World, reason, student

REPLY = reason("comment_reply", title="Answers", cooldown=2 * COOLDOWN, group="conversation")
MENTION = reason("mention", title="Mentions", frequency=Frequency.IMMEDIATE, at_least_once=True)
THREAD = reason(
    "thread_reply",
    title="Threads",
    group="conversation",
    narrower={"mention": "named", "comment_reply": "comment"},
    auto_subscribe=("about", "post"),
)
PLAIN = reason("news", frequency=Frequency.DAILY)
ALL = (THREAD, REPLY, MENTION, PLAIN)
ENTITIES = ["comment:31", "post:42"]
SIZES = [ChunkSize(), ChunkSize(events=1, fresh=1, begun=2)]
NEVER = Frequency.NEVER


@pytest.fixture
async def forum(world: World) -> World:
    """dave is named in replies, carol wrote the comment, pat the post; alice writes."""
    await world.install(*ALL)
    await world.know("alice", "carol", "dave", "pat")
    await world.follow("comment:31", "carol")
    await world.follow("post:42", "pat", "carol", "dave", "alice")
    return world


async def reply(world: World, *, size: ChunkSize | None = None, **given: Any) -> int:
    said: dict[str, Any] = {"to": ["dave"], "entities": ENTITIES, "actor": "alice", **given}
    event = await world.publish("thread_reply", **said)
    await world.fan_out(size)
    return event


async def told_as(world: World, event: int) -> dict[str, tuple[str | None, list[str] | None]]:
    return {row.recipient_id: (row.as_reason, row.also) for row in await world.told(event)}


# Which of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_each_is_told_once_as_the_most_specific_reason_and_the_others_are_noted(
    forum: World, size: ChunkSize
) -> None:
    await forum.follow("comment:31", "dave")
    event = await reply(forum, size=size)
    assert await told_as(forum, event) == {
        "dave": ("mention", ["comment_reply", "thread_reply"]),
        "carol": ("comment_reply", ["thread_reply"]),
        "pat": (None, None),
    }
    (matched,) = await forum.rows("select matched, fanned_out_at is not null as done from hark.event")
    assert (matched.matched, matched.done) == (3, True)
    await forum.run_until(forum.clock.now() + timedelta(hours=1))
    assert sorted((mail.address.split("@")[0], mail.subject) for mail in forum.recorder.accepted) == [
        ("carol", "Answers"),
        ("dave", "Mentions"),
        ("pat", "Threads"),
    ]


@pytest.mark.parametrize("size", SIZES)
async def test_when_and_with_what_it_is_sent_is_as_the_reason_that_won_says(forum: World, size: ChunkSize) -> None:
    now = forum.clock.now()
    await reply(forum, size=size)
    rows = {row.recipient_id: row for row in await forum.deliveries()}
    assert {name: (row.batch_group, row.due_at, row.at_least_once) for name, row in rows.items()} == {
        "dave": ("@immediate", now, True),
        "carol": ("conversation", now + 2 * COOLDOWN, False),
        "pat": ("conversation", now + COOLDOWN, False),
    }


@pytest.mark.parametrize("size", SIZES)
async def test_a_muted_mention_leaves_the_thread(forum: World, size: ChunkSize) -> None:
    await forum.choose("dave", "mention", frequency=NEVER)
    event = await reply(forum, size=size)
    assert (await told_as(forum, event))["dave"] == (None, ["mention"])
    (row,) = [row for row in await forum.told(event) if row.recipient_id == "dave"]
    assert (row.named, row.why, row.in_app) == (False, "default_channels", True)


async def test_a_muted_mention_of_who_follows_nothing_of_it_tells_them_nothing(forum: World) -> None:
    await forum.know("eve")
    await forum.choose("eve", "mention", frequency=NEVER)
    event = await reply(forum, to=["eve"])
    (row,) = [row for row in await forum.told(event) if row.recipient_id == "eve"]
    assert (row.as_reason, row.also, row.why, row.in_app, row.email_delivery) == ("mention", None, "never", False, None)


async def test_where_none_tells_it_is_the_most_specific_with_why_not(forum: World) -> None:
    await forum.follow("comment:31", "dave")
    for each in ALL:
        await forum.choose("dave", each.name, frequency=NEVER)
    event = await reply(forum)
    (row,) = [row for row in await forum.told(event) if row.recipient_id == "dave"]
    assert (row.as_reason, row.also, row.why) == ("mention", ["comment_reply", "thread_reply"], "never")
    assert (row.in_app, row.email_delivery) == (False, None)


async def test_a_reason_that_tells_by_one_channel_only_wins_over_a_wider_one_that_tells_by_two(forum: World) -> None:
    await forum.choose("dave", "mention", channels=[Channel.IN_APP])
    event = await reply(forum)
    (row,) = [row for row in await forum.told(event) if row.recipient_id == "dave"]
    assert (row.as_reason, row.in_app, row.email_delivery) == ("mention", True, None)


async def test_without_a_reason_for_those_named_they_are_told_as_the_events_own(world: World) -> None:
    await world.install(replace(THREAD, narrower=THREAD.narrower[1:]), REPLY)
    await world.know("dave", "carol")
    await world.follow("comment:31", "carol")
    event = await world.publish("thread_reply", to=["dave", "carol"], entities=ENTITIES)
    await world.fan_out()
    assert await told_as(world, event) == {"dave": (None, None), "carol": ("comment_reply", ["thread_reply"])}
    assert all(row.named for row in await world.told(event))


async def test_an_unknown_or_unreachable_recipient_is_noted_as_the_most_specific(forum: World) -> None:
    await forum.know(replace(student("mute"), address=None))
    await forum.choose("mute", "mention", channels=[Channel.EMAIL])
    event = await reply(forum, to=["nobody", "mute"])
    rows = {row.recipient_id: (row.as_reason, row.why, row.in_app) for row in await forum.told(event)}
    assert rows["nobody"] == ("mention", "unknown_recipient", False)
    assert rows["mute"] == ("mention", "own_channels", False)


# Never the author ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_an_author_who_mentions_themselves_is_told_nothing(forum: World, size: ChunkSize) -> None:
    event = await reply(forum, to=["alice", "dave"], size=size)
    assert "alice" not in await told_as(forum, event)
    said = await story(forum, "alice", event)
    assert "did it themselves: nobody is told of what they did to something" in said.sentence


async def test_without_an_actor_all_who_follow_are_told(forum: World) -> None:
    event = await reply(forum, actor=None)
    assert set(await told_as(forum, event)) == {"alice", "carol", "dave", "pat"}


# Muting an entity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_who_muted_the_post_hears_of_it_only_by_name(forum: World, size: ChunkSize) -> None:
    muted = [Subscription(name, "post:42") for name in ("carol", "dave", "pat")]
    await audience.mute(forum.database, muted, forum.clock.now())
    event = await reply(forum, size=size)
    assert await told_as(forum, event) == {"dave": ("mention", None)}


async def test_what_they_muted_before_it_was_sent_is_not_mailed(forum: World) -> None:
    event = await reply(forum, to=[])
    await audience.mute(forum.database, [Subscription("carol", "post:42")], forum.clock.now())
    await forum.run_until(forum.clock.now() + timedelta(hours=1))
    assert {mail.address.split("@")[0] for mail in forum.recorder.accepted} == {"pat", "dave"}
    assert "had unsubscribed from it, or muted it" in (await story(forum, "carol", event)).sentence


async def test_who_mutes_the_reason_that_won_before_it_was_sent_is_not_mailed(forum: World) -> None:
    await reply(forum, to=[])
    await forum.choose("carol", "comment_reply", frequency=NEVER)
    await forum.choose("pat", "comment_reply", frequency=NEVER)
    await forum.run_until(forum.clock.now() + timedelta(hours=1))
    assert {mail.address.split("@")[0] for mail in forum.recorder.accepted} == {"pat", "dave"}


# Where it shows ------------------------------------------------------------------------------------------------------


async def test_the_inbox_calls_it_by_the_reason_that_won(forum: World) -> None:
    event = await reply(forum)
    (item,) = await inbox.listed(forum.database, "dave")
    assert (item.event_id, item.reason, item.title) == (event, "mention", "Mentions")
    assert await inbox.listed(forum.database, "dave", reason="thread_reply") == []
    assert len(await inbox.listed(forum.database, "dave", reason="mention")) == 1
    assert len(await inbox.listed(forum.database, "pat", reason="thread_reply")) == 1


async def story(world: World, recipient: str, event: int) -> Explanation:
    return await explain(world.database, recipient, event, world.clock.now())


async def test_explain_says_which_others_applied_and_why_that_one_won(forum: World) -> None:
    event = await reply(forum)
    said = await story(forum, "dave", event)
    assert (said.reason, said.as_reason, said.also) == ("thread_reply", "mention", ("thread_reply",))
    steps = {step.what: step.why for step in said.steps}
    assert steps[What.MATCHED] == "named as recipient, and subscribed to post:42"
    assert steps[What.COUNTS_AS] == "mention, the most specific; also: thread_reply"
    assert steps[What.DECIDED].startswith("email, in_app: Students' default for mention")
    assert What.COUNTS_AS not in {step.what for step in (await story(forum, "pat", event)).steps}


async def test_explain_says_why_a_more_specific_one_did_not(forum: World) -> None:
    await forum.choose("dave", "mention", frequency=NEVER)
    steps = {step.what: step.why for step in (await story(forum, "dave", await reply(forum))).steps}
    assert steps[What.COUNTS_AS] == "thread_reply, for they would not be told by mention; also: mention"
    await forum.choose("dave", "thread_reply", frequency=NEVER)
    steps = {step.what: step.why for step in (await story(forum, "dave", await reply(forum))).steps}
    assert steps[What.COUNTS_AS] == "mention, the most specific, for none tells them; also: thread_reply"


# Who publishes follows -----------------------------------------------------------------------------------------------


async def follows(world: World, who: str = "zoe") -> dict[str, bool]:
    return {each.entity: each.muted for each in await audience.subscriptions_of(world.database, who)}


async def test_who_publishes_follows_what_it_is_about_and_its_entities_of_the_kinds_named(forum: World) -> None:
    at = forum.clock.now() - timedelta(hours=1)
    given: dict[str, Any] = {"entities": [*ENTITIES, "post:43"], "actor": "zoe", "about": "comment:77", "at": at}
    await reply(forum, **given)
    await reply(forum, **given)
    assert await follows(forum) == {"comment:77": False, "post:42": False, "post:43": False}
    assert {each.since for each in await audience.subscriptions_of(forum.database, "zoe")} == {at}
    later = await reply(forum, actor="alice")
    assert "zoe" in await told_as(forum, later)


@pytest.mark.parametrize("about", [None, "what a day", "Comment:7", "comment:", "c:" + "x" * 300])
async def test_what_is_no_entity_is_not_followed(forum: World, about: str | None) -> None:
    await reply(forum, actor="zoe", about=about, entities=["comment:31", "post"])
    assert await follows(forum) == {}


async def test_what_they_muted_stays_muted(forum: World) -> None:
    await audience.mute(forum.database, [Subscription("zoe", "post:42")], forum.clock.now())
    await reply(forum, actor="zoe")
    assert await follows(forum) == {"post:42": True}
    await audience.mute(forum.database, [Subscription("zoe", "post:42")], forum.clock.now(), muted=False)
    assert await follows(forum) == {"post:42": False}


async def test_nobody_follows_by_a_reason_that_does_not_say_so_nor_without_an_actor(forum: World) -> None:
    await forum.publish("news", entities=ENTITIES, actor="zoe", about="post:42")
    before = await forum.rows("select * from hark.subscription")
    await reply(forum, actor=None)
    assert await follows(forum) == {}
    assert await forum.rows("select * from hark.subscription") == before


async def test_a_retried_publish_follows_nothing_again_and_a_rolled_back_one_nothing_at_all(forum: World) -> None:
    def published(connection: psycopg.Connection[Any]) -> None:
        hark.publish(connection, "thread_reply", entities=ENTITIES, actor="zoe", key="reply:1")

    with psycopg.connect(forum.dsn) as products_own:
        published(products_own)
        products_own.rollback()
        assert await follows(forum) == {}
        published(products_own)
        products_own.commit()
        await audience.unsubscribe(forum.database, [Subscription("zoe", "post:42")])
        published(products_own)
        products_own.commit()
    assert await follows(forum) == {}


# Installing ----------------------------------------------------------------------------------------------------------


async def test_a_changed_list_of_narrower_reasons_is_installed_and_an_old_one_forgotten(forum: World) -> None:
    turned = replace(THREAD, narrower=THREAD.narrower[::-1])
    given = replace(forum.catalogue, reasons={**forum.catalogue.reasons, "thread_reply": turned})
    assert await preferences.install(forum.database, given) == ["thread_reply"]
    await forum.follow("comment:31", "dave")
    assert (await told_as(forum, await reply(forum)))["dave"] == ("comment_reply", ["mention", "thread_reply"])
    plain = replace(given, reasons={**given.reasons, "thread_reply": replace(turned, narrower=())})
    await preferences.install(forum.database, plain)
    assert (await told_as(forum, await reply(forum)))["dave"] == (None, None)


# Whatever is declared, followed, muted and chosen ------------------------------------------------------------------

PEOPLE = ("ann", "bob", "eve")
THINGS = ("comment:1", "comment:2", "post:1", "tag:1")
some_people = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True)


def expected(
    who: str, named: list[str], entities: list[str], following: dict[str, list[str]], silent: set[tuple[str, str]]
) -> list[str]:
    """The reasons that apply, most specific first, said once more and plainly."""
    is_silent = any((who, entity) in silent for entity in entities)
    followed = [] if is_silent else [entity for entity in entities if who in following.get(entity, [])]
    applies = ["mention"] if who in named else []
    if any(entity.startswith("comment:") for entity in followed):
        applies.append("comment_reply")
    return [*applies, "thread_reply"] if followed else applies


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    named=some_people,
    entities=st.lists(st.sampled_from(THINGS), min_size=1, max_size=3, unique=True),
    following=st.dictionaries(st.sampled_from(THINGS), some_people, max_size=4),
    muted=st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(THINGS)), max_size=3),
    refused=st.sets(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["mention", "comment_reply", "thread_reply"]))),
    actor=st.none() | st.sampled_from(PEOPLE),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
async def test_of_all_that_apply_the_most_specific_that_tells_wins(
    world: World,
    named: list[str],
    entities: list[str],
    following: dict[str, list[str]],
    muted: list[tuple[str, str]],
    refused: set[tuple[str, str]],
    actor: str | None,
    sizes: tuple[int, int],
) -> None:
    await world.install(*(replace(each, auto_subscribe=()) for each in ALL))
    await world.execute(
        "truncate hark.event, hark.notification, hark.delivery, hark.subscription, hark.inbox, hark.preference"
    )
    await world.know(*PEOPLE)
    for entity, names in following.items():
        await world.follow(entity, *names)
    await audience.mute(world.database, [Subscription(*pair) for pair in muted], world.clock.now())
    for who, name in refused:
        await world.choose(who, name, frequency=NEVER)
    event = await world.publish("thread_reply", to=named, entities=entities, actor=actor)
    await world.fan_out(ChunkSize(events=1, fresh=sizes[0], begun=sizes[1]))

    wanted: dict[str, tuple[str | None, list[str] | None]] = {}
    for who in PEOPLE:
        applies = expected(who, named, entities, following, set(muted))
        if who == actor or not applies:
            continue
        won = next((name for name in applies if (who, name) not in refused), applies[0])
        others = [name for name in applies if name != won]
        wanted[who] = (None if won == "thread_reply" else won, others or None)
    assert await told_as(world, event) == wanted
    assert all((row.email_delivery is not None) == row.in_app for row in await world.told(event))
