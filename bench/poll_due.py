"""What does it cost to find, and to take, what is due while millions of deliveries wait?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import AsyncClientCursor

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection
from bench.result import Result
from bench.waiting import WAITING, due_after, waiting_deliveries
from hark.catalogue import Channel
from hark.delivery.claim import claim_due
from hark.postgres.database import Database

DUE = 10_000
LIMIT = 500
FINDS = 50

FIND = """
select recipient_id, id from hark.delivery
 where state = 'PENDING' and channel = 'email' and due_at <= %s order by due_at limit %s
"""
PUBLISHED_FIND = """
select id, recipient from email_notification
 where state = 'pending' and scheduled_at <= %s order by scheduled_at limit %s for update skip locked
"""
NOTHING_ELSE = "create temp table nothing_else as " + FIND
READ = "select recipient_id, id from nothing_else"
RAW_CLAIM = """
update hark.delivery d
   set state = 'SENDING', gathering = false, attempt = d.attempt + 1, lease_until = %(lease)s, worker = 'w',
       changed_at = %(now)s
  from (select recipient_id, id from hark.delivery
         where state = 'PENDING' and channel = 'email' and due_at <= %(now)s
         order by due_at limit %(limit)s for update skip locked) due
 where d.recipient_id = due.recipient_id and d.id = due.id
returning d.recipient_id, d.id
"""
PUBLISHED_CLAIM = "update email_notification set state = 'sending' where id = %s"

FINDING = Question(
    name="poll_due",
    question="What does it cost to find 500 due deliveries while millions wait?",
    unit="ms",
    higher_is_better=False,
    peer_name=(
        "SELECT … WHERE state = 'pending' AND scheduled_at <= now() FOR UPDATE SKIP LOCKED, with an index on the state"
    ),
    limit_name="the same 500 rows read from a table that holds nothing else",
    notes=(
        "The SELECT inside the claim, without its row locks: those are writes, which `poll_due_claim` counts. Mean "
        f"of {FINDS} polls a round, 500 rows fetched each time."
    ),
)
CLAIMING = Question(
    name="poll_due_claim",
    question="And to claim them: lock, lease, number, history?",
    unit="ms",
    higher_is_better=False,
    peer_name=FINDING.peer_name + ", then one UPDATE a row in the same transaction",
    limit_name=(
        "a bare UPDATE … FROM (SELECT … FOR UPDATE SKIP LOCKED) RETURNING on the same table, its history trigger off"
    ),
    notes=(
        "Claim after claim until the 10,000 that are due are taken, as workers do; then time moves on by another "
        "10,000. What one claim leaves behind in the index is in the way of the next, whoever made it. Mean of a "
        "claim. The peer claims once a round."
    ),
)


def measure(scale: float) -> list[Result]:
    """Finding alone, then whole claims."""
    waiting = max(int(WAITING * scale), 20 * LIMIT)
    return asyncio.run(_measure(waiting, min(DUE, waiting // 20), scale))


@dataclass(slots=True)
class _Field:
    database: Database
    raw: Connection
    due: int
    passed: int = 0

    def later(self) -> datetime:
        """A moment when so many more are due."""
        self.passed += self.due
        return due_after(self.passed)

    async def find(self) -> float:
        return await self._fetch(FIND, due_after(self.due), LIMIT)

    async def read(self) -> float:
        return await self._fetch(READ)

    async def published_find(self) -> float:
        with stopwatch() as watch:
            await (await self.raw.execute(PUBLISHED_FIND, [due_after(self.due), LIMIT])).fetchall()
        return watch.seconds * 1000

    async def claim(self) -> float:
        now = self.later()
        lease = timedelta(seconds=60)
        with stopwatch() as watch:
            for _ in range(self.due // LIMIT):
                claimed = await claim_due(self.database, Channel.EMAIL, now, worker="w", lease=lease, limit=LIMIT)
                assert len(claimed) == LIMIT
        return watch.seconds / (self.due // LIMIT) * 1000

    async def raw_claim(self) -> float:
        now = self.later()
        given = {"now": now, "lease": now + timedelta(seconds=60), "limit": LIMIT}
        await self.raw.execute("set session_replication_role = replica")
        with stopwatch() as watch:
            for _ in range(self.due // LIMIT):
                assert len(await (await self.raw.execute(RAW_CLAIM, given)).fetchall()) == LIMIT
        await self.raw.execute("reset session_replication_role")
        return watch.seconds / (self.due // LIMIT) * 1000

    async def published_claim(self) -> float:
        with stopwatch() as watch:
            async with self.raw.transaction():
                found = await self.raw.execute(PUBLISHED_FIND, [self.later(), LIMIT])
                for identity, _ in await found.fetchall():
                    await self.raw.execute(PUBLISHED_CLAIM, [identity])
        return watch.seconds * 1000

    async def _fetch(self, query: str, *given: object) -> float:
        with stopwatch() as watch:
            for _ in range(FINDS):
                assert len(await (await self.raw.execute(query, given)).fetchall()) == LIMIT
        return watch.seconds / FINDS * 1000


async def _measure(waiting: int, due: int, scale: float) -> list[Result]:
    async with waiting_deliveries(waiting) as (database, raw):
        await AsyncClientCursor(raw).execute(NOTHING_ELSE, [due_after(due), LIMIT])
        field = _Field(database, raw, due)
        finds = await take_turns({"limit": field.read, "hark": field.find, "peer": field.published_find}, rounds=5)
        claims = await take_turns({"limit": field.raw_claim, "hark": field.claim, "peer": field.published_claim})
    target = Target(figure=1.0) if scale >= 1 else None
    sizes = {"waiting": waiting, "due": due, "limit": LIMIT}
    return [answer(FINDING, finds, sizes, target), answer(CLAIMING, claims, sizes)]
