"""The example forum, from its forms to its mails: who hears of what, once, in which message, and who does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from hark.postgres.embedded.processes import every_process
from tests.examples.visiting import HERE, Street, open_street
from tests.servers import REPOSITORY, eventually, scratch_folder

FORUM = REPOSITORY / "examples" / "forum"


@pytest.fixture
async def street(database: str, tmp_path: Path) -> AsyncIterator[Street]:
    async with open_street(database, tmp_path / "mails") as street:
        yield street


# Replies -------------------------------------------------------------------------------------------------------------


async def test_a_reply_reaches_author_and_commenter_once_each_and_never_its_actor(street: Street) -> None:
    await street.dan.sends("/posts/1/comment", text="Hello Ben!", answers="1")
    assert await street.ada.inbox() == [("thread_reply", "dan"), ("thread_reply", "ben")]
    assert await street.ben.inbox() == [("comment_reply", "dan")]
    assert await street.dan.inbox() == await street.cleo.inbox() == []
    await street.later(timedelta(minutes=5))
    assert await street.ada.mails() == ["2 replies in threads you follow"]
    assert await street.ben.mails() == ["Dan answered you"]
    assert await street.dan.mails() == await street.cleo.mails() == []


async def test_who_is_named_hears_of_that_at_once_and_of_nothing_else(street: Street) -> None:
    await street.dan.sends("/posts/1/comment", text="Ask @ben and @cleo, not me@ada.", answers="1")
    assert await street.ben.inbox() == await street.cleo.inbox() == [("mention", "dan")]
    assert await street.ben.mails() == await street.cleo.mails() == ["Dan mentioned you"]
    await street.later(timedelta(minutes=5))
    assert await street.ben.mails() == ["Dan mentioned you"]


async def test_who_comments_follows_the_thread(street: Street) -> None:
    await street.dan.sends("/posts/1/comment", text="Hello!")
    assert "You follow this thread." in await street.dan.sees("/posts/1")
    await street.cleo.sends("/posts/1/comment", text="Hello too!")
    assert await street.dan.inbox() == [("thread_reply", "cleo")]


async def test_a_muted_thread_is_silent_until_it_is_followed_again(street: Street) -> None:
    await street.later(timedelta(minutes=5))
    before = await street.ada.inbox(), await street.ada.mails()
    await street.ada.sends("/posts/1/mute")
    await street.cleo.sends("/posts/1/comment", text="Anybody?")
    await street.later(timedelta(minutes=5))
    assert (await street.ada.inbox(), await street.ada.mails()) == before
    assert "You muted this thread." in await street.ada.sees("/posts/1")
    await street.ada.sends("/posts/1/follow")
    await street.cleo.sends("/posts/1/comment", text="Ada?")
    assert await street.ada.inbox() == [("thread_reply", "cleo"), *before[0]]


async def test_what_was_read_in_app_is_not_mailed(street: Street) -> None:
    assert "1 unread" in await street.ada.sees("/inbox")
    await street.ada.sends("/inbox")
    await street.later(timedelta(minutes=5))
    assert await street.ada.mails() == []


async def test_a_reply_in_a_post_that_was_deleted_meanwhile_is_not_mailed(street: Street) -> None:
    await street.cleo.sends("/posts/1/comment", text="Hello!")
    await street.ada.sends("/posts/1/delete")
    await street.later(timedelta(minutes=5))
    assert await street.ben.mails() == await street.ada.mails() == []


async def test_a_blocked_authors_reply_is_not_mailed(street: Street) -> None:
    await street.cleo.sends("/posts/1/comment", text="Hello!")
    await street.execute("insert into forum.block values ('ben', 'cleo')")
    await street.later(timedelta(minutes=5))
    assert await street.ben.mails() == []
    assert await street.ada.mails() == ["2 replies in threads you follow"]


async def test_never_is_never(street: Street) -> None:
    await street.ada.sends("/settings", thread_reply="never", nonsense="never")
    before = await street.ada.inbox()
    await street.cleo.sends("/posts/1/comment", text="Hello!")
    await street.later(timedelta(minutes=5))
    assert await street.ada.inbox() == before
    assert await street.ada.mails() == []


async def test_a_like_is_told_once_to_the_author_and_to_nobody_of_their_own(street: Street) -> None:
    for _ in range(2):
        await street.cleo.sends("/posts/1/like")
    await street.ada.sends("/posts/1/like")
    assert [reason for reason, _ in await street.ada.inbox()].count("post_liked") == 1
    assert "2 likes" in await street.ada.sees("/")


async def test_who_follows_somebody_hears_of_their_posts(street: Street) -> None:
    await street.dan.sends("/posts/1/follow", of="author")
    await street.ada.writes("Another one")
    assert await street.dan.inbox() == [("new_post", "ada")]


# The morning ---------------------------------------------------------------------------------------------------------


async def test_tomorrow_at_eight_all_that_is_new_comes_in_one_message(street: Street) -> None:
    for number in range(3):
        await street.cleo.writes(f"Number {number}")
    await street.morning_of(street.ben)
    assert await street.ben.mails() == ["4 new posts on the forum"]
    page = await street.ben.sees("/mailbox")
    assert all(f"Number {number}" in page for number in range(3))
    assert "Welcome" in page


async def test_a_morning_without_news_brings_no_message(street: Street) -> None:
    await street.morning_of(street.ben)
    first = await street.ben.mails()
    assert len(first) == 1
    await street.morning_of(street.ben)
    assert await street.ben.mails() == first


async def test_each_post_is_in_one_morning_only(street: Street) -> None:
    await street.morning_of(street.ben)
    await street.cleo.writes("News")
    await street.morning_of(street.ben)
    assert await street.ben.mails() == ["New on the forum: News", "New on the forum: Welcome"]


async def test_what_is_private_or_deleted_or_their_own_is_not_in_it(street: Street) -> None:
    await street.cleo.writes("Stays")
    private, deleted = await street.cleo.writes("Private"), await street.cleo.writes("Deleted")
    await street.ben.writes("Own")
    await street.cleo.sends(f"{private}/hide")
    await street.cleo.sends(f"{deleted}/delete")
    await street.morning_of(street.ben)
    assert await street.ben.mails() == ["2 new posts on the forum"]
    page = await street.ben.sees("/mailbox")
    assert not any(title in page for title in ("Private", "Deleted", "Own"))


async def test_what_goes_in_the_last_minutes_goes_out_of_the_message_and_an_edit_goes_in(street: Street) -> None:
    private, deleted = await street.cleo.writes("Private"), await street.cleo.writes("Deleted")
    await street.morning_of(street.ben, but=timedelta(minutes=5))
    assert await street.ben.mails() == []
    await street.cleo.sends(f"{private}/hide")
    await street.cleo.sends(f"{deleted}/delete")
    await street.ada.sends("/posts/1/edit", text="In other words.")
    await street.later(timedelta(minutes=6))
    assert await street.ben.mails() == ["New on the forum: Welcome"]
    assert "In other words." in await street.ben.sees("/mailbox")


async def test_a_thread_read_daily_comes_with_the_front_page(street: Street) -> None:
    await street.ada.sends("/settings", thread_reply="daily")
    await street.cleo.sends("/posts/1/comment", text="Hello!")
    await street.cleo.writes("News")
    await street.morning_of(street.ada)
    assert len(await street.ada.mails()) == 1
    page = await street.ada.sees("/mailbox")
    assert "Hello!" in page
    assert "News" in page


# The pages -----------------------------------------------------------------------------------------------------------


async def test_what_people_write_is_text_and_never_markup(street: Street) -> None:
    evil = "<script>alert(1)</script>"
    post = await street.cleo.writes(evil, evil)
    await street.dan.sends(f"{post}/comment", text=f"{evil} @ada")
    for page in ("/", post, "/inbox", "/mailbox"):
        shown = await street.ada.sees(page)
        assert "alert(1)" in shown
        assert "<script" not in shown


@pytest.mark.parametrize("origin", [None, "null", "http://elsewhere.example", f"{HERE}.elsewhere.example"])
async def test_a_form_from_elsewhere_is_refused(street: Street, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = await street.ben.browser.post("/posts/1/mute", headers=headers)
    assert answer.status_code == 403
    assert "You follow this thread." in await street.ben.sees("/posts/1")


async def test_who_is_nobody_is_asked_who_they_are(street: Street) -> None:
    transport = street.ada.browser._transport
    async with httpx2.AsyncClient(transport=transport, base_url=HERE, cookies={"who": "mallory"}) as browser:
        assert (await browser.get("/")).headers["location"] == "/who"
        chosen = await browser.post("/who", data={"who": "ada"}, headers={"Origin": HERE})
        assert "samesite=strict" in chosen.headers["set-cookie"].lower()


async def test_what_is_not_for_everybody_is_not_there_for_them(street: Street) -> None:
    private = await street.cleo.writes("Private")
    await street.cleo.sends(f"{private}/hide")
    assert "Private" not in await street.ada.sees("/")
    for path in (private, "/posts/99", "/posts/99999999999", "/posts/x", "/posts/²"):
        assert (await street.ada.browser.get(path)).status_code == 404
    refused = await street.ada.browser.post("/posts/1/comment", data={"text": " "}, headers={"Origin": HERE})
    assert refused.status_code == 422
    refused = await street.ada.browser.post("/settings", data={"front_page": "immediate"}, headers={"Origin": HERE})
    assert (refused.status_code, "comes as a digest" in refused.text) == (422, True)
    for what in ("edit", "hide", "delete", "nonsense"):
        refused = await street.ben.browser.post(f"/posts/1/{what}", data={"text": "x"}, headers={"Origin": HERE})
        assert refused.status_code == 403


@pytest.mark.parametrize("answers", ["99", "x", "²", "99999999999", ""])
async def test_an_answer_to_no_comment_of_the_post_is_a_comment(street: Street, answers: str) -> None:
    await street.dan.sends("/posts/1/comment", text="Hello!", answers=answers)
    assert await street.ben.inbox() == [("thread_reply", "dan")]


# As a whole ----------------------------------------------------------------------------------------------------------


def test_the_product_itself_is_under_three_hundred_lines_of_python() -> None:
    assert sum(len((FORUM / name).read_text().splitlines()) for name in ("app.py", "posts.py")) < 300


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_one_command_runs_it_and_a_signal_ends_all_of_it(sign: signal.Signals) -> None:
    scratch = scratch_folder("hark-test-forum-")
    process = subprocess.Popen(
        [sys.executable, "-m", "examples.forum", "0"],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[4]
        assert "Who are you?" in httpx2.get(f"{address}/", follow_redirects=True).text
        process.send_signal(sign)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert (process.returncode, said) == (0, "")
    eventually(lambda: not list(scratch.iterdir()), "it removed what it wrote")
    assert [each for each in every_process() if str(scratch) in each.arguments] == []
    scratch.rmdir()
