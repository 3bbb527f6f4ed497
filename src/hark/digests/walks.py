"""One reason's way through the recipients of a slot; and around those whose data break its query.

A chunk that breaks is planned by halves, until one recipient is left that it breaks on. (One that takes too long is
planned in ever smaller ones, each later than the one before: `narrowing`.) They are passed over, counted and named in
the walk's `fault`; their items are offered again the next time. Where it breaks on everybody, the feed is at fault, and
the walk waits. So it is whether the feed is a query, a callable or an endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time

import psycopg

from hark.catalogue import Frequency
from hark.digests.faults import Broken, is_of_some, is_too_slow
from hark.errors import SourceFailed

MOST_PASSED_OVER = 100
"""How many one walk passes over; where there are more, the feed is at fault."""

MOST_IN_A_ROW = 3
"""So many after the first are tried one by one where the feed has not answered for anybody yet."""

FURTHER_ON = (6, 12, 24, 48, MOST_PASSED_OVER)
"""How far on it is then asked about somebody else, to tell a feed that is broken from people who stand together."""

PLACES = (1, 0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8)
"""How far on, of the `MOST_PASSED_OVER` next ones who are due, stands who it is asked about then, one after the other,
where it takes too long for one: first far off, for people whom it is slow for may stand together."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A walk that this planner has taken: where it is, for which morning, how many it has asked for and passed over."""

    slot: int
    reason: str
    due_at: datetime
    period: date
    missed: int
    reached: str
    frequency: Frequency
    zone: str
    digest_at: time | None
    digest_weekday: int | None
    failures: int
    asked: int
    passed_over: int
    lent_until: datetime

    def behind(self, chunk: Chunk) -> Walk:
        """The walk after that chunk of it."""
        return replace(self, reached=chunk.reached, asked=self.asked + chunk.asked)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What planning a chunk came to; `reached` is the last recipient of it."""

    walked: int
    asked: int
    planned: int
    done: bool
    reached: str

    def __add__(self, later: Chunk) -> Chunk:
        return replace(
            later,
            walked=self.walked + later.walked,
            asked=self.asked + later.asked,
            planned=self.planned + later.planned,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Someone who is due, and behind how many recipients of the walk they stand."""

    recipient_id: str
    ahead: int


@dataclass(frozen=True, slots=True)
class Passing:
    """How many of those ahead are passed over first, and what the feed breaks on.

    `trial`: nothing of it is kept, neither who is passed over nor what is planned; it tells only whether the feed
    answers for who is next. `sure`: that it does for others is known, and that it breaks on these.
    """

    recipients: int
    fault: Broken
    trial: bool = False
    sure: bool = False


Plan = Callable[[Walk, int, Passing | None], Awaitable[Chunk]]
"""Plans so many of a walk's recipients (behind those that are passed over), all or none of it."""


def may_be_ones_own(walk: Walk, error: Broken) -> bool:
    """Whether a single recipient's data may be at fault, and this walk may pass over another one."""
    return walk.passed_over < MOST_PASSED_OVER and is_of_some(error)


def other(others: Sequence[Place], failures: int, witness: str) -> Place | None:
    """About whom a feed is asked that takes too long for one; nobody, if no other is due.

    Args:
        others: who are due further on.
        failures: how many others it had no answer for.
        witness: for whom it answered before; the same one again, while they are further on.
    """
    known = next((place for place in others if place.recipient_id == witness), None)
    nearest = others[:MOST_PASSED_OVER]
    return known or (nearest[round(PLACES[failures % len(PLACES)] * (len(nearest) - 1))] if nearest else None)


async def past_one(walk: Walk, plan: Plan, fault: Broken, other: Place | None) -> Chunk:
    """Pass over the one whom the feed takes too long for, asked about alone, if it has an answer for another.

    It is asked about one other at a time, so that a step has its bounds; if it has none, about somebody else later.

    Raises:
        psycopg.Error, SourceFailed: it has none for that one either, or the walk passed over many already.
    """
    if walk.passed_over >= MOST_PASSED_OVER or not (await _answers_for(walk, plan, fault, other)):
        raise fault
    return await plan(walk, 0, Passing(1, fault, sure=True))


