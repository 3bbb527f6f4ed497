"""How fast does a history run through the real engine?"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import drop_database, make_database, server
from bench.result import Result
from hark.audience import Recipient, put_recipients
from hark.batching import ChunkSize, fan_out_fresh
from hark.catalogue import Channel
from hark.clock import VirtualClock
from hark.delivery.attempt import Sender
from hark.delivery.claim import next_due
from hark.postgres.database import Database
from hark.preferences import install
from hark.replay import History, PastEvent, Policy, open_history, parse_policy, replay
from hark.replay.policy import REASON, USER_TYPE
from hark.replay.recorder import Recorder, Wordless
from hark.replay.scratch import scratch

EVENTS = 59_835
MESSAGES = 46_297
BY_HAND = 2_000
CHUNK = 500
DATABASE = "bench_replay"
POLICY = parse_policy("cooldown=4m")
PUBLISH = "select hark.publish(%s, recipients => array[%s], actor => %s, published_at => %s)"

QUESTION = Question(
    name="replay",
    question="How fast does a history run through the real engine under one policy?",
    unit="events/s",
    higher_is_better=True,
    peer_name="a worker on a virtual clock, as in a test: publish, fan out, send what is due before the next event",
    limit_name="the same statements in chunks of 500, with no regard to when what happened",
    notes=(
        "One policy, cooldown=4m, from making the scratch schema to its figures. The history is SNAP's college messages"
        " where HARK_TEST_DATA has them (checked: 46,297 messages), else a seeded look-alike of as many. The peer gets"
        " the first 2,000 events. The limit gathers what lies too far apart, so it sends fewer messages; neither is "
        "charged for making its schema and its recipients."
    ),
)


def measure(scale: float) -> list[Result]:
    """Replay, beside the same by hand and beside no replay at all."""
    return asyncio.run(_measure(max(int(EVENTS * scale), BY_HAND)))


async def _measure(count: int) -> list[Result]:
    drop_database(DATABASE)
    make_database(DATABASE)
    with tempfile.TemporaryDirectory() as folder:
        history = open_history(_history(Path(folder), count))
        field = _Field(server().dsn_of(DATABASE), history, _is_college(history))
        reached = await take_turns({"limit": field.limit, "hark": field.hark, "peer": field.peer})
    drop_database(DATABASE)
    sizes = {"events": history.events, "events of the peer": min(BY_HAND, history.events)}
    target = Target(figure=EVENTS // 60) if count >= EVENTS else None
    return [answer(QUESTION, reached, sizes, target)]


def _history(folder: Path, count: int) -> Path:
    path = folder / "history.txt"
    named = os.environ.get("HARK_TEST_DATA")
    college = Path(named) / "college-messages.txt" if named else None
    if college is not None and college.is_file():
        with college.open() as lines:
            path.write_text("".join(islice(lines, count)))
    else:
        path.write_text("".join(f"{e.actor} {e.recipient} {e.at.isoformat()}\n" for e in _look_alike(count)))
    return path


def _is_college(history: History) -> bool:
    return history.events == EVENTS and history.first_at == datetime(2004, 4, 15, 14, 56, 1, tzinfo=UTC)


def _look_alike(count: int) -> list[PastEvent]:
    """Talks between two of 1,900, most of a few, each with short and long gaps, spread over half a year."""
    chance = random.Random(20040415)
    events: list[PastEvent] = []
    while len(events) < count:
        at = datetime(2004, 4, 15, tzinfo=UTC) + timedelta(seconds=chance.uniform(0, 193 * 86_400))
        pair = [f"u{int(1_900 * chance.random() ** 2.5)}" for _ in range(2)]
        for _ in range(min(int(chance.expovariate(0.2)) + 1, count - len(events))):
            at += timedelta(seconds=round(chance.lognormvariate(5.3, 1.6)))
            chance.shuffle(pair)
            events.append(PastEvent(pair[0], pair[1], at))
    return sorted(events, key=lambda event: event.at)


@dataclass(frozen=True, slots=True)
class _Field:
    dsn: str
    history: History
    college: bool

    async def hark(self) -> float:
        with stopwatch() as watch:
            [figures] = await replay(self.dsn, self.history, [POLICY])
        assert figures.events == self.history.events
        assert figures.messages == MESSAGES or not self.college
        return self.history.events / watch.seconds

    async def peer(self) -> float:
        async with scratch(self.dsn) as database:
            events = list(islice(self.history, BY_HAND))
            sender = await _ready(database, events, POLICY)
            with stopwatch() as watch:
                for event in events:
                    await _send_before(sender, event.at)
                    await _publish(database, [event])
                    await fan_out_fresh(database, event.at, ChunkSize())
                await _send_before(sender, datetime(3000, 1, 1, tzinfo=UTC))
        return len(events) / watch.seconds

    async def limit(self) -> float:
        async with scratch(self.dsn) as database:
            events = list(self.history)
            sender = await _ready(database, events, POLICY)
            with stopwatch() as watch:
                for start in range(0, len(events), CHUNK):
                    chunk = events[start : start + CHUNK]
                    await _publish(database, chunk)
                    await fan_out_fresh(database, chunk[-1].at, ChunkSize())
                    await _send_at(sender, chunk[-1].at)
                await _send_before(sender, datetime(3000, 1, 1, tzinfo=UTC))
        return len(events) / watch.seconds


async def _ready(database: Database, events: Sequence[PastEvent], policy: Policy) -> Sender:
    """The catalogue and all recipients, and somebody to send."""
    catalogue = policy.catalogue()
    await install(database, catalogue)
    names = sorted({event.recipient for event in events})
    known = [Recipient(name, USER_TYPE, "recipient@bench.invalid", confirmed=True) for name in names]
    await put_recipients(database, known, events[0].at)
    clock = VirtualClock(events[0].at)
    words = Wordless(catalogue, "bench.invalid")
    return Sender(database, Channel.EMAIL, Recorder(), words, clock, "bench", claim_chunk=CHUNK, send_chunk=CHUNK)


async def _publish(database: Database, events: Sequence[PastEvent]) -> None:
    async with database.connection() as connection, connection.cursor() as cursor:
        statement = PUBLISH.replace("hark.", f"{database.schema}.").encode()
        await cursor.executemany(statement, [(REASON, e.recipient, e.actor, e.at) for e in events])


async def _send_at(sender: Sender, moment: datetime) -> None:
    clock = sender.clock
    assert isinstance(clock, VirtualClock)
    clock.move_to(max(moment, clock.now()))
    while (await sender.attempt_due()).more:
        pass


async def _send_before(sender: Sender, moment: datetime) -> None:
    """A worker that is never late: it sends each message when it is due."""
    while (due := await next_due(sender.database, Channel.EMAIL)) is not None and due < moment:
        await _send_at(sender, due)
