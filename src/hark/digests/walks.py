"""One reason's way through the recipients of a slot; and around those whose data break its query.

A chunk that breaks is planned by halves, until one recipient is left that it breaks on. They are passed over, counted
and named in the walk's `fault`; their items are offered again the next time. Where it breaks on everybody, the feed is
at fault, and the walk waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time

import psycopg

from hark.catalogue import Frequency
from hark.postgres.database import is_of_the_data

MOST_PASSED_OVER = 100
"""How many one walk passes over; where there are more, the feed is at fault."""

MOST_IN_A_ROW = 3
"""How many in a row the feed may break on before it has answered for anybody."""

_OF_ONES_DATA = ("21", "P0")
"""SQLSTATEs, beside those of `is_of_the_data`, that speak of somebody's rows: more of them than a subquery may give,
and what a function of the product's refuses."""


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
class Passing:
    """How many of those ahead are passed over first, and what the feed breaks on."""

    recipients: int
    fault: psycopg.Error


Plan = Callable[[Walk, int, Passing | None], Awaitable[Chunk]]
"""Plans so many of a walk's recipients (behind those that are passed over), all or none of it."""


def may_be_ones_own(walk: Walk, error: BaseException) -> bool:
    """Whether a single recipient's data may be at fault, and this walk may pass over another one."""
    if not isinstance(error, psycopg.Error) or walk.passed_over >= MOST_PASSED_OVER:
        return False
    return is_of_the_data(error) or (error.sqlstate or "").startswith(_OF_ONES_DATA)


async def around(walk: Walk, size: int, plan: Plan) -> Chunk:
    """Plan a chunk of so many that broke as a whole, up to the first one who is at fault and is passed over.

    Raises:
        psycopg.Error: nobody is passed over, for it breaks on all that were tried.
    """
    done = Chunk(0, 0, 0, done=False, reached=walk.reached)
    while size:
        half = max(size // 2, 1)
        chunk = await _tried(walk, half, plan)
        if isinstance(chunk, Chunk):
            done, walk, size = done + chunk, walk.behind(chunk), size - half
            if chunk.done:
                return done
        elif half == 1:
            return done + await _passing(walk, plan, chunk)
        else:
            size = half
    return done


async def _passing(walk: Walk, plan: Plan, fault: psycopg.Error) -> Chunk:
    """Where the feed has answered for others, only this one is at fault; else it must answer for one of the next."""
    if walk.asked:
        return await plan(walk, 0, Passing(1, fault))
    for recipients in range(1, MOST_IN_A_ROW + 1):
        try:
            return await plan(walk, 1, Passing(recipients, fault))
        except psycopg.Error as error:
            if not may_be_ones_own(walk, error):
                raise
    raise fault


async def _tried(walk: Walk, size: int, plan: Plan) -> Chunk | psycopg.Error:
    try:
        return await plan(walk, size, None)
    except psycopg.Error as error:
        if not may_be_ones_own(walk, error):
            raise
        return error
