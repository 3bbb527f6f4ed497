"""Plan one chunk of a walk: who is due, what is new for them, into the message that gathers for their morning.

It is one statement: whoever is due, the feed's own query, what is new and not known yet, the gathering messages, the
digests, the walk's progress. It happens whole or not at all, so a planner that dies loses nothing, and another goes on
where it was. A feed in Python or behind a URL is asked between two statements, with no transaction open; the second
writes nothing if another was faster.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hark.batching import GATHERED
from hark.catalogue import Feed, PythonSource, Reason, SqlSource
from hark.clock import Clock
from hark.digests.faults import Broken, in_words, is_of_some, is_too_slow, name_of
from hark.digests.narrowing import Narrows, alone, most, narrowed, smaller
from hark.digests.walks import (
    MOST_PASSED_OVER,
    Chunk,
    Passing,
    Place,
    Plan,
    Walk,
    around,
    may_be_ones_own,
    other,
    past_broken,
    past_one,
)
from hark.errors import SourceFailed
from hark.feeds import Asking, Due, FeedItem
from hark.logs import Log
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query, chain
from hark.sources import as_part

_SQL = Queries.beside(__file__)
_log = Log(__name__)

LEAD = timedelta(minutes=10)
CHUNK = 5000
TIMEOUT = timedelta(seconds=30)
ANSWER_WAIT = timedelta(minutes=15)
"""How long an unanswered hand-over may still come to another end; until then its digest counts as open."""

KEYS_KEPT = 1000
"""How many keys a digest of a feed with an overlap remembers: more than it lists, so that few come again."""

RESERVE = 2
"""How many times the cap a digest keeps where there is a recheck: the others stand in for what that refuses."""

TRIED_ONCE, TRIED_TWICE = 1_000, 10_000
"""How many it keeps if all of the last one were left out, and if all of the last two were: so nothing waits for ever
behind what may not be said."""

MEMORY = "64MB"
"""What a chunk may sort in, so that it does not sort on disk."""

FIRST_COVERS = timedelta(days=7)
"""How far a first digest goes back, daily or weekly: nothing is missed by who wanted it weekly, and then daily before
the first weekly one came, nor by who was to get a first one while nobody planned."""
FEW = 500
"""So many recipients, or fewer, are planned by a plan that is kept: making it takes longer than they do. The same
number stands in planning.sql (`nobody_of_few`)."""

FAR = 20_000
"""Among so many at once, further and further on, others are looked for where a feed takes too long for one."""

WILLING = tuple(_SQL[part] for part in ("willing", "grounds", "standing", "nobody", "watermarks"))
"""From who was walked to their watermarks."""
_WILLING_OF_FEW = tuple(_SQL[part] for part in ("willing", "grounds", "standing", "nobody_of_few", "watermarks"))
_WHO = (_SQL["guard"], _SQL["walked"], *WILLING, _SQL["due"])
_WHO_OF_FEW = (_SQL["guard"], _SQL["walked"], *_WILLING_OF_FEW, _SQL["due"])
_OFFERED = (_SQL["muted"], _SQL["offered"])
_OUT = (_SQL["news"], _SQL["wanted"], GATHERED, _SQL["written"], _SQL["moved"])

ASK = chain(*_WHO, end=_SQL["ask"])
DUE_AHEAD = chain(_SQL["unguarded"], *_WHO[1:], end=_SQL["due_ahead"])
PLAN_ASKED = chain(
    *_WHO, _SQL["answered_before"], _SQL["known"], *_OFFERED, _SQL["paired_as_asked"], *_OUT, end=_SQL["plan"]
)


def plan_by_sql(feed: Feed, *, few: bool = False) -> Query:
    """The statement that plans one chunk with the feed's own query inside of it; `few`: of `FEW` recipients at most."""
    assert isinstance(feed.source, SqlSource)
    answered = Query("feed.answered", f"answered as ({as_part(feed.source)})", part=True)
    known = _SQL["known"] if feed.overlap else _SQL["known_nothing"]
    who = _WHO_OF_FEW if few else _WHO
    return chain(*who, answered, known, *_OFFERED, _SQL["paired"], *_OUT, end=_SQL["plan"])


