"""A simulated year on a real Postgres: every stage as it is, but for a virtual clock and a recorder for a provider.

Two workers with a planner each work at the same time. The clock goes from one thing that is due to the next.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection

from hark import inbox, preferences
from hark.audience import Recipient, Subscription, mute, put_recipients, subscribe
from hark.catalogue import Channel, Feed, Frequency, Reason, SqlSource, Templates
from hark.delivery.attempt import Step
from hark.delivery.claim import next_due
from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.digests import Planner, coverage
from hark.digests.pruning import prune
from hark.postgres.database import Database
from hark.rendering import Renderer
from hark.worker import Worker
from tests import world as given
from tests.world import ACCEPTED, DEFERRED, DOMAIN, UNKNOWN, World
from tests.year.ledger import Event, Ledger, Post
from tests.year.life import (
    COMMITTED,
    FEEDS,
    FRONT_PAGE,
    HOUR,
    LENT,
    LURKERS,
    MENTION,
    NEWS,
    OFFERED,
    PLANNED,
    READERS,
    ROUND_UP,
    START,
    SUBSCRIBERS,
    THREAD,
    WEEKLY_PAGE,
    ZONES,
    Changed,
    Chose,
    Happening,
    Kill,
    Life,
    Moved,
    Muted,
    Outage,
    Person,
    Posted,
    Read,
    Said,
    Slept,
    Unsaid,
)

DAY = timedelta(days=1)
POLL = timedelta(minutes=10)
"""What is due is looked at by the full ten minutes."""

FLUSHED = timedelta(days=16)
"""After the last thing happened: every weekly digest is out, and every back-off is over."""

STUCK = timedelta(hours=3)
"""How long something may be due without being sent while nothing is wrong."""

LEASE = timedelta(minutes=10)
KEPT = timedelta(days=30)
"""How long digests are kept, but for what coverage needs."""

_ITEM = re.compile(r"\[(\w+):(\d+)\.(\d+)\]")
_CUT = re.compile(r"\band (?:\d+ )?more\b")
_FEED = """
select due.recipient_id, post.id::text as key, 0.0::float8 as rank, post.written_at as at, post.author as actor,
       'page:' || post.id as about, jsonb_build_object('n', post.id, 'v', post.version) as payload
  from due
  join year.post
    on post.xid >= pg_snapshot_xmin(due.since)
   and not pg_visible_in_snapshot(post.xid, due.since)
 where not post.deleted and not (post.private and right(due.recipient_id, 1) >= '5')
"""
_RECHECK_POST = """
select asked.n, case when post.deleted then 'deleted'
                     when post.private and right(asked.recipient_id, 1) >= '5' then 'private' end as why,
       case when post.version > 0 then jsonb_build_object('n', post.id, 'v', post.version) end as payload
  from asked
  join year.post on post.id = asked.key::bigint
"""
_RECHECK_COMMENT = """
select asked.n, case when exists (select from year.unsaid where unsaid.id = (asked.payload ->> 'n')::bigint)
                     then 'deleted' end as why, null::jsonb as payload
  from asked
"""
_TABLES = """
create schema if not exists year;
create table year.post (
    id         bigint primary key,
    author     text not null,
    written_at timestamptz not null,
    version    integer not null default 0,
    deleted    boolean not null default false,
    private    boolean not null default false,
    xid        xid8 not null default pg_current_xact_id()
);
create index on year.post (xid);
create table year.unsaid (id bigint primary key);
"""
_ITEMS_OF = """
select d.recipient_id, coalesce(n.as_reason, e.reason) as reason, (e.payload ->> 'n')::bigint as number, false as more
  from hark.delivery d
  join hark.notification n
    on n.recipient_id = d.recipient_id and n.event_id between d.first_event and d.last_event and n.email_delivery = d.id
  join hark.event e on e.id = n.event_id
 where d.id = any(%s)
 union all
