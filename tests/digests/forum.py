"""A product with posts, whose front page is a feed; and a morning's post office, which needs no words."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

from hark.catalogue import Feed, Frequency, PythonSource, Reason, SqlSource
from tests.world import MONDAY_NOON, World, reason

POSTS = """
create table public.post (
    key       text primary key,
    author    text,
    audience  text,
    score     float8 not null default 0,
    posted_at timestamptz not null,
    committed xid8 not null default pg_current_xact_id()
);
create index on public.post (committed);
"""
FRONT_PAGE_SQL = """
select due.recipient_id, p.key, p.score as rank, p.posted_at as at, p.author as actor, p.key as about,
       jsonb_build_object('title', 'Post ' || p.key) as payload
  from due
  join public.post p on p.audience is null or p.audience = due.recipient_id
 where not pg_visible_in_snapshot(p.committed, due.since) -- commit order, 100% of it"""
BY_TIME_SQL = """
select due.recipient_id, p.key, p.score as rank, p.posted_at as at, null as actor, null as about, null as payload
  from due join public.post p on p.posted_at > due.since_at
"""


def front_page(
    *,
    frequency: Frequency = Frequency.DAILY,
    cap: int = 10,
    sql: str = FRONT_PAGE_SQL,
    overlap: timedelta = timedelta(0),
    name: str = "front_page",
) -> Reason:
    """A reason whose digests come from a query over the posts."""
    return reason(name, frequency=frequency, feed=Feed(SqlSource(sql), cap, overlap))


def by_asking(*, cap: int = 10, overlap: timedelta = timedelta(days=1)) -> Reason:
    """A reason whose digests come from a callable."""
    return reason("asked", frequency=Frequency.DAILY, feed=Feed(PythonSource("shop.feeds:asked"), cap, overlap))


MORNING = MONDAY_NOON.replace(hour=8)
TUESDAY = MORNING + timedelta(days=1)


async def open_forum(world: World, *reasons: Reason) -> None:
    """Tables and a catalogue; the planner has seen the mornings that there are."""
    await world.execute(POSTS)
    await world.install(*(reasons or (front_page(),)))


async def post(
    world: World, key: str, *, at: datetime | None = None, audience: str | None = None, score: float = 0
) -> None:
    """A post, committed now."""
    await world.execute(
        "insert into public.post (key, author, audience, score, posted_at) values (%s, 'alice', %s, %s, %s)",
        *(key, audience, score, at or world.clock.now()),
    )


def writer(world: World) -> psycopg.Connection[tuple[object, ...]]:
    """A product's own connection, whose transaction the test opens and commits."""
    return psycopg.connect(world.dsn)


async def morning(world: World, at: datetime) -> None:
    """Move to a morning and plan it."""
    world.clock.move_to(at)
    await world.plan()


async def hand_over(world: World, outcome: str = "accepted") -> int:
    """Send what is due, without recheck and words; how many messages. `outcome` may be any that a delivery ends in."""
    now = world.clock.now()
    claimed = await world.rows(
        "update hark.delivery set state = 'SENDING', gathering = false, attempt = attempt + 1, lease_until = %s,"
        " worker = 'w', changed_at = %s where state = 'PENDING' and due_at <= %s returning id",
        *(now, now, now),
    )
    ids = [row.id for row in claimed]
    if outcome == "canceled":
        await _move(world, ids, "state = 'CANCELED', lease_until = null, why = 'nothing left to say'")
        return len(ids)
    await _move(world, ids, "state = 'SENT', outcome = 'unknown', lease_until = null")
    if outcome == "refused":
        await _move(world, ids, "state = 'CANCELED', outcome = 'refused', why = 'no'")
    elif outcome == "deferred":
        await _move(world, ids, "state = 'PENDING', outcome = 'none', due_at = due_at + interval '2 days'")
    elif outcome == "accepted":
        await _move(world, ids, "outcome = 'accepted'")
    return len(ids)


async def _move(world: World, ids: list[int], change: str) -> None:
    await world.execute(
        f"update hark.delivery set {change}, changed_at = %s where id = any(%s)", world.clock.now(), ids
    )


async def digests(world: World, recipient: str | None = None) -> list[tuple[str, list[str]]]:
    """All digests, oldest first: of which day, with which keys."""
    found = await world.rows(
        "select to_char(period, 'Dy') as day, array(select item ->> 0 from jsonb_array_elements(items) item) as keys"
        "  from hark.digest where %s::text is null or recipient_id = %s order by planned_at, recipient_id, reason",
        *(recipient, recipient),
    )
    return [(row.day, row.keys) for row in found]


async def keys_sent(world: World, recipient: str) -> list[str]:
    """All keys that were handed over to a recipient, in order, as often as they were."""
    found = await world.rows(
        "select item ->> 0 as key from hark.digest g join hark.delivery d on d.id = g.delivery_id,"
        " jsonb_array_elements(g.items) item where g.recipient_id = %s and d.state = 'SENT' order by g.planned_at, 1",
        recipient,
    )
    return [row.key for row in found]