@dataclass(frozen=True, slots=True)
class _Asked:
    recipient_id: str
    since: str
    since_at: datetime
    until: str


@dataclass(frozen=True, slots=True)
class _Reached:
    reached: str


@dataclass(frozen=True, slots=True)
class _Span:
    recipients: int
    upto: str


@dataclass(frozen=True, slots=True)
class Blame:
    """What a fault does to its walk: how many `failures` it has then, after how many (`waited`) its wait is.

    `all`: the other walks of the reason would meet it, too, and wait as well.
    """

    failures: int
    waited: int
    all: bool


@dataclass(frozen=True, slots=True)
class _Expected:
    recipients: int
    plan_cache_mode: str


@dataclass(frozen=True, slots=True)
class _Statements:
    """What plans a chunk; `of_few`: of `FEW` recipients at most, where that has a statement of its own."""

    of_many: Query
    of_few: Query | None = None

    @classmethod
    def of(cls, feed: Feed) -> _Statements:
        return cls(plan_by_sql(feed), plan_by_sql(feed, few=True))

    @property
    def most_of_few(self) -> int:
        return FEW if self.of_few else -1


@dataclass(frozen=True, slots=True)
class _Turn:
    ours: bool
    patience: str
    memory: str


class Busy(Exception):
    """Another planner is at this reason just now."""


Answers = Callable[[Feed, str, Sequence[Due], Asking], Awaitable[list[FeedItem]]]


