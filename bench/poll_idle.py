"""What does a poll cost while millions of deliveries wait and none is due?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection
from bench.result import Result
from bench.waiting import START, WAITING, waiting_deliveries
from hark.catalogue import Channel
from hark.delivery.claim import claim_due, next_due
from hark.postgres.database import Database

POLLS = 200
PUBLISHED_CLAIM = """
select id, recipient from email_notification
 where state = 'pending' and scheduled_at <= %s order by scheduled_at limit 200 for update skip locked
"""
PUBLISHED_COUNT = "select count(*) from email_notification where state = 'pending' and scheduled_at <= %s"

CLAIM = Question(
    name="poll_idle",
    question="What does it cost to look for due deliveries while millions wait and none is due?",
    unit="ms",
    higher_is_better=False,
    peer_name=(
        "SELECT … WHERE state = 'pending' AND scheduled_at <= now() FOR UPDATE SKIP LOCKED, with an index on the state"
    ),
    limit_name="SELECT 1 on one connection",
    notes=(
        f"The claim as workers run it, pool and Python included; mean of {POLLS} polls a round. The peer polls once "
        "a round."
    ),
)
NEXT = Question(
    name="poll_idle_next_due",
    question="And to ask when the next one is due?",
    unit="ms",
    higher_is_better=False,
    peer_name="SELECT COUNT(*) of what is pending and due, with an index on the state",
    limit_name=CLAIM.limit_name,
    notes=CLAIM.notes,
)


def measure(scale: float) -> list[Result]:
    """The claim and the question for the next due time, with nothing due."""
    return asyncio.run(_measure(max(int(WAITING * scale), 1_000), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection

    async def claim(self) -> float:
        with stopwatch() as watch:
            for _ in range(POLLS):
                lease = timedelta(seconds=60)
                assert not await claim_due(self.database, Channel.EMAIL, START, worker="w", lease=lease, limit=200)
        return watch.seconds / POLLS * 1000

    async def next_due(self) -> float:
        with stopwatch() as watch:
            for _ in range(POLLS):
                assert await next_due(self.database, Channel.EMAIL) is not None
        return watch.seconds / POLLS * 1000

    async def nothing(self) -> float:
        with stopwatch() as watch:
            for _ in range(POLLS):
                await (await self.raw.execute("select 1")).fetchone()
        return watch.seconds / POLLS * 1000

    async def published(self, query: str) -> float:
        with stopwatch() as watch:
            await (await self.raw.execute(query, [START])).fetchall()
        return watch.seconds * 1000


async def _measure(waiting: int, scale: float) -> list[Result]:
    async with waiting_deliveries(waiting) as (database, raw):
        field = _Field(database, raw)
        claims = await take_turns(
            {"limit": field.nothing, "hark": field.claim, "peer": lambda: field.published(PUBLISHED_CLAIM)}, rounds=5
        )
        nexts = await take_turns(
            {"limit": field.nothing, "hark": field.next_due, "peer": lambda: field.published(PUBLISHED_COUNT)}, rounds=5
        )
    target = Target(figure=1.0) if scale >= 1 else None
    sizes = {"waiting": waiting, "due": 0}
    return [answer(CLAIM, claims, sizes, target), answer(NEXT, nexts, sizes, target)]
