"""How fast does one event reach all the subscribers of an entity?

By e-mail (each a notification and a place in a batch) and in app (each a notification and a count).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.django_hq import UNREAD, told_per_second, unread_ms
from bench.ground import Connection, bare, catalogue, fresh_hark, reason, settle_down
from bench.result import Result
from hark import inbox
from hark.batching import ChunkSize, fan_out_begun, fan_out_fresh
from hark.catalogue import Channel
from hark.postgres.database import Database

SUBSCRIBERS = 1_000_000
LOOPED = 5_000
"""Recipients of the per-row loop, which is too slow for more."""
DJANGO = 10_000
READINGS = 100
DATABASE = "bench_fanout"

BY_MAIL = Question(
    name="fanout",
    question=(
        "How fast does one event reach all subscribers of an entity by e-mail: a notification and a place in a "
        "batch each?"
    ),
    unit="recipients/s",
    higher_is_better=True,
    peer_name="a loop over the recipients: SELECT preference, INSERT batch, INSERT notification, COMMIT",
    limit_name="two raw INSERT … SELECT over the same tables, in one transaction",
    notes=(
        "The limit decides nothing: it reads the subscriptions' index and writes the same rows through the same "
        "indexes, checks and ON CONFLICT join, in one shot. Hark also matches, reads recipients, preferences and "
        f"rules, and commits every {ChunkSize().begun:,} recipients."
    ),
)
IN_APP = Question(
    name="fanout_in_app",
    question="The same in app: a notification and a count each?",
    unit="recipients/s",
    higher_is_better=True,
    peer_name="django-notifications-hq 1.8.3, notify.send(recipient=queryset)",
    limit_name=BY_MAIL.limit_name,
    notes=(
        "The limit as for e-mail, into notification and inbox. django-notifications-hq saves one row after the "
        "other and keeps no counts; it needed one name added to Django's list of Meta options to load on Django "
        "5.2."
    ),
)
COUNT = Question(
    name="fanout_count",
    question="And then: how long does it take to read one recipient's unread count?",
    unit="ms",
    higher_is_better=False,
    peer_name=f"django-notifications-hq 1.8.3, user.notifications.unread().count() of {UNREAD:,}",
    limit_name="a SELECT of one row by its primary key",
    notes=(
        "Hark reads one row whatever the count; a COUNT(*) costs what is unread. Each through its own Python layer."
    ),
)

SEED = """
insert into hark.recipient (id, user_type, address, confirmed, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', 'user' || n || '@school.example', true, now()
  from generate_series(1, {subscribers}) n;
insert into hark.subscription (recipient_id, entity, since) select id, 'post:1', now() from hark.recipient order by id;
insert into hark.preference (recipient_id, channels, updated_at)
select id, '{{"another_reason": ["email"]}}', now() from hark.recipient where id like '%0' order by id;
"""

RAW_BATCHES = """
insert into hark.delivery as d
       (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items,
        first_event, last_event, created_at, changed_at)
select recipient_id, 'email', 'by_mail', 'batched', true, false, now() + interval '4m', now() + interval '1h',
       1, 1, 1, now(), now()
  from hark.subscription where entity = 'post:1' and not muted order by recipient_id
    on conflict (recipient_id, channel, batch_group) where gathering do update
       set due_at = excluded.due_at, items = d.items + excluded.items, last_event = excluded.last_event
"""
RAW_TOLD_BY_MAIL = """
insert into hark.notification (recipient_id, event_id, in_app, why, frequency, named, reach, email_delivery, created_at)
select recipient_id, 1, false, 'default_channels', 'batched', false, 'ok', id, now() from hark.delivery
"""
RAW_TOLD_IN_APP = """
insert into hark.notification (recipient_id, event_id, in_app, why, frequency, named, reach, created_at)
select recipient_id, 1, true, 'default_channels', 'batched', false, 'ok', now()
  from hark.subscription where entity = 'post:1' and not muted order by recipient_id
"""
RAW_COUNTS = """
insert into hark.inbox as i (recipient_id, unread)
select recipient_id, 1 from hark.subscription where entity = 'post:1' and not muted order by recipient_id
    on conflict (recipient_id) do update set unread = i.unread + excluded.unread
"""
RAW = {"by_mail": (RAW_BATCHES, RAW_TOLD_BY_MAIL), "in_app": (RAW_TOLD_IN_APP, RAW_COUNTS)}

LOOP_AUDIENCE = """
select s.recipient_id from hark.subscription s
 where s.entity = 'post:1' and not s.muted order by s.recipient_id limit %s
"""
LOOP_PREFERENCE = """
select r.reach, p.channels from hark.recipient r left join hark.preference p on p.recipient_id = r.id where r.id = %s
"""
LOOP_BATCH = """
insert into hark.delivery as d
       (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items,
        first_event, last_event, created_at, changed_at)
values (%s, 'email', 'by_mail', 'batched', true, false, now() + interval '4m', now() + interval '1h', 1,
        1, 1, now(), now())
    on conflict (recipient_id, channel, batch_group) where gathering do update
       set due_at = excluded.due_at, items = d.items + 1, last_event = excluded.last_event
returning id
"""
LOOP_NOTIFICATION = """
insert into hark.notification (recipient_id, event_id, in_app, why, frequency, named, reach, email_delivery, created_at)
values (%s, 1, false, 'default_channels', 'batched', false, 'ok', %s, now())
"""


def measure(scale: float) -> list[Result]:
    """Fan-out by e-mail, in app, and what a count costs afterwards."""
    return asyncio.run(_measure(max(int(SUBSCRIBERS * scale), 200), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    database: Database
    raw: Connection
    subscribers: int

    async def hark(self, name: str) -> float:
        """Recipients a second, from the first chunk's start to the last one's commit."""
        await self._clear()
        await self.raw.execute("select hark.publish(%s, entities => array['post:1'])", [name])
        told = 0
        with stopwatch() as watch:
            while (done := await self._chunk()) is not None:
                told += done
        assert told == self.subscribers
        return told / watch.seconds

    async def limit(self, name: str) -> float:
        await self._clear()
        with stopwatch() as watch:
            async with self.raw.transaction():
                for statement in RAW[name]:
                    await self.raw.execute(statement)
        return self.subscribers / watch.seconds

    async def loop(self, recipients: int) -> float:
        """One recipient after the other, as most products do it: a SELECT and two INSERTs, each committed."""
        await self._clear()
        with stopwatch() as watch:
            for (recipient,) in await (await self.raw.execute(LOOP_AUDIENCE, [recipients])).fetchall():
                await (await self.raw.execute(LOOP_PREFERENCE, [recipient])).fetchone()
                async with self.raw.transaction():
                    row = await (await self.raw.execute(LOOP_BATCH, [recipient])).fetchone()
                    assert row is not None
                    await self.raw.execute(LOOP_NOTIFICATION, [recipient, row[0]])
        return recipients / watch.seconds

    async def count(self) -> float:
        """Milliseconds to read one recipient's unread count."""
        with stopwatch() as watch:
            for number in range(1, READINGS + 1):
                await inbox.unread(self.database, f"user-{number:08}")
        return watch.seconds / READINGS * 1000

    async def one_row(self) -> float:
        """Milliseconds to read one row by its key."""
        with stopwatch() as watch:
            for number in range(1, READINGS + 1):
                query = "select user_type from hark.recipient where id = %s"
                await (await self.raw.execute(query, [f"user-{number:08}"])).fetchone()
        return watch.seconds / READINGS * 1000

    async def _chunk(self) -> int | None:
        now = datetime.now(UTC)
        fresh = await fan_out_fresh(self.database, now, ChunkSize())
        begun = await fan_out_begun(self.database, now, ChunkSize())
        return fresh.notifications + begun.notifications if fresh.events or begun.events else None

    async def _clear(self) -> None:
        tables = "hark.notification", "hark.delivery", "hark.inbox", "hark.event"
        await self.raw.execute(f"truncate {', '.join(tables)}")
        await settle_down(self.raw, *tables)


async def _measure(subscribers: int, scale: float) -> list[Result]:
    reasons = catalogue(reason("by_mail", Channel.EMAIL), reason("in_app", Channel.IN_APP))
    async with fresh_hark(DATABASE, reasons) as database, bare(DATABASE) as raw:
        await raw.execute(SEED.format(subscribers=subscribers))
        await settle_down(raw, "hark.recipient", "hark.subscription", "hark.preference")
        field = _Field(database, raw, subscribers)
        looped, django = min(LOOPED, subscribers), max(100, int(DJANGO * min(scale, 1.0)))
        mail = await take_turns(
            {
                "limit": lambda: field.limit("by_mail"),
                "hark": lambda: field.hark("by_mail"),
                "peer": lambda: field.loop(looped),
            }
        )
        app = await take_turns(
            {
                "limit": lambda: field.limit("in_app"),
                "hark": lambda: field.hark("in_app"),
                "peer": lambda: told_per_second(django),
            }
        )
        counts = await take_turns({"limit": field.one_row, "hark": field.count, "peer": lambda: unread_ms(READINGS)})
    target = Target(share_of_limit=0.75) if scale >= 1 else None
    return [
        answer(BY_MAIL, mail, {"subscribers": subscribers, "recipients of the loop": looped}, target),
        answer(IN_APP, app, {"subscribers": subscribers, "recipients of Django's": django}, target),
        answer(COUNT, counts, {"readings": READINGS}),
    ]
