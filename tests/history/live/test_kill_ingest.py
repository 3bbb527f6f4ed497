"""Processes that ingest are killed in the middle, and others go on: the facts are the fold, and nothing is twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.commands import Desk, desk, furnished
from tests.history.live.events import factoid, receipt, value
from tests.history.live.topics import Topics
from tests.servers import eventually

__all__ = ["desk", "furnished"]

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

NONSENSE = b'{"user_id": '
EVENTS = 500
USERS = 60
SUM = "select coalesce(sum(position), 0) from hark.ingest_position"


def events(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """Receipts and orders, corrected, doubled and mixed up; one in a hundred is nonsense."""
    said: list[tuple[str, bytes]] = []
    for version in range(1, EVENTS + 1):
        number = chance.randrange(EVENTS // 2)
        user = f"user-{number % USERS:03}"
        items = chance.choices(("milk", "tea", "bread"), k=chance.randrange(4))
        if chance.randrange(100) == 0:
            said.append(("receipts", NONSENSE))
        elif number % 2:
            said.append(("receipts", value(receipt(f"r{number}", *items, user=user, version=version))))
        else:
            said.append(("factoids", value(factoid(f"b{number}", user=user, version=version))))
    said += chance.sample(said, EVENTS // 10)
    chance.shuffle(said)
    yield from said


def test_killed_again_and_again(desk: Desk, topics: Topics) -> None:
    chance = random.Random(11)
    written = list(events(chance))
    for what, body in written:
        getattr(topics, what)(body, partition=chance.randrange(2))
    running = [start(desk, topics) for _ in range(2)]
    for kill in range(3):
        reached = (kill + 1) * len(written) // 5
        eventually(lambda at=reached: desk.ask(SUM) >= at, f"{reached} are taken", 120)  # type: ignore[misc]
        running[kill % 2].kill()
        running[kill % 2].communicate()
        running[kill % 2] = start(desk, topics)
    eventually(lambda: desk.ask(SUM) >= len(written), "all are taken", 120)
    for each in running:
        await_assignment(each)
        each.send_signal(signal.SIGTERM)
    for each in running:
        out, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
        assert "messages taken" in out
    check(desk, written)


def start(desk: Desk, topics: Topics) -> subprocess.Popen[str]:
    return desk.spawn("ingest", "--ingest-chunk", "40", **topics.environment)


def await_assignment(process: subprocess.Popen[str]) -> None:
    """One that was just started does not know yet what to do when it is told to stop."""
    assert process.stderr is not None
    assert any("ingest_assigned" in line for line in process.stderr)


def check(desk: Desk, written: list[tuple[str, bytes]]) -> None:
    """Against a fold of what was written, which knows nothing of partitions, chunks, kills and facts."""
    receipts: dict[str, Any] = {}
    orders: dict[str, int] = {}
    for what, body in written:
        if body == NONSENSE:
            continue
        said = json.loads(body)
        if what == "factoids":
            orders[said["summaryID"]] = max(said["version"], orders.get(said["summaryID"], 0))
        elif said["version"] >= receipts.get(said["receipt_id"], said)["version"]:
            receipts[said["receipt_id"]] = said
    lines = {
        f"receipt:{number}:{line['line']}": said["version"]
        for number, said in receipts.items()
        for line in said["lines"]
    }
    expected = lines | {f"order:{number}": version for number, version in orders.items()}
    assert desk.ask("select jsonb_object_agg(key, version) from hark.fact where not deleted") == expected
    assert desk.ask(SUM) == len(written)
    assert desk.ask("select count(*) from hark.ingest_dead") == sum(body == NONSENSE for _, body in written)
