"""`hark worker` ends when it is told to, whatever of the product's still hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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


PROGRAM = """
import asyncio
import psycopg
from hark.doors.cli import main, working
from hark.errors import Unreachable

async def will_not_end():
    while True:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            pass

async def breaks():
    raise BROKEN("it went away")

async def run(worker, stopping, *, until_idle):
    global left
    left = asyncio.ensure_future(will_not_end())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(breaks())

working._run = run
main()
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
    with at_a_recheck_that_hangs(desk, name) as process:
        process.send_signal(sign)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "1 given back" in out and "stopping" in err


@pytest.mark.slow
def test_what_it_cannot_say_at_its_end_is_said_though_a_recheck_hangs(desk: Desk) -> None:
    with (
        Path("/dev/full").open("w") as full,
        at_a_recheck_that_hangs(desk, "will_not_be_canceled", out=full) as process,
    ):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.UNREACHABLE
    assert "what this says does not fit where it goes" in err and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        ("HarkError", ExitCode.UNREACHABLE, "\nit went away\n"),
        ("psycopg.OperationalError", ExitCode.UNREACHABLE, "\nPostgres went away: it went away\n"),
        ("ZeroDivisionError", ExitCode.NOT_GOOD, "\nZeroDivisionError: it went away\n"),
    ],
)
def test_an_errors_sentence_and_code_come_out_though_a_task_hangs(
    desk: Desk, broken: str, code: ExitCode, said: str
) -> None:
    """The error comes as a worker's does: out of a group of tasks, with one beside it that will not end."""
    program = PROGRAM.replace("BROKEN", broken.replace("HarkError", "Unreachable"))
    ran = subprocess.run(
        [sys.executable, "-c", program, "worker", "--maildir", "mails"],
        cwd=desk.directory,
        env={**os.environ, "HARK_DATABASE_URL": desk.dsn},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == code
    assert ("\n" + ran.stderr).count(said) == 1


@contextmanager
def at_a_recheck_that_hangs(
    desk: Desk, name: str, out: IO[str] | int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    desk.write("shop_that_hangs.py", RECHECKS)
    desk.write("hark.toml", (desk.directory / "hark.toml").read_text() + REASON.replace("NAME", name))
    assert desk.hark("recipients", "import", "people.csv").code == 0
    process = desk.spawn("worker", "--maildir", "mails", out=out, HARK_FEED_TIMEOUT="1s")
    try:
        assert desk.hark_alone("publish", "asked", "--to", "bob").code == 0
        eventually(
            lambda: desk.ask("select count(*) from hark.delivery where attempt > 0 and state = 'PENDING'"), "asked"
        )
        yield process
    finally:
        process.kill()
        process.communicate()
