"""From publish to accepted: how many events a second, with Postgres and the mail server on the same machine?

Real processes: a publisher, workers, Postgres, and Postfix's smtp-sink as the provider.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.contest import Question, Target, answer, stopwatch, take_turns
from bench.ground import REPOSITORY, Connection, bare, fresh_hark, server, settle_down
from bench.pipeline_parts import EVENTS_PER_COMMIT, REASONS, SENDERS
from bench.result import Result
from bench.smtp_programs import smtp_sink, smtp_source

EVENTS = 200_000
BATCH = 5
"""Events of one recipient in the batched variant."""
LOOPED = 3_000
WORKERS = 2
SESSIONS = 8
MESSAGE_BYTES = 1_500
DATABASE = "bench_pipeline"

SEED = """
insert into hark.recipient (id, user_type, address, confirmed, updated_at)
select 'user-' || lpad(n::text, 8, '0'), 'Students', 'user' || n || '@school.example', true, now()
  from generate_series(1, {recipients}) n
"""
TABLES = ("hark.event", "hark.notification", "hark.delivery", "hark.delivery_history", "hark.inbox")
ALL_DONE = """
select not exists (select from hark.event where fanned_out_at is null)
   and not exists (select from hark.delivery where state = 'PENDING' and channel = 'email')
   and not exists (select from hark.delivery where state = 'SENDING')
   and not exists (select from hark.delivery where outcome = 'unknown')
