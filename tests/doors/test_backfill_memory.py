"""How much memory `hark backfill` takes as people run it: of a process of its own, the peak until it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.doors.commands import Desk

PREFERENCES = ("preferences", "--reason", "app_shared", "--channels", "push", "--user-types", "Students")
MOST = 63.0
"""MB: 60 are promised and reached; what another allocator takes more is not what this looks for."""
MORE = 6.0
"""MB that a list of many blocks may take more than one of three lines, however long it is: half of it is taken."""
NOT_NEEDED = {
    *("boto3", "confluent_kafka", "fastapi", "httpcore2", "httpx2", "neo4j", "obstore", "openfeature", "pyarrow"),
    *("structlog", "uvicorn"),
}
"""What other doors and kinds are made of, and what only writes logs, while there is nothing to log."""
PEOPLE = """
insert into hark.recipient (id, user_type, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', now() from generate_series(1, 3000) n;
insert into hark.preference select id, '{"app_shared": ["email"]}', '{}', now() from hark.recipient;
"""
RUN = """
import atexit, os, sys

def tell():
    with open("/proc/self/status") as status, open(os.environ["TOLD"], "w") as told:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
        print(int(peak) / 1024, *{name.partition(".")[0] for name in sys.modules}, file=told)

atexit.register(tell)
from hark.doors.cli import main
main()
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says VmHWM")


@dataclass(frozen=True, slots=True)
class Took:
    """What a command took: its peak in MB, and what it had imported."""

    peak: float
    packages: frozenset[str]


def took(desk: Desk, *arguments: str) -> Took:
    """Run a verb of backfills to its good end."""
    told = desk.directory / "told"
    command = [sys.executable, "-c", RUN, "backfill", *arguments]
    ran = subprocess.run(command, env={**os.environ, "TOLD": str(told)}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    peak, *packages = told.read_text().split()
    return Took(float(peak), frozenset(packages))


def listed(desk: Desk, lines: int) -> str:
    """A list of users, one id a line; most of them nobody knows."""
    return str(desk.write(f"{lines}.csv", "".join(f"user-{n:08}\n" for n in range(1, lines + 1))))


def test_a_backfill_stays_small_from_its_plan_to_its_undo(desk: Desk) -> None:
    desk.execute(PEOPLE)
    taken = {
        "a short list": took(desk, *PREFERENCES, "--file", listed(desk, 3)),
        "a long list": took(desk, *PREFERENCES, "--file", listed(desk, 200_000)),
        "apply": took(desk, "apply", "2"),
        "verify": took(desk, "verify", "2"),
        "undo": took(desk, "undo", "2", "--apply"),
        "list": took(desk, "list"),
    }
    assert desk.ask("select count(*) from hark.backfill_item where backfill_id = 2") == 3000
    assert {what: each.packages & NOT_NEEDED for what, each in taken.items() if each.packages & NOT_NEEDED} == {}
    assert {what: each.peak for what, each in taken.items() if each.peak > MOST} == {}
    assert taken["a long list"].peak - taken["a short list"].peak < MORE
