"""`hark worker` ends when it is told to, whatever of the product's still hangs."""

from __future__ import annotations

import signal

import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk
from tests.servers import eventually

RECHECKS = """
import asyncio, time
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)

async def in_a_thread(asked):
    await asyncio.to_thread(time.sleep, 1000)

async def will_not_be_canceled(asked):
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

def in_a_pool(asked):
    return pool.submit(time.sleep, 1000).result()
"""
REASON = """
[reasons.asked]
title    = "Asked"
channels = { Students = ["email"] }
batching = "immediate"
recheck  = { python = "shop_that_hangs:NAME" }
templates = { subject = "Asked", text = "Asked" }
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sign", "code"),
    [
        ("in_a_thread", signal.SIGTERM, ExitCode.DONE),
        ("will_not_be_canceled", signal.SIGTERM, ExitCode.DONE),
        ("in_a_pool", signal.SIGINT, ExitCode.INTERRUPTED),
    ],
)
def test_a_worker_ends_though_a_recheck_hangs(desk: Desk, name: str, sign: signal.Signals, code: ExitCode) -> None:
    desk.write("shop_that_hangs.py", RECHECKS)
    desk.write("hark.toml", (desk.directory / "hark.toml").read_text() + REASON.replace("NAME", name))
    assert desk.hark("recipients", "import", "people.csv").code == 0
    process = desk.spawn("worker", "--maildir", "mails", HARK_FEED_TIMEOUT="1s")
    try:
        assert desk.hark_alone("publish", "asked", "--to", "bob").code == 0
        eventually(
            lambda: desk.ask("select count(*) from hark.delivery where attempt > 0 and state = 'PENDING'"), "asked"
        )
        process.send_signal(sign)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "1 given back" in out and "stopping" in err