select g.recipient_id, g.reason, (item -> 4 ->> 'n')::bigint, g.total > jsonb_array_length(g.items)
  from hark.delivery d
  join hark.digest g on g.recipient_id = d.recipient_id and g.delivery_id = d.id
 cross join lateral jsonb_array_elements(g.items) item
 where d.id = any(%s)
"""
_TWO_A_WEEK = """
select distinct a.recipient_id, a.reason, a.period
  from hark.digest a
  join hark.delivery sent on sent.recipient_id = a.recipient_id and sent.id = a.delivery_id
   and sent.state = 'SENT' and sent.frequency = 'weekly'
  join hark.digest b on b.recipient_id = a.recipient_id and b.reason = a.reason
   and b.period < a.period and b.period >= date_trunc('week', a.period::timestamp)::date
  join hark.delivery before on before.recipient_id = b.recipient_id and before.id = b.delivery_id
   and before.state = 'SENT' and before.frequency = 'weekly'
 where a.planned_at > %s
"""
_CLOCKS = """
select zone, at, at at time zone zone as local
  from unnest(%s::text[]) as zone, generate_series(%s::timestamptz, %s, interval '6 hours') as at
 order by at
"""
_STUCK = """
select recipient_id, id, state::text as state, due_at
  from hark.delivery
 where state in ('PENDING', 'SENDING') and due_at < %s
"""


class Killed(BaseException):
    """The worker is gone, wherever it was."""


@dataclass(slots=True)
class Doomed(Database):
    """A planner's database: around what it commits, the planner may die."""

    passed: Callable[[str], None] = print

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """As any, with the three points at which a walk can be left."""
        self.passed(LENT)
        async with Database.transaction(self) as connection:
            yield connection
            self.passed(PLANNED)
        self.passed(COMMITTED)


def reasons() -> tuple[Reason, ...]:
    """The catalogue of the year: each names its items by their numbers."""
    comment, post = SqlSource(_RECHECK_COMMENT, None), SqlSource(_RECHECK_POST, None)
    feed = Feed(SqlSource(_FEED, None), cap=50)
    return (
        _reason(THREAD, Frequency.BATCHED, narrower={MENTION: "named"}, recheck=comment),
        _reason(MENTION, Frequency.IMMEDIATE, recheck=comment),
        _reason(NEWS, Frequency.DAILY),
        _reason(ROUND_UP, Frequency.WEEKLY),
        _reason(FRONT_PAGE, Frequency.DAILY, feed=feed, recheck=post),
        _reason(WEEKLY_PAGE, Frequency.WEEKLY, feed=feed, recheck=post),
    )


def _reason(name: str, frequency: Frequency, **more: Any) -> Reason:
    """Its items are named by their numbers and versions, so that the ledger can read what was sent."""
    text = f"[{name}:{{{{ payload.n }}}}.{{{{ payload.v }}}}]"
    types = OFFERED.get(name, (READERS, SUBSCRIBERS, LURKERS))
    return given.reason(name, types=types, frequency=frequency, templates=Templates(text=text), **more)