@dataclass(frozen=True, slots=True)
class Planning:
    """Plans chunks; the attributes are those of `Planner`."""

    database: Database
    clock: Clock
    lead: timedelta
    chunk: int
    asking: Asking
    answers: Answers
    narrows: Narrows

    async def plan(self, walk: Walk, reason: Reason) -> Chunk:
        """The next chunk of a walk, around those whose data break the feed.

        Raises:
            Busy: another planner is at this reason.
            psycopg.Error, SourceFailed: the feed does not answer for anybody who was tried.
        """
        chunk = await self._planned(walk, reason)
        self.narrows.note_planned(walk, chunk)
        return chunk

    async def _planned(self, walk: Walk, reason: Reason) -> Chunk:
        plan, enough = self._way(reason), self._patience_from_now()
        size = smaller(self.chunk, self.narrows.wary(walk))
        try:
            return await plan(walk, size, None)
        except (SourceFailed, psycopg.Error) as error:
            if size == 1 and is_too_slow(error):
                return await self._past_one(walk, reason, plan, error)
            if not may_be_ones_own(walk, error):
                raise
            if size == 1:
                return await past_broken(walk, plan, error, self._patience_from_now())
        given = {**self._given(walk, reason), "chunk": size, "few": -1}
        ahead = await self.database.one(_SQL["expected"], _Expected, given)
        return await around(walk, ahead.recipients, plan, enough)

    def _patience_from_now(self) -> Callable[[], bool]:
        """Whether the time of one question has passed since."""
        until = monotonic() + self.asking.timeout.total_seconds()
        return lambda: monotonic() > until

    def _way(self, reason: Reason) -> Plan:
        assert reason.feed is not None
        if isinstance(reason.feed.source, SqlSource):
            return partial(self._plan_by_sql, _Statements.of(reason.feed), reason)
        return partial(self._ask_and_plan, reason, reason.feed)

    async def blame(self, walk: Walk, reason: Reason, error: Broken) -> Blame:
        """What follows from a fault that `plan` raised.

        What takes too long may be one recipient's: the walk's own affair, and narrowed down without longer and longer
        waits. All wait where it broke in others, too, and has answered for nobody in between, so that it does not cost
        a time-out for each of them at a time; and at first, when nothing is known of it.
        """
        failures, may_be_all = self.narrows.wary(walk), self.narrows.may_be_the_reasons(walk)
        if not is_too_slow(error):
            return Blame(min(walk.failures + 1, most(self.chunk)), walk.failures, not is_of_some(error))
        if (size := smaller(self.chunk, failures)) == 1:
            others = failures - alone(self.chunk)
            return Blame(min(failures + 1, most(self.chunk)), others, may_be_all)
        span = await self.database.one(_SQL["span"], _Span, {**self._given(walk, reason), "chunk": size})
        source = reason.feed.source if reason.feed else None
        failures = narrowed(self.chunk, span.recipients, callable_=isinstance(source, PythonSource))
        self.narrows.note(walk, span.upto, failures)
        return Blame(failures, 0, may_be_all)

    async def _past_one(self, walk: Walk, reason: Reason, plan: Plan, fault: Broken) -> Chunk:
        """Past the one whom it is too slow for, if it answers for another; for the next one the same is asked about."""
        failures = self.narrows.wary(walk) - alone(self.chunk)
        asked = other(await self._others(walk, reason), failures, self.narrows.witness(walk))
        try:
            chunk = await past_one(walk, plan, fault, asked)
        except (SourceFailed, psycopg.Error):
            self.narrows.forget_witness(walk)
            raise
        if asked is not None:
            self.narrows.note_answer(walk, asked.recipient_id)
        return chunk

    async def _others(self, walk: Walk, reason: Reason) -> list[Place]:
        """The others who are due behind the next recipient, far enough on; for so long as one question may take."""
        others: list[Place] = []
        ahead, reached, enough = 0, walk.reached, self._patience_from_now()
        while len(others) < MOST_PASSED_OVER and not enough():
            given = {**self._given(walk, reason), "reached": reached, "chunk": FAR, "expected": FAR}
            async with self.database.connection() as connection, connection.transaction(force_rollback=True):
                found = await fetch(connection, DUE_AHEAD, Place, given, schema=self.database.schema, prepare=False)
            others += [replace(place, ahead=ahead + place.ahead) for place in found if ahead + place.ahead]
            span = await self.database.one(_SQL["span"], _Span, given)
            if span.recipients < FAR:
                break
            ahead, reached = ahead + FAR, span.upto
        return others

    async def _plan_by_sql(
        self, statements: _Statements, reason: Reason, walk: Walk, size: int, passing: Passing | None
    ) -> Chunk:
        given = {**self._given(walk, reason), "chunk": size, "expected": size}
        return await self._write(statements, "one_at_a_time", walk, given, passing)

    async def _ask_and_plan(self, reason: Reason, feed: Feed, walk: Walk, size: int, passing: Passing | None) -> Chunk:
        given = {**self._given(walk, reason), "chunk": size, "expected": size}
        due = await self._due(walk, given, passing)
        asked = [Due(each.recipient_id, each.since, each.since_at) for each in due]
        items = await self.answers(feed, reason.name, asked, self.asking) if asked else []
        until = due[0].until if due else None
        given = {**given, **_answered(due, items), "until": until}
        return await self._write(_Statements(PLAN_ASKED), "in_turn", walk, given, passing)

    async def _due(self, walk: Walk, given: Mapping[str, object], passing: Passing | None) -> list[_Asked]:
        """For whom a feed is asked; nothing is passed over before it has answered."""
        async with self.database.connection() as connection, connection.transaction(force_rollback=True):
            if passing is not None:
                given = await self._passed_over(connection, walk, given, passing)
            return await fetch(connection, ASK, _Asked, given, schema=self.database.schema, prepare=False)

    async def _write(
        self, statements: _Statements, turn: str, walk: Walk, given: Mapping[str, object], passing: Passing | None
    ) -> Chunk:
        async with self.database.transaction() as connection:
            (turned,) = await fetch(connection, _SQL[turn], _Turn, self._patience(walk), schema=self.database.schema)
            if not turned.ours:
                raise Busy
            if passing is not None:
                given = await self._passed_over(connection, walk, given, passing)
            chunk = await self._write_chunk(connection, statements, given)
            if passing is not None and passing.trial:
                raise psycopg.Rollback
            if passing is not None and not chunk.walked and not walk.asked and not passing.sure:
                raise passing.fault
        if passing is not None and not passing.trial:
            _log.error("passed_over", reason=walk.reason, slot=walk.slot, error=name_of(passing.fault))
        return chunk

    async def _passed_over(
        self, connection: AsyncConnection[Any], walk: Walk, given: Mapping[str, object], passing: Passing
    ) -> Mapping[str, object]:
        """Go on behind those ahead; what is given from there. Whom it is slow for, too, may be next: alone again."""
        if is_too_slow(passing.fault):
            given = {**given, "failures_left": alone(self.chunk)}
        passed = {**given, "passing": passing.recipients, "fault": in_words(passing.fault)}
        reached = await fetch(connection, _SQL["passed_over"], _Reached, passed, schema=self.database.schema)
        return {**given, "reached": reached[0].reached} if reached else given

    async def _write_chunk(
        self, connection: AsyncConnection[Any], statements: _Statements, given: Mapping[str, object]
    ) -> Chunk:
        """The next chunk, by the statement for so many: of a few it is planned once, else anew each time."""
        schema = self.database.schema
        (ahead,) = await fetch(
            connection, _SQL["expected"], _Expected, {**given, "few": statements.most_of_few}, schema=schema
        )
        few = ahead.recipients <= statements.most_of_few
        query = statements.of_few if few and statements.of_few else statements.of_many
        expected = {**given, "expected": ahead.recipients}
        (chunk,) = await fetch(connection, query, Chunk, expected, schema=schema, prepare=None if few else False)
        return chunk

    def _patience(self, walk: Walk) -> dict[str, object]:
        milliseconds = round(self.asking.timeout.total_seconds() * 1000)
        return {"reason": walk.reason, "milliseconds": milliseconds, "memory": MEMORY}

    def _given(self, walk: Walk, reason: Reason) -> dict[str, object]:
        assert reason.feed is not None
        now = self.clock.now()
        return {
            "slot": walk.slot,
            "reason": reason.name,
            "frequency": walk.frequency,
            "zone": walk.zone,
            "digest_at": walk.digest_at,
            "digest_weekday": walk.digest_weekday,
            "due_at": walk.due_at,
            "period": walk.period,
            "missed": walk.missed,
            "failures_left": max(min(self.narrows.failures(walk), alone(self.chunk)) - 1, 0),
            "reached": walk.reached,
            "chunk": self.chunk,
            "expected": self.chunk,
            "ago": walk.due_at - FIRST_COVERS - self.lead,
            "answered_by": now - ANSWER_WAIT,
            "overlap": reason.feed.overlap,
            "reserve": reason.feed.cap * (RESERVE if reason.recheck else 1),
            "tried_once": TRIED_ONCE,
            "tried_twice": TRIED_TWICE,
            "keys_kept": KEYS_KEPT if reason.feed.overlap else 0,
            "at_least_once": reason.at_least_once,
            "until": None,
            "until_at": now,
            "now": now,
        }


def _answered(due: Sequence[_Asked], items: Sequence[FeedItem]) -> dict[str, object]:
    return {
        "asked": [each.recipient_id for each in due],
        "asked_since": [each.since for each in due],
        "recipients": [item.recipient_id for item in items],
        "keys": [item.key for item in items],
        "ranks": [item.rank for item in items],
        "ats": [item.at for item in items],
        "actors": [item.actor for item in items],
        "abouts": [item.about for item in items],
        "payloads": [Jsonb(dict(item.payload)) for item in items],
    }
