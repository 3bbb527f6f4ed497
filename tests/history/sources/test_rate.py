"""The rate as servers count it: the sandbox in one process, two that ask all they may, and no second has too many.

It goes by the clock on the wall, and wants a machine to itself: so it runs only where it is asked for. HARK_RATE=1:
some seconds at 50 a second; HARK_LONG=1: ten minutes at 10 a second, as the operators' table has it, with 99 % of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from tests.history.sources.asking_child import TASKS
from tests.servers import REPOSITORY

LONG = bool(os.environ.get("HARK_LONG"))
pytestmark = pytest.mark.skipif(
    not (LONG or os.environ.get("HARK_RATE")), reason="needs a machine to itself: HARK_RATE=1 or HARK_LONG=1 runs it"
)
RATE, SECONDS = (10, 600) if LONG else (50, 15)
SOURCES = ("purchase", "shop")
STORM = {"kind": "too_many", "share": 0.5}
SPOKEN = {"kind": "too_many", "share": 0.02, "retry_after": "0.4"}


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A child, ended with the block."""
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def call(url: str, method: str = "GET", content: object = None) -> Any:
    body = None if content is None else json.dumps(content).encode()
    with urlopen(Request(url, body, {"content-type": "application/json"}, method=method)) as answer:
        return json.load(answer)


@contextmanager
def sandbox() -> Iterator[str]:
    main = "from hark.doors.cli import main; main()"
    with process("-c", main, "sandbox", "--port", "0", "--users", "100000", "--receipts", "3", "--json") as child:
        yield json.loads(line_of(child))["url"]


def asked(dsn: str, url: str) -> list[dict[str, Any]]:
    """What two processes did that asked both sources as much as they may."""
    arguments = ("-m", "tests.history.sources.asking_child", dsn, url, f"{RATE}/s", str(SECONDS), *SOURCES)
    with process(*arguments) as one, process(*arguments) as two:
        for child in (one, two):
            assert line_of(child) == "ready\n"
        for child in (one, two):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        return [json.loads(line_of(child)) for child in (one, two)]


@pytest.mark.slow
@pytest.mark.parametrize("storm", [None, STORM, SPOKEN], ids=["calm", "storm", "storm that says how long"])
def test_no_second_has_more_than_it_may_at_either_server(paced: str, storm: object) -> None:
    with psycopg.connect(paced, autocommit=True) as connection:
        connection.execute("truncate hark.source_pace")
    with sandbox() as url:
        if storm is not None:
            call(f"{url}/sandbox/faults", "POST", storm)
        counts = asked(paced, url)
        came = {name: call(f"{url}/sandbox/arrivals?source={name}") for name in SOURCES}
    for name in SOURCES:
        told = came[name]
        rate = told["count"] / RATE / SECONDS
        print(f"{name}: {told['count']} in {SECONDS} s, {rate:.2%} of the rate, {told['most_in_any_period']} at most")
        assert told["most_in_any_period"] <= RATE
        # Some are given up at the end, while they are on their way.
        assert abs(sum(each[name]["requests"] for each in counts) - told["count"]) <= 2 * TASKS
        assert {each["status"] for each in told["arrivals"]} == ({200} if storm is None else {200, 429})
        assert not LONG or storm is SPOKEN or rate >= 0.99
