"""How many deliveries a second do several workers claim at once?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Channel
from hark.delivery.claim import claim_due
from hark.postgres.database import Database

DUE = 200_000
ONE_BY_ONE = 4_000
WORKERS = 4
CHUNK = 200
DATABASE = "bench_claim"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

MAKE_RAW = "create schema raw; create table raw.delivery (like hark.delivery including all)"
FILL = """
insert into {table} (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items,
                     first_event, last_event, created_at, changed_at)
select 'user-' || lpad(n::text, 8, '0'), 'email', 'news', 'batched', true, false,
       timestamptz '2025-12-01 00:00+00' + n * 7919 % {due} * interval '1s', 'infinity', 1, n, n, now(), now()
  from generate_series(1, {due}::bigint) n
"""
RAW_CLAIM = """
update raw.delivery d
   set state = 'SENDING', gathering = false, attempt = d.attempt + 1, lease_until = %(lease)s, worker = %(worker)s,
       changed_at = %(now)s
  from (select recipient_id, id from raw.delivery
         where state = 'PENDING' and channel = 'email' and due_at <= %(now)s
         order by due_at limit %(limit)s for update skip locked) due
 where d.recipient_id = due.recipient_id and d.id = due.id
returning d.recipient_id, d.id, d.attempt, d.at_least_once
"""
ONE = """
select recipient_id, id from raw.delivery
 where state = 'PENDING' and channel = 'email' and due_at <= %(now)s order by due_at limit 1 for update skip locked
"""
TAKE_ONE = """
update raw.delivery set state = 'SENDING', gathering = false, attempt = attempt + 1, lease_until = %s, worker = %s
 where recipient_id = %s and id = %s
"""

CLAIM = Question(
    name="claim",
    question=f"How many deliveries a second do {WORKERS} workers claim at once?",
    unit="deliveries/s",
    higher_is_better=True,
    peer_name=(
        f"{WORKERS} workers that each take one at a time: SELECT … FOR UPDATE SKIP LOCKED LIMIT 1, UPDATE, COMMIT"
    ),
    limit_name=(
        "a bare UPDATE … FROM (SELECT … FOR UPDATE SKIP LOCKED) RETURNING on an equal table without history trigger"
    ),
    notes=(
        f"Hark and the limit take chunks of {CHUNK} until nothing is left, from {WORKERS} connections of one "
        "process. Hark also writes a row of history for each, after looking up that its arrow is allowed."
    ),
)

Claim = Callable[[int], Awaitable[int]]
"""One claim by the worker of that number: how many it took."""


def measure(scale: float) -> list[Result]:
    """All workers at once until nothing is due any more."""
    return asyncio.run(_measure(max(int(DUE * scale), 2_000), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: list[Connection]
    due: int

    async def hark(self) -> float:
        await self._fill("hark.delivery", self.due)
        return await _all_at_once(self._claim, self.due)

    async def limit(self) -> float:
        await self._fill("raw.delivery", self.due)
        return await _all_at_once(self._raw_claim, self.due)

    async def one_by_one(self) -> float:
        due = min(ONE_BY_ONE, self.due)
        await self._fill("raw.delivery", due)
        return await _all_at_once(self._claim_one, due)

    async def _claim(self, number: int) -> int:
        lease = timedelta(seconds=60)
        worker = f"worker-{number}"
        return len(await claim_due(self.database, Channel.EMAIL, NOW, worker=worker, lease=lease, limit=CHUNK))

    async def _raw_claim(self, number: int) -> int:
        given = {"now": NOW, "lease": NOW + timedelta(seconds=60), "worker": f"worker-{number}", "limit": CHUNK}
        return len(await (await self.raw[number].execute(RAW_CLAIM, given)).fetchall())

    async def _claim_one(self, number: int) -> int:
        connection = self.raw[number]
        async with connection.transaction():
            row = await (await connection.execute(ONE, {"now": NOW})).fetchone()
            if row is None:
                return 0
            await connection.execute(TAKE_ONE, [NOW + timedelta(seconds=60), f"worker-{number}", *row])
        return 1

    async def _fill(self, table: str, due: int) -> None:
        await self.raw[0].execute(f"truncate {table}, hark.delivery_history")
        await self.raw[0].execute(FILL.format(table=table, due=due))
        await settle_down(self.raw[0], table)


async def _all_at_once(claim: Claim, due: int) -> float:
    """Deliveries a second."""

    async def work(number: int) -> int:
        taken = 0
        while chunk := await claim(number):
            taken += chunk
        return taken

    with stopwatch() as watch:
        taken = await asyncio.gather(*(work(number) for number in range(WORKERS)))
    assert sum(taken) == due
    return due / watch.seconds


async def _measure(due: int, scale: float) -> list[Result]:
    async with (
        fresh_hark(DATABASE, catalogue(reason("news", Channel.EMAIL))) as database,
        bare(DATABASE) as first,
        bare(DATABASE) as second,
        bare(DATABASE) as third,
        bare(DATABASE) as fourth,
    ):
        await first.execute(MAKE_RAW)
        field = _Field(database, [first, second, third, fourth], due)
        reached = await take_turns({"limit": field.limit, "hark": field.hark, "peer": field.one_by_one})
    target = Target(share_of_limit=0.6) if scale >= 1 else None
    return [answer(CLAIM, reached, {"due": due, "workers": WORKERS, "chunk": CHUNK}, target)]
