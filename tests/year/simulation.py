"""A simulated year on a real Postgres: every stage as it is, but for a virtual clock and a recorder for a provider."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

from hark import inbox
from hark.audience import Recipient, Subscription, mute, put_recipients, subscribe
from hark.catalogue import Feed, Frequency, Reason, SqlSource, Templates
from hark.delivery.attempt import Sender, Step
from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.worker import Worker
from tests import world as given
from tests.world import ACCEPTED, DEFERRED, UNKNOWN, World
from tests.year.ledger import Event, Handed, Ledger, Post
from tests.year.life import (
    FRONT_PAGE,
    HOUR,
    MENTION,
    NEWS,
    ROUND_UP,
    START,
    THREAD,
    WEEKLY_PAGE,
    Chose,
    Happening,
    Kill,
    Life,
    Moved,
    Muted,
    Outage,
    Posted,
    Read,
    Said,
    Slept,
    Withdrawn,
)

STEP = timedelta(hours=1)
FLUSHED = timedelta(days=16)
"""After the last thing happened: every weekly digest is out, and every back-off is over."""

_ITEM = re.compile(r"\[(\w+):(\d+)\]")
_CUT = re.compile(r"and \d+ more")
_FEED = """
select due.recipient_id, post.id::text as key, 0.0::float8 as rank, post.written_at as at, null::text as actor,
       'page:' || post.id as about, jsonb_build_object('n', post.id) as payload
  from due
  join year.post on not pg_visible_in_snapshot(post.xid, due.since)
 where not post.withdrawn
"""
_RECHECK = """
select asked.n, case when post.withdrawn then 'withdrawn' end as why, null::jsonb as payload
  from asked
  join year.post on post.id = asked.key::bigint
