"""What a product owner is promised, told as it happens. It is Monday, noon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import hark
from tests.servers import spawn
from tests.story.telling import PUBLISHER, Story, shares
from tests.world import MONDAY_NOON, World

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def story(world: World) -> Story:
    return Story(world)


async def test_a_comment_is_in_the_inbox_at_once_and_in_the_mail_after_four_quiet_minutes(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Alice", "Bob")

    await story.when_comments("Alice", on="post:1")
    assert await story.then_inbox_shows("Bob") == (1, 1)
    assert story.then_nobody_has_mail()

    await story.when_time_passes(4 * MINUTE)
    assert story.then_mails_to("Bob") == [("Mon 12:04", "Comment")]
    assert story.then_mails_to("Alice") == [], "nobody is told of what they did themselves"


async def test_a_lively_discussion_is_one_mail_once_it_calms_down(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")

    await story.when_comments("Alice", on="post:1", times=10, every=MINUTE)
    await story.when_time_passes(HOUR)

    assert story.then_mails_to("Bob") == [("Mon 12:13", "10 new: Comment")]


async def test_a_discussion_that_never_calms_down_is_mailed_every_hour(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")

    await story.when_comments("Alice", on="post:1", times=40, every=3 * MINUTE)
    await story.when_time_passes(HOUR)

    assert story.then_mails_to("Bob") == [("Mon 13:00", "20 new: Comment"), ("Mon 14:00", "20 new: Comment")]


async def test_who_has_read_it_in_the_app_is_not_mailed_about_it(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")

    await story.when_comments("Alice", on="post:1", times=2)
    await story.when_reads_all("Bob")
    await story.when_time_passes(HOUR)

    assert story.then_nobody_has_mail()
    assert await story.then_inbox_shows("Bob") == (2, 0)
    assert await story.then_canceled_because() == ["nothing left to say: 0 of 2 items left: 2 read in app"]


async def test_who_has_read_a_part_is_mailed_about_the_rest(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")

    await story.when_comments("Alice", on="post:1", times=3)
    await story.when_reads_all("Bob")
    await story.when_comments("Alice", on="post:1")
    await story.when_time_passes(HOUR)

    assert story.then_mails_to("Bob") == [("Mon 12:04", "Comment")]


async def test_a_mention_is_mailed_at_once_each_by_itself(story: Story) -> None:
    await story.given_students("Alice", "Bob")

    await story.when_mentions("Alice", "Bob")
    await story.when_time_passes(MINUTE)
    await story.when_mentions("Alice", "Bob")

    assert story.then_mails_to("Bob") == [("Mon 12:00", "Mention"), ("Mon 12:01", "Mention")]


async def test_who_wants_it_once_a_day_gets_it_in_the_morning(story: Story) -> None:
    await story.given_students("Alice", "Bob", "Kim")
    await story.given_followers("post:1", "Bob", "Kim")
    await story.given_choice("Bob", "comment", "daily")

    await story.when_comments("Alice", on="post:1", times=3, every=2 * HOUR)
    await story.when_time_is(datetime(2026, 3, 4, 12, tzinfo=UTC))

    assert story.then_mails_to("Bob") == [("Tue 08:00", "3 new: Comment")]
    assert [when for when, _ in story.then_mails_to("Kim")] == ["Mon 12:04", "Mon 14:04", "Mon 16:04"]


async def test_who_never_wants_it_never_gets_it_also_when_they_say_so_late(story: Story) -> None:
    await story.given_students("Alice", "Bob", "Kim")
    await story.given_followers("post:1", "Bob", "Kim")
    await story.given_choice("Bob", "comment", "never")

    await story.when_comments("Alice", on="post:1")
    await story.given_choice("Kim", "comment", "never")
    await story.when_time_passes(HOUR)

    assert story.then_nobody_has_mail()
    assert await story.then_inbox_shows("Bob") == (0, 0)


async def test_who_turns_a_reason_off_keeps_their_subscriptions_and_comes_back_to_no_flood(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")
    await story.given_followers("post:2", "Bob")
    await story.given_choice("Bob", "comment", "never")

    await story.when_comments("Alice", on="post:1", times=20, every=HOUR)
    await story.when_comments("Alice", on="post:2", times=20, every=HOUR)
    await story.given_choice("Bob", "comment", "daily")
    await story.when_time_passes(7 * 24 * HOUR)
    assert story.then_nobody_has_mail()
    assert await story.then_inbox_shows("Bob") == (0, 0)

    await story.when_comments("Alice", on="post:2")
    await story.when_time_passes(24 * HOUR)
    assert [subject for _, subject in story.then_mails_to("Bob")] == ["Comment"], "and follows both as before"


async def test_a_reply_reaches_each_once_as_what_it_is_to_them_and_never_its_author(story: Story) -> None:
    await story.given_forum()
    await story.given_students("Alice", "Bob", "Kim", "Pat")
    await story.given_followers("post:1", "Pat", "Kim", "Bob", "Alice")
    await story.given_followers("comment:1", "Kim", "Bob")

    await story.when_replies("Alice", comment="comment:2", under="comment:1", on="post:1", mentions=["Bob", "Alice"])
    await story.when_time_passes(HOUR)
    assert story.then_mails_to("Bob") == [("Mon 12:00", "Mentions")]
    assert story.then_mails_to("Kim") == [("Mon 12:04", "Answers to you")]
    assert story.then_mails_to("Pat") == [("Mon 12:04", "Threads")]
    assert story.then_mails_to("Alice") == []

    await story.when_replies("Pat", comment="comment:3", under="comment:2", on="post:1")
    await story.when_time_passes(HOUR)
    assert story.then_mails_to("Alice") == [("Mon 13:04", "Answers to you")], "who comments follows their comment"


async def test_a_muted_thread_is_silent_but_for_being_named(story: Story) -> None:
    await story.given_forum()
    await story.given_students("Alice", "Bob", "Kim")
    await story.given_followers("comment:1", "Bob")
    await story.when_mutes("Bob", "post:1")

    await story.when_replies("Alice", comment="comment:2", under="comment:1", on="post:1")
    await story.when_time_passes(HOUR)
    assert story.then_mails_to("Bob") == []

    await story.when_replies("Alice", comment="comment:4", under="comment:1", on="post:1", mentions=["Bob"])
    await story.when_time_passes(HOUR)
    assert story.then_mails_to("Bob") == [("Mon 13:00", "Mentions")]


async def test_who_changes_how_often_gets_what_waits_by_their_new_choice_once(story: Story) -> None:
    await story.given_students("Alice", "Bob")
    await story.given_followers("post:1", "Bob")

    await story.when_comments("Alice", on="post:1", times=3)
    await story.given_choice("Bob", "comment", "daily")
    await story.when_time_passes(HOUR)
    assert story.then_nobody_has_mail()

    await story.given_choice("Bob", "comment", "immediate")
    await story.when_time_passes(24 * HOUR)
    assert story.then_mails_to("Bob") == [("Mon 13:00", "3 new: Comment")]


async def test_a_night_without_a_mail_server_loses_nothing_and_doubles_nothing(story: Story) -> None:
    await story.given_students("Alice", "Bob", "Kim")
    await story.given_followers("post:1", "Bob", "Kim")
    story.given_mail_server_is_down()

    await story.when_comments("Alice", on="post:1")
    await story.when_time_passes(9 * HOUR)
    assert story.then_nobody_has_mail()

    story.given_mail_server_is_back()
    await story.when_time_passes(3 * HOUR)
    assert [subject for _, subject in story.then_mails_to("Bob")] == ["Comment"]
    assert [subject for _, subject in story.then_mails_to("Kim")] == ["Comment"]


async def test_what_the_product_takes_back_never_happened(story: Story) -> None:
    await story.given_students("Bob")

    with psycopg.connect(story.world.dsn) as products_own:
        hark.publish(products_own, "mention", to=["bob"])
        products_own.rollback()
    await story.when_time_passes(HOUR)

    assert story.then_nobody_has_mail()
    assert await story.then_inbox_shows("Bob") == (0, 0)


async def test_a_hundred_events_of_eight_processes_are_one_mail_with_a_hundred_items(story: Story) -> None:
    await story.given_students("Bob")

    publish_from_processes(story.world.dsn, "bob", total=100, processes=8)
    published = await story.world.rows("select min(published_at) as first, max(published_at) as last from hark.event")
    assert published[0].last - published[0].first < 4 * MINUTE
    await story.when_time_is(max(published[0].last, MONDAY_NOON))
    await story.when_time_passes(HOUR)

    assert [subject for _, subject in story.then_mails_to("Bob")] == ["100 new: Comment"]
    assert await story.then_inbox_shows("Bob") == (100, 100)


def publish_from_processes(dsn: str, who: str, *, total: int, processes: int) -> None:
    """They start all together, so that their transactions overlap."""
    children = [
        spawn(PUBLISHER, dsn, who, str(share), f"process:{number}")
        for number, share in enumerate(shares(total, processes))
    ]
    for child in children:
        child.wait_for("ready")
    for child in children:
        child.tell("go")
    assert [child.finish() for child in children] == [0] * processes
