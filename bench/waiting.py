"""Many deliveries that wait, each due at a second of its own, scattered over the table as life scatters them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from bench.ground import Connection, bare, catalogue, hark_on, make_database, reason, settle_down
from hark.catalogue import Channel
from hark.postgres.database import Database

WAITING = 10_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
"""When none is due yet; the first is a second later, and so on."""

INDEXES = """
select 'alter table hark.delivery drop constraint ' || conname,
       'alter table hark.delivery add constraint ' || conname || ' ' || pg_get_constraintdef(oid)
  from pg_constraint where conrelid = 'hark.delivery'::regclass and contype = 'p'
union all
select 'drop index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
  from pg_index i where i.indrelid = 'hark.delivery'::regclass and not i.indisprimary
"""
FILL = """
insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at,
                           items, first_event, last_event, created_at, changed_at)
select 'user-' || lpad(n::text, 8, '0'), 'email', 'news', 'batched', true, false,
       timestamptz '2026-01-01 00:00+00' + (1 + n * 7919 % {waiting}) * interval '1s', 'infinity', 1, n, n, now(), now()
  from generate_series(1, {waiting}::bigint) n
"""
PUBLISHED_WAY = """
create table public.email_notification (
    id bigint primary key, recipient text not null, state text not null, scheduled_at timestamptz not null);
insert into email_notification select id, recipient_id, 'pending', due_at from hark.delivery;
create index on email_notification (state);
"""


def due_after(deliveries: int) -> datetime:
    """The moment at which so many are due."""
    return START + timedelta(seconds=deliveries)


@asynccontextmanager
async def waiting_deliveries(count: int) -> AsyncIterator[tuple[Database, Connection]]:
    """Hark with so many deliveries waiting, and a bare connection to it; made once, kept while the process lives.

    Beside it, in `public.email_notification`, the same as products usually keep it: a state column with an index on it.
    """
    name = f"bench_waiting_{count}"
    fresh = make_database(name)
    async with hark_on(name, catalogue(reason("news", Channel.EMAIL))) as database, bare(name) as raw:
        if fresh:
            await _fill(raw, count)
        yield database, raw


async def _fill(raw: Connection, count: int) -> None:
    statements = await (await raw.execute(INDEXES)).fetchall()
    for drop, _ in statements:
        await raw.execute(drop)
    await raw.execute(FILL.format(waiting=count))
    for _, make in statements:
        await raw.execute(make)
    await raw.execute(PUBLISHED_WAY)
    await settle_down(raw, "hark.delivery", "email_notification")
