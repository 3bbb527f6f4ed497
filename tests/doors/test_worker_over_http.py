"""`hark worker` as a real process, and what it calls over HTTP: feeds, and the webhook of backfills."""

from __future__ import annotations

import hmac
import signal
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.doors.commands import Desk
from tests.doors.listening import Heard, listening
from tests.doors.test_backfill import ASKED, PEOPLE, having_push
from tests.servers import eventually

FEED = """
[reasons.front_page]
title    = "Your front page"
channels = {{ Students = ["email"] }}
batching = "daily"
feed     = {{ url = "{url}/front_page?token=${{SHOP_TOKEN}}" }}
templates = {{ subject = "Your front page", text = "{{{{ payload.title }}}}" }}
"""
HOOK = """
[reasons.backfill_ended]
title    = "Backfills"
channels = {{ Admins = ["in_app"] }}
templates = {{ text = "Backfill {{{{ payload.backfill }}}} is {{{{ payload.state }}}}" }}

[backfills]
notify  = {{ reason = "backfill_ended", to = ["olga"] }}
webhook = "{url}/hook/${{HOOK_TOKEN}}"
"""
HOME = "127.0.0.1"
SECRET = "whsec_" + b64encode(b"of the sea" * 3).decode()


@contextmanager
def working(desk: Desk, **environment: str) -> Iterator[None]:
    process = desk.spawn("worker", "--maildir", "mails", **environment)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()


def add(desk: Desk, text: str) -> None:
    desk.write("hark.toml", (desk.directory / "hark.toml").read_text() + text)


def test_a_feed_behind_a_url_is_asked_and_planned_into_a_digest(desk: Desk) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=4)).strftime("%H:%M")
    item = {"recipient": "bob", "key": "post:1", "at": "2026-03-02T12:00:00+00:00", "payload": {"title": "News"}}
    with listening(lambda _heard: (200, {"items": [item]})) as shop:
        add(desk, FEED.format(url=shop.url))
        bob = f"id,user_type,address,confirmed,digest_at\nbob,Students,bob@school.example,true,{soon}\n"
        desk.write("bob.csv", bob)
        given = {"SHOP_TOKEN": "t0ken", "HARK_HTTP_ALLOW_PRIVATE": HOME}
        assert desk.hark_alone("recipients", "import", "bob.csv", **given).code == 0
        with working(desk, **given):
            eventually(lambda: desk.ask("select count(*) from hark.digest") == 1, "the digest is planned")
    asked = shop.heard[0]
    assert asked.path == "/front_page?token=t0ken"
    assert (asked.json()["reason"], [each["recipient"] for each in asked.json()["due"]]) == ("front_page", ["bob"])


def test_a_feed_at_a_private_address_that_is_not_allowed_is_not_asked(desk: Desk) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=4)).strftime("%H:%M")
    with listening(lambda _heard: (200, {"items": []})) as shop:
        add(desk, FEED.format(url=shop.url))
        desk.write("bob.csv", f"id,user_type,address,confirmed,digest_at\nbob,Students,b@s.example,true,{soon}\n")
        assert desk.hark_alone("recipients", "import", "bob.csv", SHOP_TOKEN="t0ken").code == 0
        with working(desk, SHOP_TOKEN="t0ken"):
            failed = "select count(*) from hark.walk where fault like '%%http_allow_private%%'"
            eventually(lambda: desk.ask(failed) == 1, "the walk says why it waits")
    assert shop.heard == []


def test_the_end_of_a_backfill_is_told_by_webhook_and_through_hark(desk: Desk) -> None:
    desk.execute(PEOPLE + "insert into hark.recipient (id, user_type, updated_at) values ('olga', 'Admins', now())")
    answers = [(503, None), (204, None)]
    with listening(lambda _heard: answers.pop(0)) as hook:
        add(desk, HOOK.format(url=hook.url))
        given = {"HOOK_TOKEN": "h00k", "HARK_WEBHOOK_SECRET": SECRET, "HARK_HTTP_ALLOW_PRIVATE": HOME}
        assert desk.hark_alone(*ASKED, "--ids", "u0001", "--apply", "--detach", **given).code == 0
        with working(desk, **given):
            eventually(lambda: len(hook.heard) == 2, "the webhook is called again after it failed")
            told = "select count(*) from hark.notification n join hark.event e on e.id = n.event_id"
            eventually(lambda: desk.ask(f"{told} where e.reason = 'backfill_ended' and n.in_app") == 1, "olga is told")
    assert having_push(desk) == 1
    assert [each.path for each in hook.heard] == ["/hook/h00k"] * 2
    assert hook.heard[0].body == hook.heard[1].body
    assert hook.heard[1].json()["data"]["applied"] == 1
    assert all(each.headers["webhook-signature"] == f"v1,{signature(each)}" for each in hook.heard)


def test_who_applies_at_the_command_line_calls_it_too(desk: Desk) -> None:
    desk.execute(PEOPLE)
    with listening(lambda _heard: (200, {})) as hook:
        add(desk, HOOK.format(url=hook.url))
        given = {"HOOK_TOKEN": "h00k", "HARK_HTTP_ALLOW_PRIVATE": HOME}
        done = desk.hark_alone(*ASKED, "--ids", "u0001", "--apply", **given)
        assert done.code == 0, done.err
        assert [each.json()["type"] for each in hook.heard] == ["backfill.ended"]
        desk.hark_alone(*ASKED, "--ids", "u0002", **given)
        unread = desk.hark_alone("backfill", "apply", "2")
    assert (unread.code, "no webhook is called" in unread.err) == (0, True)
    assert len(hook.heard) == 1


def signature(call: Heard) -> str:
    whole = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    return b64encode(hmac.digest(b"of the sea" * 3, whole, "sha256")).decode()
