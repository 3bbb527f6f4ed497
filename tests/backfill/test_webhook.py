"""The webhook of backfills: what it is told, how it is signed, when it is tried again."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from hark.backfill import control
from hark.backfill.notice import Told
from hark.backfill.webhook import Hook, body_of, key_of, signed
from hark.clock import VirtualClock
from hark.config import Settings
from hark.guarded.addresses import Allowed
from hark.guarded.client import Guarded
from tests.backfill.campus import Campus
from tests.backfill.test_run import Unreadable, started, twelve
from tests.guarded.serving import Asked, Server, said, serving
from tests.world import MONDAY_NOON

HOME = Allowed.parse(["127.0.0.1"])
TOLD = Told("backfill-7-APPLIED-1", "ended", MONDAY_NOON, 7, "preferences", None, "APPLIED", "", 9, 8, 6, 1, 1)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def hooked(
    answer: Callable[[Asked], bytes | None], path: str = "/hook", allowed: Allowed = HOME
) -> AsyncIterator[tuple[Hook, Server]]:
    """A hook with hardly a wait between its attempts, and the server that it calls."""
    client = Guarded(allowed)
    async with serving(answer) as server:
        waits = [timedelta(milliseconds=1)] * 3
        yield Hook(server.url(path), client, VirtualClock(MONDAY_NOON), key_of(SECRET), waits), server
        await client.close()


async def test_it_is_told_once_and_signed(campus: Campus) -> None:
    backfill = await twelve(campus)
    async with hooked(lambda _asked: said({})) as (hook, server):
        await started(campus, backfill)
        runner = campus.runner(webhook=hook)
        while not (await runner.step(backfill)).over:
            pass
        await hook.close()
    (asked,) = server.asked
    given = asked.json()
    assert (given["type"], given["data"]["backfill"], given["data"]["state"]) == ("backfill.ended", backfill, "APPLIED")
    assert (given["data"]["members"], given["data"]["applied"]) == (12, 12)
    head = asked.headers
    whole = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + asked.body
    mine = b64encode(hmac.digest(b64decode(SECRET.removeprefix("whsec_")), whole, "sha256")).decode()
    assert head["webhook-signature"] == f"v1,{mine}"


def test_the_signature_is_that_of_the_standard() -> None:
    body = b'{"test": 2432232314}'
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", MONDAY_NOON.fromtimestamp(1614265330), body, key_of(SECRET))
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_there_is_no_signature() -> None:
    assert "webhook-signature" not in signed("m", MONDAY_NOON, b"{}", None)
    assert Hook.of(None, Settings(), Guarded(), VirtualClock(MONDAY_NOON)) is None


async def test_a_server_in_trouble_is_called_again_with_the_same_message() -> None:
    answers = [said(status="500 No"), said(status="429 Slow"), said(status="204 Yes")]
    async with hooked(lambda _asked: answers.pop(0)) as (hook, server):
        hook.tell(TOLD)
        await hook.close()
    assert answers == []
    assert {(each.headers["webhook-id"], each.body) for each in server.asked} == {(TOLD.id, body_of(TOLD))}


async def test_it_is_given_up_after_the_last_attempt_and_logged_without_its_url() -> None:
    with capture_logs() as log:
        async with hooked(lambda _asked: said(status="503 No"), "/secret-token") as (hook, server):
            hook.tell(TOLD)
            await hook.close()
    assert len(server.asked) == 4
    assert [(line["event"], line["attempt"], line["last"]) for line in log] == [
        ("backfill_webhook_failed", attempt, attempt == 4) for attempt in (1, 2, 3, 4)
    ]
    assert "secret-token" not in str(log)


async def test_what_it_refuses_for_good_is_not_tried_again() -> None:
    async with hooked(lambda _asked: said(status="410 Gone")) as (hook, server):
        hook.tell(TOLD)
        await hook.close()
    assert len(server.asked) == 1


async def test_a_private_address_that_is_not_allowed_is_never_called() -> None:
    with capture_logs() as log:
        async with hooked(lambda _asked: said({}), allowed=Allowed()) as (hook, server):
            hook.tell(TOLD)
            await hook.close()
    assert server.connections == 0
    assert {line["why"] for line in log} == {"Blocked"}


async def test_a_server_that_never_answers_holds_up_neither_a_run_nor_the_end(campus: Campus) -> None:
    backfill = await twelve(campus)
    async with hooked(lambda _asked: None) as (hook, _):
        await started(campus, backfill)
        runner = campus.runner(webhook=hook)
        while not (await runner.step(backfill)).over:
            pass
        assert await campus.state(backfill) == "APPLIED"
        await hook.close(timedelta(milliseconds=50))


async def test_of_a_plan_that_failed_and_of_a_cancel_it_is_told_too(campus: Campus) -> None:
    canceled = await twelve(campus)
    failing = await campus.ask()
    await campus.run("update hark.backfill set request = '{}' where id = %s", failing)
    async with hooked(lambda _asked: said({})) as (hook, server):
        await campus.runner(webhook=hook).step(failing)
        await control.cancel(campus.database, canceled, who="paul", now=campus.clock.now(), webhook=hook)
        await hook.close()
    told = [asked.json()["data"] for asked in server.asked]
    assert {(each["backfill"], each["state"]) for each in told} == {(failing, "FAILED"), (canceled, "CANCELED")}


async def test_of_a_standstill_it_is_told_once_by_whichever_worker(campus: Campus) -> None:
    backfill = await twelve(campus)
    await started(campus, backfill)
    async with hooked(lambda _asked: said({})) as (hook, server):
        hands = [campus.runner(f"hand/{n}", probes=Unreadable(), webhook=hook) for n in range(2)]
        for _ in range(5):
            for hand in hands:
                await hand.step(backfill)
            campus.clock.advance(timedelta(minutes=5))
        await hook.close()
    (asked,) = server.asked
    given = asked.json()
    assert (given["type"], given["data"]["state"], given["data"]["why"]) == (
        "backfill.stalled",
        "APPLYING",
        "unreadable",
    )


@pytest.mark.parametrize("what", ["ended", "stalled"])
def test_the_body_says_what_it_is_about(what: str) -> None:
    assert f'"type":"backfill.{what}"'.encode() in body_of(replace(TOLD, what=what))
