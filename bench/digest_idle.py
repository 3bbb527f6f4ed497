"""What does it cost to ask whether a digest is due, when none is?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Channel, Feed, Frequency, SqlSource
from hark.clock import VirtualClock
from hark.digests import Planner

RECIPIENTS = 1_000_000
POLLS = 200
DATABASE = "bench_digest_idle"
NIGHT = datetime(2026, 3, 3, 0, 20, tzinfo=UTC)

IDLE = Question(
    name="digest_idle",
    question="What does it cost to look for digests that are due, when nobody's morning comes?",
    unit="ms",
    higher_is_better=False,
    peer_name="SELECT … FROM users WHERE their local hour is the digest's hour, over all users",
    limit_name="SELECT 1 on one connection",
    notes=(
        f"A planner's whole step, pool and Python included; mean of {POLLS} a round. Recipients are in 20 zones; Hark "
        "looks at the next of their distinct mornings. The peer looks once a round."
    ),
)

SEED = """
insert into hark.recipient (id, user_type, address, confirmed, zone, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', 'user' || n || '@school.example', true,
       'Etc/GMT' || case when n % 20 < 10 then '+' || n % 10 else '-' || n % 10 end, now()
  from generate_series(1, {recipients}) n;
"""
EVERYONES_HOUR = "select id from hark.recipient where extract(hour from %s::timestamptz at time zone zone) = 25"


def measure(scale: float) -> list[Result]:
    """A planner's step with nothing due."""
    return asyncio.run(_measure(max(int(RECIPIENTS * scale), 1_000), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    planner: Planner
    raw: Connection

    async def hark(self) -> float:
        with stopwatch() as watch:
            for _ in range(POLLS):
                assert not (await self.planner.step()).more
        return watch.seconds / POLLS * 1000

    async def nothing(self) -> float:
        with stopwatch() as watch:
            for _ in range(POLLS):
                await (await self.raw.execute("select 1")).fetchone()
        return watch.seconds / POLLS * 1000

    async def everyone(self) -> float:
        with stopwatch() as watch:
            await (await self.raw.execute(EVERYONES_HOUR, [NIGHT])).fetchall()
        return watch.seconds * 1000


async def _measure(recipients: int, scale: float) -> list[Result]:
    feed = Feed(SqlSource("select * from public.nothing"))
    daily = replace(reason("front_page", Channel.EMAIL, frequency=Frequency.DAILY), feed=feed)
    async with fresh_hark(DATABASE, catalogue(daily)) as database, bare(DATABASE) as raw:
        await raw.execute(SEED.format(recipients=recipients))
        await settle_down(raw, "hark.recipient", "hark.slot")
        planner = Planner(database, VirtualClock(NIGHT), catalogue(daily), lead=timedelta(minutes=10))
        while (await planner.step()).more:
            pass
        field = _Field(planner, raw)
        reached = await take_turns({"limit": field.nothing, "hark": field.hark, "peer": field.everyone}, rounds=5)
    target = Target(figure=1.0) if scale >= 1 else None
    return [answer(IDLE, reached, {"recipients": recipients, "due": 0}, target)]