"""
_TABLES = """
create schema if not exists year;
create table year.post (
    id         bigint primary key,
    written_at timestamptz not null,
    withdrawn  boolean not null default false,
    xid        xid8 not null default pg_current_xact_id()
);
create index on year.post (xid);
"""


class Killed(BaseException):
    """The worker is gone, wherever it was."""


def reasons() -> tuple[Reason, ...]:
    """The catalogue of the year: each names its items by their numbers."""
    return (
        _reason(THREAD, Frequency.BATCHED, narrower={MENTION: "named"}),
        _reason(MENTION, Frequency.IMMEDIATE),
        _reason(NEWS, Frequency.DAILY),
        _reason(ROUND_UP, Frequency.WEEKLY),
        _reason(
            FRONT_PAGE, Frequency.DAILY, feed=Feed(SqlSource(_FEED, None), cap=50), recheck=SqlSource(_RECHECK, None)
        ),
        _reason(
            WEEKLY_PAGE, Frequency.WEEKLY, feed=Feed(SqlSource(_FEED, None), cap=50), recheck=SqlSource(_RECHECK, None)
        ),
    )


def _reason(name: str, frequency: Frequency, **more: Any) -> Reason:
    """Its items are named by their numbers, so that the ledger can read what was sent."""
    return given.reason(name, frequency=frequency, templates=Templates(text=f"[{name}:{{{{ payload.n }}}}]"), **more)


@dataclass(slots=True)
class Simulation:
    """One life, lived on Hark."""

    world: World
    life: Life
    ledger: Ledger = field(init=False)
    _followers: dict[str, set[str]] = field(default_factory=dict)
    _numbers: int = 0
    _open: list[tuple[datetime, psycopg.AsyncConnection[tuple[object, ...]]]] = field(default_factory=list)
    _down_until: datetime = START
    _asleep_until: datetime = START
    _lost_answers: bool = False
    _kill: Kill | None = None
    kills: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger({reason.name: reason.frequency for reason in reasons()})

    async def run(self) -> list[str]:
        """Live it all, and say what is wrong in the end."""
        await self._begin()
        for hour, happenings in self.life.hours():
            for happening in happenings:
                await self._happen(happening)
            await self._commit_what_is_late(hour)
            await self._work_until(hour + HOUR)
        await self._end()
        people = [person.id for person in self.life.people]
        return self.ledger.faults(people, self.world.clock.now())

    # How it begins and ends -----------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        await self.world.execute(_TABLES)
        await self.world.install(*reasons())
        now = self.world.clock.now()
        people = [
            Recipient(p.id, "Students", f"{p.id}@school.example", True, zone=p.zone, digest_at=p.digest_at)
            for p in self.life.people
        ]
        await put_recipients(self.world.database, people, now)
        await subscribe(
            self.world.database, [Subscription(person, entity) for person, entity in self.life.follows], now
        )
        for person, entity in self.life.follows:
            self._followers.setdefault(entity, set()).add(person)
        self.world.recorder.answer = self._answer
        await self._work_until(START)

    async def _end(self) -> None:
        self._kill, self._down_until, self._asleep_until = None, START, START
        await self._commit_what_is_late(None)
        end = self.world.clock.now() + FLUSHED
        while self.world.clock.now() < end:
            await self._work_until(self.world.clock.now() + HOUR)
        unknown = await self.world.rows("select recipient_id, id from hark.delivery where outcome = 'unknown'")
        self.ledger.unanswered = {row.id: row.recipient_id for row in unknown}

    # What happens ---------------------------------------------------------------------------------------------------

    async def _happen(self, happening: Happening) -> None:
        now = self.world.clock.now()
        match happening:
            case Said():
                await self._say(happening, now)
            case Posted():
                await self._post(happening, now)
            case Withdrawn():
                await self._withdraw(happening, now)
            case Outage(hours, lost_answers):
                self._down_until, self._lost_answers = now + hours * HOUR, lost_answers
            case Slept(hours):
                self._asleep_until = now + hours * HOUR
            case Kill():
                self._kill = happening
            case _:
                await self._act(happening, now)

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
                self.ledger.reads[person].append(now)
            case Moved(person, zone):
                await self._move(person, zone, now)

    async def _say(self, said: Said, now: datetime) -> None:
        # What was chosen or muted in this very hour holds for what is said in it, as it is fanned out at once.
        self._numbers += 1
        n, entities = self._numbers, [said.entity] if said.entity else []
        followed = self._followers.get(said.entity or "", set())
        followers = {person for person in followed if not self.ledger.silenced(person, said.entity, now, now)}
        self.ledger.events[n] = Event(n, said.reason, said.entity, said.to, said.actor, now, frozenset(followers))
        await self.world.publish(said.reason, to=said.to, entities=entities, actor=said.actor, payload={"n": n})
        await self.world.fan_out()

    async def _post(self, posted: Posted, now: datetime) -> None:
        self._numbers += 1
        self.ledger.posts[self._numbers] = Post(self._numbers, now)
        row = [self._numbers, now - posted.backdated * HOUR]
        insert = "insert into year.post (id, written_at) values (%s, %s)"
        if not posted.late:
            await self.world.execute(insert, *row)
            return
        connection = await psycopg.AsyncConnection.connect(self.world.dsn)
        await connection.execute(insert, row)
        self._open.append((now + posted.late * HOUR, connection))

    async def _commit_what_is_late(self, hour: datetime | None) -> None:
        due = [each for each in self._open if hour is None or each[0] <= hour]
        self._open = [each for each in self._open if each not in due]
        for _, connection in due:
            await connection.commit()
            await connection.close()

    async def _withdraw(self, withdrawn: Withdrawn, now: datetime) -> None:
        newest = [post for post in list(self.ledger.posts.values())[-20:] if post.withdrawn is None]
        if not newest:
            return
        post = newest[int(withdrawn.which * len(newest))]
        changed = await self.world.rows("update year.post set withdrawn = true where id = %s returning id", post.number)
        if changed:
            post.withdrawn = now

    async def _move(self, person: str, zone: str, now: datetime) -> None:
        mine = next(p for p in self.life.people if p.id == person)
        moved = Recipient(person, "Students", f"{person}@school.example", True, zone=zone, digest_at=mine.digest_at)
        await put_recipients(self.world.database, [moved], now)

    # The work -------------------------------------------------------------------------------------------------------

    async def _work_until(self, end: datetime) -> None:
        while self.world.clock.now() < end:
            now = min(self.world.clock.now() + STEP, end)
            self.world.clock.move_to(now)
            if now >= self._asleep_until:
                await self._work()

    async def _work(self) -> None:
        worker = Worker(self.world.database, self.world.clock, [self._sender()], planner=self.world.planner())
        try:
            await worker.drain()
        except Killed:
            self.kills += 1
        await self.world.reap()

    def _sender(self) -> Sender:
        return replace(self.world.sender(lease=timedelta(minutes=10), send_chunk=20), passed=self._passed)

    def _passed(self, step: Step, _deliveries: int) -> None:
        if self._kill is None or list(Step)[self._kill.step] is not step:
            return
        if self._kill.after:
            self._kill = Kill(self._kill.step, self._kill.after - 1)
            return
        self._kill = None
        raise Killed

    def _answer(self, prepared: Prepared) -> Outcome:
        down = self.world.clock.now() < self._down_until
        outcome = (UNKNOWN if self._lost_answers else DEFERRED) if down else ACCEPTED
        if outcome.verdict is not Verdict.DEFERRED:
            text = prepared.payload.decode().partition("\n")[2]
            items = tuple((reason, int(n)) for reason, n in _ITEM.findall(text))
            person = prepared.address.partition("@")[0]
            cut = _CUT.search(text) is not None
            self.ledger.handed.append(Handed(self.world.clock.now(), prepared.delivery_id, person, items, cut))
        return outcome