"""
COUNTS = """
select count(*), count(*) filter (where outcome = 'accepted'), coalesce(sum(items), 0) from hark.delivery
"""
RAW = (
    """
    insert into hark.event (reason, actor, about, payload, recipients, key, occurred_at, published_at, fanned_out_at,
                            chunks, matched)
    select 'app_shared', 'alice', 'app:1', '{{"app": "GitHub"}}', array['user-' || lpad(n::text, 8, '0')], 'key:' || n,
           now(), now(), now(), 1, 1
      from generate_series(1, {events}) n
    """,
    """
    insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at,
                               stale_at, items, first_event, last_event, created_at, changed_at)
    select recipients[1], 'email', '@immediate', 'immediate', false, false, now(), now(), 1, id, id, now(), now()
      from hark.event order by id
    """,
    """
    insert into hark.notification (recipient_id, event_id, in_app, why, frequency, named, reach, email_delivery,
                                   created_at)
    select recipient_id, first_event, false, 'default_channels', 'immediate', true, 'ok', id, now() from hark.delivery
    """,
    """
    update hark.delivery set state = 'SENDING', attempt = 1, lease_until = now() + interval '1m', worker = 'w'
    """,
    "update hark.delivery set state = 'SENT', outcome = 'unknown', lease_until = null",
    "update hark.delivery set outcome = 'accepted', why = '127.0.0.1: 250 2.0.0 Ok'",
    """
    insert into hark.delivery_history (recipient_id, delivery_id, at, from_state, from_outcome, to_state, to_outcome,
                                       attempt, worker, why)
    select recipient_id, id, now(), from_state, from_outcome, to_state, to_outcome, 1, 'w', ''
      from hark.delivery, hark.delivery_transition
     where (from_state, to_outcome) in (('PENDING', 'none'), ('SENDING', 'unknown'), ('SENT', 'accepted'))
    """,
)

IMMEDIATE = Question(
    name="pipeline",
    question="How many events a second go from publish to accepted, one mail each, with everything on this machine?",
    unit="mails/s",
    higher_is_better=True,
    peer_name="one task after the other in one process: SELECT preference, INSERT, smtplib, UPDATE",
    limit_name="the same rows written by set-based SQL while smtp-source hands as many mails to smtp-sink",
    notes=(
        f"One publisher ({EVENTS_PER_COMMIT} events a commit, one call of hark.publish each), {WORKERS} worker "
        f"processes with {SENDERS} senders each, Postgres with fsync on, smtp-sink; from the first publish until "
        "nothing is waiting, sending or unknown, counted afterwards. The limit writes event, delivery, "
        "notification, three transitions and their history in one shot each and sends mail of the same size at the "
        "same time; the slower of the two counts. No program that decides, renders and commits before each "
        "hand-over gets near it."
    ),
)
BATCHED = Question(
    name="pipeline_batched",
    question=f"The same for a batched reason, {BATCH} events a mail?",
    unit="events/s",
    higher_is_better=True,
    peer_name=IMMEDIATE.peer_name,
    limit_name="",
    notes=(
        "As `pipeline`, with a cool-down of 2 s and a max stale of 10 s; the wait of the last batches is in the "
        "figure. The peer does not batch: it sends a mail an event."
    ),
)


def measure(scale: float) -> list[Result]:
    """One mail an event, then several events a mail."""
    return asyncio.run(_measure(max(int(EVENTS * scale), 200), scale))


@dataclass(frozen=True, slots=True)
class _Field:
    raw: Connection
    events: int

    async def immediate(self) -> float:
        return await self._hark("app_shared", self.events, mails=self.events)

    async def batched(self) -> float:
        return await self._hark("app_commented", self.events // BATCH, mails=None)

    async def loop(self) -> float:
        await self._clear()
        events = min(LOOPED, self.events)
        async with smtp_sink() as port, _part("loop", str(port), str(events)) as looping:
            with stopwatch() as watch:
                await _go(looping)
                await looping.wait()
        return events / watch.seconds

    async def limit(self) -> float:
        await self._clear()
        async with smtp_sink() as port:
            with stopwatch() as watch:
                await asyncio.gather(
                    smtp_source(port, self.events, sessions=SESSIONS, message_bytes=MESSAGE_BYTES), self._write()
                )
        return self.events / watch.seconds

    async def _hark(self, name: str, recipients: int, mails: int | None) -> float:
        await self._clear()
        async with AsyncExitStack() as parts:
            port = await parts.enter_async_context(smtp_sink())
            for _ in range(WORKERS):
                await parts.enter_async_context(_part("work", str(port)))
            publisher = await parts.enter_async_context(_part("publish", name, str(self.events), str(recipients)))
            with stopwatch() as watch:
                await _go(publisher)
                assert await publisher.wait() == 0
                await self._until_all_is_done()
        await self._check(mails)
        return self.events / watch.seconds

    async def _until_all_is_done(self) -> None:
        while True:
            row = await (await self.raw.execute(ALL_DONE)).fetchone()
            if row == (True,):
                return
            await asyncio.sleep(0.05)

    async def _check(self, mails: int | None) -> None:
        row = await (await self.raw.execute(COUNTS)).fetchone()
        assert row is not None
        made, accepted, items = row
        assert (accepted, items) == (mails or made, self.events), f"{accepted} of {made} accepted, {items} items"

    async def _write(self) -> None:
        for statement in RAW:
            await self.raw.execute(statement.format(events=self.events))

    async def _clear(self) -> None:
        await self.raw.execute(f"truncate {', '.join(TABLES)}")
        await settle_down(self.raw, *TABLES)


async def _measure(events: int, scale: float) -> list[Result]:
    async with fresh_hark(DATABASE, REASONS), bare(DATABASE) as raw:
        await raw.execute(SEED.format(recipients=events))
        await settle_down(raw, "hark.recipient", "hark.decision")
        field = _Field(raw, events)
        await raw.execute("set session_replication_role = replica")
        mails = await take_turns({"limit": field.limit, "hark": field.immediate, "peer": field.loop})
        batches = await take_turns({"hark": field.batched, "peer": field.loop})
    target = Target(figure=2_500) if scale >= 1 else None
    sizes = {"events": events, "events of the loop": min(LOOPED, events), "workers": WORKERS, "senders": SENDERS}
    return [answer(IMMEDIATE, mails, sizes, target), answer(BATCHED, batches, {**sizes, "events a batch": BATCH})]


@asynccontextmanager
async def _part(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of `bench.pipeline_parts`, ready; told to stop at the end."""
    command = [sys.executable, "-m", "bench.pipeline_parts", name, server().dsn_of(DATABASE), *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=REPOSITORY)
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).strip() == b"ready"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _go(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
