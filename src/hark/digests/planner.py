"""Plan digests: open what mornings come, then plan one chunk of one walk after the other.

A walk goes through the recipients of one slot for one reason. It is lent to one planner for a chunk; should that one
die, the walk is free again a while later, where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psycopg

from hark.catalogue import Catalogue, Reason
from hark.clock import Clock
from hark.digests.faults import Broken, in_words, is_of_some, is_the_feeds, is_too_slow, name_of
from hark.digests.mornings import declare, look, open_slots
from hark.digests.narrowing import Narrows, alone
from hark.digests.planning import CHUNK, LEAD, Answers, Blame, Busy, Planning
from hark.digests.walks import Walk
from hark.errors import SourceFailed
from hark.feeds import Asking, ask_feed
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

BUSY_WAIT = timedelta(seconds=1)
"""When a planner comes again that found nothing but what others are planning."""
_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(minutes=30)
_TIME_OUTS = 8
"""So many in a row are no more than it takes to find one for whom a feed is slow."""
_LOAN = 3
"""For how many time-outs a walk is lent: what a step may take, which asks twice at most, and looks ahead or writes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What one step came to: `slots` opened, `asked` recipients for what is new, `planned` digests.

    `more`: there is more to do at once; else `next_at` says when. `busy`: others are planning all that there is.
    """

    slots: int = 0
    asked: int = 0
    planned: int = 0
    failed: int = 0
    more: bool = False
    next_at: datetime | None = None
    busy: bool = False


@dataclass(slots=True)
class Planner:
    """Everything that planning needs.

    Attributes:
        lead: how long before a morning its digests are planned, so that they are complete when it comes.
        chunk: how many recipients one statement takes on.
        asking: with what Python and HTTP feeds are asked; its time-out holds for SQL feeds, too.
        answers: asks those feeds.
    """

    database: Database
    clock: Clock
    catalogue: Catalogue
    lead: timedelta = LEAD
    chunk: int = CHUNK
    asking: Asking = field(default_factory=Asking)
    answers: Answers = ask_feed
    _declared: bool = field(default=False, init=False)
    _narrows: Narrows = field(default_factory=Narrows, init=False)

    async def step(self) -> Planned:
        """Open what mornings come, then plan one chunk of one walk.

        Raises:
            CoverageLost: the database was restored from a dump.
        """
        await self._declare_once()
        reasons, now = list(self._feeds()), self.clock.now()
        ahead = await look(self.database, reasons, now, self.lead)
        if ahead.at is None or ahead.at > now:
            return Planned(next_at=ahead.at)
        slots = await self._open(reasons, now) if ahead.slot_at is not None and ahead.slot_at <= now else 0
        done = await self._walk_on(reasons)
        if done.busy:
            return Planned(slots, next_at=now + BUSY_WAIT, busy=True)
        return Planned(slots, done.asked, done.planned, done.failed, more=True)

    async def next_at(self) -> datetime | None:
        """When there is something to do."""
        await self._declare_once()
        return (await look(self.database, list(self._feeds()), self.clock.now(), self.lead)).at

    def _feeds(self) -> Mapping[str, Reason]:
        return {name: reason for name, reason in self.catalogue.reasons.items() if reason.feed is not None}

    async def _declare_once(self) -> None:
        if not self._declared:
            await declare(self.database, self.catalogue)
            self._declared = True

    async def _open(self, reasons: list[str], now: datetime) -> int:
        opened = await open_slots(self.database, self.catalogue, reasons, now, self.lead)
        if opened.missed:
            _log.warning("mornings_missed", slots=opened.slots, missed=opened.missed)
        return opened.slots

    async def _walk_on(self, reasons: list[str]) -> Planned:
        """One chunk of one walk: of the first reason that no other planner is at."""
        free = list(reasons)
        while (walk := await self._taken(free)) is not None:
            try:
                return await self._walk(walk)
            except Busy:
                await self.database.execute(_SQL["given_back"], {**self._place(walk), "lent_until": walk.lent_until})
                free.remove(walk.reason)
        return Planned(busy=len(free) < len(reasons))

    async def _taken(self, reasons: list[str]) -> Walk | None:
        now = self.clock.now()
        given = {"reasons": reasons, "now": now, "lent_until": now + _LOAN * self.asking.timeout}
        taken = await self.database.fetch(_SQL["taken"], Walk, given)
        return taken[0] if taken else None

    async def _walk(self, walk: Walk) -> Planned:
        reason = self.catalogue.reasons[walk.reason]
        planning = Planning(self.database, self.clock, self.lead, self.chunk, self.asking, self.answers, self._narrows)
        try:
            chunk = await planning.plan(walk, reason)
        except (SourceFailed, psycopg.Error) as error:
            if not is_the_feeds(error):
                raise
            await self._note(walk, error, await planning.blame(walk, reason, error))
            return Planned(failed=1)
        _log.info("digests_planned", reason=walk.reason, slot=walk.slot, asked=chunk.asked, planned=chunk.planned)
        return Planned(asked=chunk.asked, planned=chunk.planned)

    def _place(self, walk: Walk) -> dict[str, object]:
        return {
            "slot": walk.slot,
            "reason": walk.reason,
            "due_at": walk.due_at,
            "reached": walk.reached,
            "now": self.clock.now(),
        }

    async def _note(self, walk: Walk, error: Broken, blame: Blame) -> None:
        now, in_a_row = self.clock.now(), self._in_a_row(walk, error)
        told = {
            "fault": in_words(error),
            "retry_at": now + _wait(max(blame.waited, in_a_row)),
            "all_at": now + _wait(in_a_row) if blame.all else None,
            "failures": blame.failures,
        }
        await self.database.execute(_SQL["failed"], {**self._place(walk), **told})
        _log.error("feed_failed", reason=walk.reason, slot=walk.slot, failures=blame.failures, error=name_of(error))

    def _in_a_row(self, walk: Walk, error: Broken) -> int:
        """How often the feed broke as a whole before, in whichever of its walks, and answered for nobody in between.

        Who is slow is looked for by some time-outs soon after each other; where they are many more, all of it is slow.
        """
        if is_of_some(error):
            return 0
        before = self._narrows.note_broken(walk, alone(self.chunk))
        return max(before - (_TIME_OUTS if is_too_slow(error) else 0), 0)


def _wait(failures: int) -> timedelta:
    return min(_FIRST_WAIT * (1 << min(failures, 16)), _LONGEST_WAIT)
