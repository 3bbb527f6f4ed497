"""Processes that ingest are killed in the middle, and others go on: the facts are the fold, and nothing is twice."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator

import pytest

from hark.history.facts import Fact
from hark.history.live.contracts import News
from tests.doors.commands import Desk, desk, furnished
from tests.history.ledger import Ledger
from tests.history.live.events import factoid, receipt, value
from tests.history.live.topics import Topics, read_by
from tests.servers import eventually

__all__ = ["desk", "furnished"]

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

EVENTS = 1_500
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
            said.append(("receipts", b'{"user_id": '))
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
    for kill in range(4):
        reached = (kill + 1) * len(written) // 6
        eventually(lambda at=reached: desk.ask(SUM) >= at, f"{reached} are taken", 120)  # type: ignore[misc]
        running[kill % 2].kill()
        running[kill % 2].communicate()
        running[kill % 2] = start(desk, topics)
    eventually(lambda: desk.ask(SUM) >= len(written), "all are taken", 120)
    for each in running:
        each.send_signal(signal.SIGTERM)
    for each in running:
        out, err = each.communicate(timeout=60)
        assert each.returncode == 0, err
        assert "messages taken" in out
    check(desk, topics, written)


def start(desk: Desk, topics: Topics) -> subprocess.Popen[str]:
    return desk.spawn("ingest", "--ingest-chunk", "40", **topics.environment)


def check(desk: Desk, topics: Topics, written: list[tuple[str, bytes]]) -> None:
    """Against a fold of what was written, which knows nothing of partitions, chunks and kills."""
    read, settings = read_by(topics.settings), topics.settings
    named = {"receipts": settings.ingest_receipts_topic, "factoids": settings.ingest_factoids_topic}
    said = [read.read(named[what], body) for what, body in written]
    ledger = Ledger()
    facts: list[Fact] = [fact for each in said if isinstance(each, News) for fact in each.facts]
    for fact in sorted(facts, key=lambda each: each.version):
        ledger.say(None, [fact])
    expected = {key: fact.version for n in range(USERS) for key, fact in ledger.alive(f"user-{n:03}").items()}
    held = desk.ask("select jsonb_object_agg(key, version) from hark.fact where not deleted")
    assert held == expected
    assert desk.ask(SUM) == len(written)
    assert desk.ask("select count(*) from hark.ingest_dead") == len(said) - sum(isinstance(s, News) for s in said)
