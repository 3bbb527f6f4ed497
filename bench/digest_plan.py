"""How fast are the digests of one morning planned, when a feed answers for everyone?"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark.catalogue import Catalogue, Channel, Feed, Frequency, SqlSource
from hark.clock import VirtualClock
from hark.digests import Planner
from hark.digests.planning import MEMORY
from hark.postgres.database import Database

RECIPIENTS = 1_000_000
LOOPED = 2_000
"""Recipients of the query per user, which is too slow for more."""
DATABASE = "bench_digest_plan"
MORNING = datetime(2026, 3, 3, 8, tzinfo=UTC)

FRONT_PAGE = """
select due.recipient_id, p.key, p.score as rank, p.posted_at as at, p.author as actor, p.key as about,
       jsonb_build_object('title', p.title) as payload
  from due
  join public.follow f on f.user_id = due.recipient_id
  join public.post p on p.topic = f.topic
 where not pg_visible_in_snapshot(p.committed, due.since)
"""

PLAN = Question(
    name="digest_plan",
    question="How fast are one morning's digests planned: what is new for each by a feed query, ranked, capped, kept?",
    unit="recipients/s",
    higher_is_better=True,
    peer_name="a query per user: SELECT what is new for them, INSERT delivery, INSERT digest, COMMIT",
    limit_name="the same feed query for all at once, ranked and capped, and two raw INSERTs of the same rows",
    notes=(
        "Each follows 3 of 1,000 topics; there are 5,000 posts, about 15 for each, of which 10 are kept. The limit "
        "decides nothing and remembers nothing: no preferences, no watermarks, no gathering; it commits once, Hark "
        "every 5,000 recipients."
    ),
)
GROWTH = Question(
    name="digest_plan_memory",
    question="And how much does the planner's memory grow meanwhile?",
    unit="MB",
    higher_is_better=False,
    peer_name="",
    limit_name="",
    notes="Growth of the process's peak over all rounds, at least 1; what is planned never leaves the database.",
)

SEED = """
create table public.follow (user_id text, topic int, primary key (user_id, topic));
create table public.post (
    key text primary key, topic int not null, author text not null, title text not null, score float8 not null,
    posted_at timestamptz not null, committed xid8 not null default pg_current_xact_id());
insert into hark.recipient (id, user_type, address, confirmed, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', 'user' || n || '@school.example', true, now()
  from generate_series(1, {recipients}) n;
insert into hark.preference (recipient_id, channels, updated_at)
select id, '{{"another_reason": ["email"]}}', now() from hark.recipient where id like '%0' order by id;
insert into public.follow
select r.id, (hashtext(r.id || step)::bigint & 65535) % 1000 from hark.recipient r, generate_series(1, 3) step
    on conflict do nothing;
insert into public.post (key, topic, author, title, score, posted_at)
select 'post:' || n, n % 1000, 'author ' || n % 97, 'What happened at place number ' || n, n * 7919 % 1000, now()
  from generate_series(1, 5000) n;
create index on public.post (topic);
"""

RAW = """
with due as (
    select id as recipient_id, %(since)s::pg_snapshot as since, now() as since_at from hark.recipient
),
answered as ({feed}),
offered as (
    select recipient_id, count(*) as total,
           jsonb_agg(jsonb_build_array(key, at, actor, about, payload) order by rank desc, at desc, key)
               filter (where place <= 10) as items,
           array_agg(key order by rank desc, at desc, key) filter (where place <= 10) as keys
      from (select *, row_number() over (partition by recipient_id order by rank desc, at desc, key) as place
              from answered) ranked
     group by recipient_id
),
opened as (
    insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at,
                               stale_at, items, created_at, changed_at)
    select recipient_id, 'email', '@daily', 'daily', true, false, now(), now(), total, now(), now() from offered
    returning recipient_id, id
)
insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, base, missed,
                         items, keys, total, planned_at)
select recipient_id, 'front_page', '2026-03-03', id, %(since)s, now(), pg_current_snapshot(), now(), 'first', 0, items,
       keys, total, now()
  from offered join opened using (recipient_id)
"""

LOOP_ITEMS = """
with due as (select %(user)s as recipient_id, %(since)s::pg_snapshot as since, now() as since_at),
answered as ({feed}),
ranked as (select *, row_number() over (order by rank desc, at desc, key) as place from answered)
select count(*), jsonb_agg(jsonb_build_array(key, at, actor, about, payload) order by place) filter (where place <= 10),
       array_agg(key order by place) filter (where place <= 10)
  from ranked