@dataclass(slots=True)
class Simulation:
    """One life, lived on Hark; `tell` hears of each day."""

    world: World
    life: Life
    tell: Callable[[Simulation, int], None] = lambda _simulation, _day: None
    start: datetime = START
    kills: int = 0
    walks: int = 0
    ledger: Ledger = field(init=False)
    _followers: dict[str, set[str]] = field(default_factory=dict)
    _numbers: int = 0
    _open: list[tuple[datetime, AsyncConnection[tuple[object, ...]]]] = field(default_factory=list)
    _down_until: datetime = START
    _asleep_until: datetime = START
    _unplanned_until: datetime = START
    _lost_answers: bool = False
    _kill: Kill | None = None
    _planners: Sequence[Planner] = ()
    _checked: datetime = START

    def __post_init__(self) -> None:
        people = {person.id: person for person in self.life.people}
        self.ledger = Ledger({reason.name: reason.frequency for reason in reasons()}, people)

    async def run(self) -> list[str]:
        """Live it all, and say what is wrong in the end."""
        await self.begin()
        for day in range(1, self.life.scale.days + 1):
            for happenings in self.life.day():
                for happening in happenings:
                    await self.happen(happening)
                await self.pass_an_hour()
            await self.check(day)
        return await self.end()

    # How it begins and ends -----------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """The catalogue is installed, and everybody is there."""
        world, start = self.world, self.start
        world.recorder.answer = self._answer
        await world.execute(_TABLES)
        await self._install()
        world.clock.move_to(start)
        await put_recipients(world.database, [_as_recipient(person) for person in self.life.people], start)
        await subscribe(world.database, [Subscription(person, entity) for person, entity in self.life.follows], start)
        for person, entity in self.life.follows:
            self._followers.setdefault(entity, set()).add(person)
        await world.execute("analyze")
        self.ledger.disputed = await self._disputed()
        doomed = Doomed(world.database.pool, world.database.schema, passed=self._passed)
        self._planners = [replace(world.planner(), database=doomed) for _ in range(2)]

    async def _install(self) -> None:
        known = given.catalogue(*reasons())
        self.world.catalogue = replace(known, user_types={**known.user_types, LURKERS: "People who only listen"})
        self.world.renderer = Renderer(self.world.catalogue, DOMAIN)
        await preferences.install(self.world.database, self.world.catalogue, retire=True, now=self.world.clock.now())

    async def _disputed(self) -> dict[str, datetime]:
        """From when on Python and Postgres disagree about a zone, as they do where one of them is older."""
        end = self.start + timedelta(days=self.life.scale.days) + FLUSHED
        shown = await self.world.rows(_CLOCKS, ZONES, self.start, end)
        differ = [row for row in shown if row.at.astimezone(ZoneInfo(row.zone)).replace(tzinfo=None) != row.local]
        return {row.zone: row.at - 6 * HOUR for row in reversed(differ)}

    async def pass_an_hour(self) -> None:
        """Work through the next hour, from one thing that is due to the next."""
        now = self.world.clock.now()
        await self._commit_what_is_late(now)
        await self._work_until(now + HOUR)

    async def end(self) -> list[str]:
        """All troubles are over; what still waits comes out; everything that is wrong, in words."""
        self._kill = None
        self._down_until = self._asleep_until = self._unplanned_until = self.start
        await self._commit_what_is_late(None)
        await self._work_until(self.world.clock.now() + FLUSHED)
        await self.check(self.life.scale.days)
        await self._prove_coverage()
        return self.ledger.close()

    # What happens ---------------------------------------------------------------------------------------------------

    async def happen(self, happening: Happening) -> None:
        """Do it to Hark, and note it in the ledger."""
        now = self.world.clock.now()
        match happening:
            case Said():
                await self._say(happening, now)
            case Posted():
                await self._post(happening, now)
            case Changed():
                await self._change(happening)
            case Unsaid(which):
                await self._unsay(which)
            case Outage() | Slept() | Kill():
                self._trouble(happening, now)
            case _:
                await self._act(happening, now)

    def _trouble(self, trouble: Outage | Slept | Kill, now: datetime) -> None:
        match trouble:
            case Outage(hours, lost_answers):
                self._down_until, self._lost_answers = now + hours * HOUR, lost_answers
            case Slept(hours, True):
                self._unplanned_until = now + hours * HOUR
            case Slept(hours):
                self._asleep_until = now + hours * HOUR
            case Kill():
                self._kill = trouble
                return
        self.ledger.troubled(now + hours * HOUR)

    async def _act(self, act: Chose | Muted | Read | Moved, now: datetime) -> None:
        match act:
            case Chose(person, reason, frequency):
                await self.world.choose(person, reason, frequency=frequency)
                self.ledger.chose(person, reason, now, frequency)
            case Muted(person, entity, muted):
                await mute(self.world.database, [Subscription(person, entity)], now, muted=muted)
                self.ledger.muted(person, entity, now, muted)
            case Read(person):
                await self.world.fan_out()
                await inbox.mark_all_read(self.world.database, person, now)
                self.ledger.read(person)
            case Moved(person, zone):
                moved = replace(self.ledger.people[person], zone=zone, digest_at=None)
                await put_recipients(self.world.database, [_as_recipient(moved)], now)
                self.ledger.moved(moved, now)

    async def _say(self, said: Said, now: datetime) -> None:
        # What was chosen or muted before holds for what is said, as it is fanned out at once.
        self._numbers += 1
        followed = self._followers.get(said.entity, set())
        followers = {person for person in followed if not self.ledger.is_muted(person, said.entity)}
        audience = frozenset({*followers, *said.to} - {said.actor})
        self.ledger.said(Event(self._numbers, said.reason, said.entity, frozenset(said.to), audience, now))
        payload: dict[str, object] = {"n": self._numbers, "v": 0}
        await self.world.publish(said.reason, to=said.to, entities=[said.entity], actor=said.actor, payload=payload)
        await self.world.fan_out()

    async def _unsay(self, which: float) -> None:
        newest = [event for event in list(self.ledger.events.values())[-20:] if event.reason == THREAD]
        if event := _pick(newest, which):
            await self.world.execute("insert into year.unsaid values (%s) on conflict do nothing", event.number)
            event.deleted = True

    async def _post(self, posted: Posted, now: datetime) -> None:
        self._numbers += 1
        self.ledger.posted(Post(self._numbers, posted.author, now))
        row = [self._numbers, posted.author, now - posted.backdated * HOUR]
        insert = "insert into year.post (id, author, written_at) values (%s, %s, %s)"
        if not posted.late:
            await self.world.execute(insert, *row)
            return
        connection = await AsyncConnection.connect(self.world.dsn)
        await connection.execute(insert, row)
        self._open.append((now + posted.late * HOUR, connection))

    async def _commit_what_is_late(self, now: datetime | None) -> None:
        due = [each for each in self._open if now is None or each[0] <= now]
        self._open = [each for each in self._open if each not in due]
        for _, connection in due:
            await connection.commit()
            await connection.close()

    async def _change(self, changed: Changed) -> None:
        """Whose insert is not committed yet is not there to be changed."""
        post = _pick(list(self.ledger.posts.values())[-20:], changed.which)
        if post is None:
            return
        to = {"deleted": "deleted = true", "private": "private = true", "edited": "version = version + 1"}
        if not await self.world.rows(f"update year.post set {to[changed.how]} where id = %s returning id", post.number):
            return
        post.deleted |= changed.how == "deleted"
        post.private |= changed.how == "private"
        post.version += changed.how == "edited"

    # The work -------------------------------------------------------------------------------------------------------

    async def _work_until(self, end: datetime) -> None:
        while self.world.clock.now() < end:
            self.world.clock.move_to(await self._next_moment(end))
            if self.world.clock.now() >= self._asleep_until:
                await self._work()

    async def _next_moment(self, end: datetime) -> datetime:
        """When something is due, but not before the next full ten minutes, nor while all sleep."""
        now = self.world.clock.now()
        moments = [await next_due(self.world.database, Channel.EMAIL)]
        if now >= self._unplanned_until:
            moments.append(await self._planners[0].next_at())
        due = min((moment for moment in moments if moment is not None), default=end)
        return min(max(_polled(max(due, now + timedelta(microseconds=1))), self._asleep_until), end)

    async def _work(self) -> None:
        """Two workers at the same time; one of them may die, and what it held is taken back when its lease is over."""
        done = await asyncio.gather(*(self._drain(n) for n in range(2)), return_exceptions=True)
        for died in done:
            if isinstance(died, BaseException) and not isinstance(died, Killed):
                raise died
        self.kills += sum(isinstance(died, Killed) for died in done)
        await self.world.reap()

    async def _drain(self, n: int) -> None:
        planner = self._planners[n] if self.world.clock.now() >= self._unplanned_until else None
        sender = self.world.sender(worker=f"test/{n}", lease=LEASE, send_chunk=100)
        await Worker(
            self.world.database, self.world.clock, [replace(sender, passed=self._stepped)], planner=planner
        ).drain()

    def _stepped(self, step: Step, _deliveries: int) -> None:
        self._passed(str(step))

    def _passed(self, point: str) -> None:
        self.walks += point == COMMITTED
        if self._kill is None or self._kill.point != point:
            return
        if self._kill.after:
            self._kill = Kill(point, self._kill.after - 1)
            return
        self._kill = None
        self.ledger.troubled(self.world.clock.now())
        raise Killed

    def _answer(self, prepared: Prepared) -> Outcome:
        now = self.world.clock.now()
        outcome = (UNKNOWN if self._lost_answers else DEFERRED) if now < self._down_until else ACCEPTED
        if outcome.verdict is not Verdict.DEFERRED:
            text = prepared.payload.decode().partition("\n")[2]
            items = [(reason, int(n), int(version)) for reason, n, version in _ITEM.findall(text)]
            person = prepared.address.partition("@")[0]
            self.ledger.hand_over(now, prepared.delivery_id, person, items, cut=_CUT.search(text) is not None)
        return outcome

    # What is looked at each day -------------------------------------------------------------------------------------

    async def check(self, day: int) -> None:
        """Look at what must have come by now, and throw away what an operator would."""
        now = self.world.clock.now()
        await self._excuse_what_nobody_knows()
        self.ledger.settle(now)
        if self.ledger.quiet(now):
            for row in await self.world.rows(_STUCK, now - STUCK):
                self.ledger.faults.append(f"{row.recipient_id}'s delivery {row.id} is {row.state} since {row.due_at}")
        for row in await self.world.rows(_TWO_A_WEEK, self._checked):
            self.ledger.faults.append(f"{row.recipient_id} had another weekly {row.reason} in the week of {row.period}")
        if day % 30 == 0:
            await self._prove_coverage()
            await prune(self.world.database, now - KEPT, apply=True)
        self._checked = now
        self.world.recorder.handed_over.clear()
        self.world.recorder.accepted.clear()
        self.tell(self, day)

    async def _excuse_what_nobody_knows(self) -> None:
        """What a worker held between the mark and the hand-over when it died; and what did not fit into a message."""
        unknown = await self.world.rows(
            "select id from hark.delivery where outcome = 'unknown' and changed_at >= %s", self._checked
        )
        lost = [row.id for row in unknown if row.id not in self.ledger.handed_ids]
        ids = lost + self.ledger.cut
        self.ledger.cut = []
        if not ids:
            return
        rows = await self.world.rows(_ITEMS_OF, ids, ids)
        self.ledger.excuse((row.recipient_id, row.reason, row.number) for row in rows)
        for person, reason in {(row.recipient_id, row.reason) for row in rows if row.more and row.reason in FEEDS}:
            self.ledger.excuse_posts(person, reason)

    async def _prove_coverage(self) -> None:
        """Hark's own proof, as `hark digests verify` gives it."""
        async for fault in coverage.faults(self.world.database, self.world.clock.now()):
            if not (fault.fault == coverage.Wrong.STILL_OPEN and not self.ledger.quiet(self.world.clock.now())):
                self.ledger.faults.append(fault.sentence())


T = Any


def _pick(choices: Sequence[T], which: float) -> T | None:
    return choices[int(which * len(choices))] if choices else None


def _polled(moment: datetime) -> datetime:
    """The next full ten minutes, never the moment itself's past."""
    midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return midnight + -(-(moment.astimezone(UTC) - midnight) // POLL) * POLL


def _as_recipient(person: Person) -> Recipient:
    address = f"{person.id}@school.example"
    return Recipient(person.id, person.user_type, address, True, zone=person.zone, digest_at=person.digest_at)