async def _answers_for(walk: Walk, plan: Plan, fault: Broken, other: Place | None) -> bool:
    """Whether the feed answers for another one now; where none is left, whether a query did before in this walk."""
    if other is None:
        return _answers(walk, _nothing(walk), fault)
    try:
        return (await plan(walk, 1, Passing(other.ahead, fault, trial=True))).asked > 0
    except (psycopg.Error, SourceFailed) as error:
        if is_too_slow(error) or is_of_some(error):
            return False
        raise


async def past_broken(walk: Walk, plan: Plan, fault: Broken, enough: Callable[[], bool]) -> Chunk:
    """Pass over the one on whom the feed broke, asked about alone. They are not asked about again: that may take long.

    Args:
        enough: whether others were asked about for long enough.

    Raises:
        psycopg.Error, SourceFailed: it breaks on all that were tried.
    """
    return await _passing(walk, plan, fault, enough, answered=_answers(walk, _nothing(walk), fault))


async def around(walk: Walk, size: int, plan: Plan, enough: Callable[[], bool]) -> Chunk:
    """Plan a chunk of so many that broke as a whole, up to the first one who is at fault and is passed over.

    Args:
        walk: as it was taken.
        size: of how many the chunk was.
        plan: plans a part of it.
        enough: whether it took long enough; what is done by then is kept, and the walk goes on another time.

    Raises:
        psycopg.Error, SourceFailed: nobody is passed over, for it breaks on all that were tried.
    """
    done = _nothing(walk)
    while size:
        half = max(size // 2, 1)
        try:
            chunk = await _tried(walk, half, plan)
        except (psycopg.Error, SourceFailed):
            if done.walked:
                return done
            raise
        if isinstance(chunk, Chunk):
            done, walk, size = done + chunk, walk.behind(chunk), size - half
            if chunk.done or enough():
                return done
        elif enough():
            if not done.asked:
                raise chunk
            return done
        elif half == 1:
            return done + await _passing(walk, plan, chunk, enough, answered=_answers(walk, done, chunk))
        else:
            size = half
    return done


def _nothing(walk: Walk) -> Chunk:
    return Chunk(0, 0, 0, done=False, reached=walk.reached)


def _answers(walk: Walk, done: Chunk, fault: Broken) -> bool:
    """Whether the feed is known to answer for others. A query does so now as before; a product may be down by now."""
    return (done.asked if isinstance(fault, SourceFailed) else walk.asked) > 0


async def _passing(walk: Walk, plan: Plan, fault: Broken, enough: Callable[[], bool], *, answered: bool) -> Chunk:
    """Where the feed has answered for others, only this one is at fault; else it must answer for one further on."""
    if answered:
        return await plan(walk, 0, Passing(1, fault, sure=True))
    for recipients in range(1, MOST_IN_A_ROW + 1):
        chunk = await _tried(walk, 1, plan, Passing(recipients, fault))
        if isinstance(chunk, Chunk):
            return chunk
        if enough():
            raise fault
    for recipients in FURTHER_ON:
        chunk = await _tried(walk, 1, plan, Passing(recipients, fault, trial=True))
        if isinstance(chunk, Chunk) and chunk.asked:
            return await plan(walk, 0, Passing(MOST_IN_A_ROW + 1, fault, sure=True))
        if enough():
            break
    raise fault


async def _tried(walk: Walk, size: int, plan: Plan, passing: Passing | None = None) -> Chunk | Broken:
    try:
        return await plan(walk, size, passing)
    except (psycopg.Error, SourceFailed) as error:
        if not may_be_ones_own(walk, error):
            raise
        return error
