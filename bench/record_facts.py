"""How fast are facts recorded, beside a raw INSERT … ON CONFLICT of the same rows?"""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Channel
from hark.history.facts import Fact, line_key, record_facts
from hark.postgres.database import Database

FACTS = 1_000_000
BATCH = 5_000
LOOPED = 2_000
"""Facts of the statement a fact, which is too slow for more."""
DATABASE = "bench_record_facts"
NOW = datetime(2026, 11, 27, tzinfo=UTC)

RECORD = Question(
    name="record_facts",
    question="How fast are purchased lines recorded: the highest version of each kept, and their users moved on?",
    unit="facts/s",
    higher_is_better=True,
    peer_name="a statement a line: INSERT … ON CONFLICT DO UPDATE, COMMIT",
    limit_name="raw COPY and INSERT … ON CONFLICT DO UPDATE of the same rows, table and indexes being equal",
    notes=(
        "A million facts a round, into an empty table, in batches of 5,000 as loads have them: 25 lines of a user "
        "together, of which one in ten was recorded before, "
        "half of them in a higher version. The limit keeps the higher version too, and nothing else: it checks "
        "nothing, locks and moves no users, knows nobody's keys, loads and receipts, and is given its rows as text."
    ),
)
GROWTH = Question(
    name="record_facts_memory",
    question="And how much does the process's memory grow meanwhile?",
    unit="MB",
    higher_is_better=False,
    peer_name="",
    limit_name="",
    notes="Growth of the process's peak over all rounds behind the first batch, at least 1.",
)

RAW_TABLE = """
create table public.raw_fact (like hark.fact including all);
create temp table raw_given (
    user_id text collate "C", key text collate "C", kind hark.fact_kind, product_id text collate "C",
    store_id text collate "C", amount_minor bigint, currency text collate "C", quantity numeric(12, 3),
    occurred_at timestamptz, version bigint) on commit delete rows
"""
RAW_COPY = "copy raw_given from stdin"
SET = """
    on conflict (user_id, key) do update
       set product_id = excluded.product_id, store_id = excluded.store_id, amount_minor = excluded.amount_minor,
           currency = excluded.currency, quantity = excluded.quantity, occurred_at = excluded.occurred_at,
           version = excluded.version, moved_at = raw_fact.moved_at + 1
     where excluded.version > raw_fact.version
"""
RAW_INSERT = f"""
insert into public.raw_fact (user_id, key, kind, product_id, store_id, amount_minor, currency, quantity, occurred_at,
                             version, live, runs, moved_at)
select *, false, '{{1}}', 1 from raw_given {SET}
"""
ONE = f"""
insert into public.raw_fact (user_id, key, kind, product_id, store_id, amount_minor, currency, quantity, occurred_at,
                             version, live, runs, moved_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, false, '{{1}}', 1) {SET}
"""


def measure(scale: float) -> list[Result]:
    """Recording beside raw inserts, and what memory it takes."""
    return asyncio.run(_measure(max(int(FACTS * scale), 500), scale))


def batches(facts: int) -> Iterator[list[Fact]]:
    """Facts, a batch at a time: none is kept."""
    numbers = random.Random(5)
    for begin in range(0, facts, BATCH):
        yield [_fact(place, numbers) for place in range(begin, min(begin + BATCH, facts))]


def _fact(place: int, numbers: random.Random) -> Fact:
    """The line of this place; of one in ten, one of the same user before it, which is said again."""
    again = place % 10 == 9
    of = place - numbers.randrange(1, 9) if again else place
    user, receipt = f"user-{of // 25 * 7919 % 1_000_003:07}", of // 5
    product = f"product-{of * 31 % 20_000:05}"
    at = NOW - timedelta(minutes=receipt * 7 % 500_000)
    fact = Fact(
        user, line_key(f"{receipt:09}", of % 5), 1, product, f"store-{receipt % 500:03}", 129, "EUR", Decimal(1), at
    )
    return replace(fact, version=2) if again and place % 20 == 9 else fact


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    facts: int

    async def hark(self) -> float:
        """Facts a second, the time to make them left out."""
        await self.raw.execute("truncate hark.fact, hark.history_user, hark.product")
        await settle_down(self.raw, "hark.fact", "hark.history_user")
        spent = 0.0
        for batch in batches(self.facts):
            with stopwatch() as watch:
                async with self.database.connection() as connection:
                    await record_facts(connection, batch, now=NOW, by=1)
            spent += watch.seconds
        return self.facts / spent

    async def limit(self) -> float:
        await self._clear()
        spent = 0.0
        for batch in batches(self.facts):
            text = "".join(map(_line, {fact.key: fact for fact in sorted(batch, key=_version)}.values()))
            with stopwatch() as watch:
                async with self.raw.transaction():
                    async with self.raw.cursor().copy(RAW_COPY) as copy:
                        await copy.write(text)
                    await self.raw.execute(RAW_INSERT)
            spent += watch.seconds
        return self.facts / spent

    async def loop(self, facts: int) -> float:
        await self._clear()
        rows = [_row(fact) for batch in batches(facts) for fact in batch]
        with stopwatch() as watch:
            for row in rows:
                await self.raw.execute(ONE, row)
        return facts / watch.seconds

    async def _clear(self) -> None:
        await self.raw.execute("truncate public.raw_fact")
        await settle_down(self.raw, "public.raw_fact")


def _version(fact: Fact) -> int:
    return fact.version


def _row(fact: Fact) -> Sequence[object]:
    return (
        *(fact.user_id, fact.key, fact.kind.value, fact.product_id, fact.store_id, fact.amount_minor, fact.currency),
        *(fact.quantity, fact.occurred_at, fact.version),
    )


def _line(fact: Fact) -> str:
    return "\t".join(map(str, _row(fact))) + "\n"


async def _measure(facts: int, scale: float) -> list[Result]:
    reasons = catalogue(reason("by_mail", Channel.EMAIL))
    async with fresh_hark(DATABASE, reasons) as database, bare(DATABASE) as raw:
        await raw.execute(RAW_TABLE)
        field = _Field(database, raw, facts)
        await replace(field, facts=min(facts, BATCH)).hark()
        before, looped = _peak_mb(), min(LOOPED, facts)
        reached = await take_turns({"limit": field.limit, "hark": field.hark, "peer": lambda: field.loop(looped)})
        grown = max(_peak_mb() - before, 1.0)
        memory = await take_turns({"hark": lambda: _told(grown)}, rounds=1)
    sizes = {"facts": facts, "facts of the loop": looped}
    targets = (Target(share_of_limit=0.7), Target(figure=64)) if scale >= 1 else (None, None)
    return [answer(RECORD, reached, sizes, targets[0]), answer(GROWTH, memory, sizes, targets[1])]


async def _told(figure: float) -> float:
    return figure


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