"""
LOOP_DELIVERY = """
insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at,
                           items, created_at, changed_at)
values (%s, 'email', '@daily', 'daily', true, false, now(), now(), %s, now(), now())
returning id
"""
LOOP_DIGEST = """
insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, base, missed,
                         items, keys, total, planned_at)
values (%s, 'front_page', '2026-03-03', %s, %s, now(), pg_current_snapshot(), now(), 'first', 0,
        %s::text::jsonb, %s, %s, now())
"""


def measure(scale: float) -> list[Result]:
    """One morning of everyone, and what memory it takes."""
    return asyncio.run(_measure(max(int(RECIPIENTS * scale), 200), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    catalogue: Catalogue
    recipients: int
    since: str

    async def hark(self) -> float:
        """Recipients a second, from the first chunk's start to the last one's commit."""
        await self._clear()
        clock = VirtualClock(MORNING - timedelta(hours=20))
        planner = Planner(self.database, clock, self.catalogue)
        while (await planner.step()).more:
            pass
        clock.move_to(MORNING)
        planned = 0
        with stopwatch() as watch:
            while (step := await planner.step()).more:
                planned += step.planned
        assert planned >= self.recipients * 0.99
        return planned / watch.seconds

    async def limit(self) -> float:
        await self._clear()
        await self.raw.execute(f"set work_mem = '{MEMORY}'")
        with stopwatch() as watch:
            cursor = await self.raw.execute(RAW.format(feed=FRONT_PAGE), {"since": self.since})
        return cursor.rowcount / watch.seconds

    async def loop(self, recipients: int) -> float:
        """One user after the other, as most products do it."""
        await self._clear()
        ids = await (
            await self.raw.execute("select id from hark.recipient order by id limit %s", [recipients])
        ).fetchall()
        with stopwatch() as watch:
            for (user,) in ids:
                given = {"user": user, "since": self.since}
                row = await (await self.raw.execute(LOOP_ITEMS.format(feed=FRONT_PAGE), given)).fetchone()
                assert row is not None
                total, items, keys = row
                async with self.raw.transaction():
                    opened = await (await self.raw.execute(LOOP_DELIVERY, [user, total])).fetchone()
                    assert opened is not None
                    await self.raw.execute(LOOP_DIGEST, [user, opened[0], self.since, _dumped(items), keys, total])
        return recipients / watch.seconds

    async def _clear(self) -> None:
        await self.raw.execute("truncate hark.delivery, hark.digest, hark.walk")
        await self.raw.execute("update hark.slot set next_due = '-infinity'")
        await self.raw.execute("delete from hark.moment where not base")
        await settle_down(self.raw, "hark.delivery", "hark.digest", "hark.slot", "hark.moment")


async def _measure(recipients: int, scale: float) -> list[Result]:
    feed = Feed(SqlSource(FRONT_PAGE), cap=10, overlap=timedelta(0))
    daily = replace(reason("front_page", Channel.EMAIL, frequency=Frequency.DAILY), feed=feed)
    reasons = catalogue(daily)
    async with fresh_hark(DATABASE, reasons) as database, bare(DATABASE) as raw:
        row = await (await raw.execute("select snapshot::text from hark.moment")).fetchone()
        assert row is not None
        await raw.execute(SEED.format(recipients=recipients))
        await settle_down(raw, "hark.recipient", "hark.preference", "public.follow", "public.post")
        field = _Field(database, raw, reasons, recipients, row[0])
        looped = min(LOOPED, recipients)
        before = _peak_mb()
        reached = await take_turns({"limit": field.limit, "hark": field.hark, "peer": lambda: field.loop(looped)})
        grown = max(_peak_mb() - before, 1.0)
        memory = await take_turns({"hark": lambda: _told(grown)}, rounds=1)
    sizes = {"recipients": recipients, "recipients of the loop": looped}
    targets = (Target(share_of_limit=0.6), Target(figure=64)) if scale >= 1 else (None, None)
    return [answer(PLAN, reached, sizes, targets[0]), answer(GROWTH, memory, sizes, targets[1])]


async def _told(figure: float) -> float:
    return figure


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _dumped(items: object) -> str:
    import json

    return json.dumps(items)
