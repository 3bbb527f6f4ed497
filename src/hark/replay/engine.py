"""The engine on a clock that the history moves.

The statements are the engine's own: publish, fan-out, claim, recheck, mark and settle. Only the words are left out,
since nobody reads them, and what is handed over is counted instead of sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hark import preferences
from hark.audience import Recipient, put_recipients
from hark.batching import FAN_OUT_FRESH, ChunkSize
from hark.catalogue import Channel
from hark.clock import VirtualClock
from hark.delivery import claim
from hark.delivery.attempt import Sender
from hark.delivery.claim import Claimed, claim_due
from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query
from hark.replay.history import PastEvent
from hark.replay.policy import REASON, USER_TYPE, Policy
from hark.replay.recorder import Recorder, Wordless

LOOK_AHEAD = 32
"""How many events are looked at for one stretch, and so the most that one fan-out takes."""

_SQL = Queries.beside(__file__)
_STATEMENTS: Mapping[str, Query] = {
    "claim.claim_due": Queries.beside(claim.__file__)["claim_due"],
    "engine.publish": _SQL["publish"],
    "batching.fan_out": FAN_OUT_FRESH,
}

_CHANNEL = Channel.EMAIL
_WORKER = "replay"
_ADDRESS = "recipient@replay.invalid"
_LEASE = timedelta(days=1)
_AT_ONCE = 500
_TIDY_EVERY = 5_000


@dataclass(frozen=True, slots=True)
class _LastDue:
    due_at: datetime | None


@dataclass(slots=True)
class Engine:
    """One policy's engine, in a schema of its own.

    Attributes:
        recorder: counts what was handed over.
        look_ahead: the most events that go through together. It changes the speed, never the figures.
    """

    database: Database
    policy: Policy
    zone: str
    look_ahead: int
    recorder: Recorder
    _clock: VirtualClock
    _sender: Sender
    _known: set[str] = field(default_factory=set)
    _attempts: asyncio.Task[None] | None = None
    _done: int = 0

    @classmethod
    async def start(cls, database: Database, policy: Policy, zone: str, look_ahead: int = LOOK_AHEAD) -> Engine:
        """An engine whose catalogue does as the policy says."""
        catalogue = policy.catalogue()
        await preferences.install(database, catalogue)
        await database.execute(_definition())
        recorder = Recorder()
        clock = VirtualClock(datetime.min.replace(tzinfo=UTC))
        words = Wordless(catalogue, "replay.invalid")
        sender = Sender(database, _CHANNEL, recorder, words, clock, _WORKER, lease=_LEASE, send_chunk=_AT_ONCE)
        return cls(database, policy, zone, look_ahead, recorder, clock, sender)

    async def introduce(self, events: Sequence[PastEvent]) -> None:
        """Make the recipients known that come up for the first time; before `take`, for many events at once."""
        strangers = {event.recipient for event in events} - self._known
        if not strangers:
            return
        self._known |= strangers
        recipients = [Recipient(name, USER_TYPE, _ADDRESS, confirmed=True, zone=self.zone) for name in strangers]
        await put_recipients(self.database, recipients, events[0].at)

    async def take(self, events: Sequence[PastEvent]) -> None:
        """Let these events happen, each at its time, and send what was due before the last of them."""
        claimed = await self.database.fetch(_SQL["play"], Claimed, self._given(events), prepare=True)
        await self._attempt(claimed, events[-1].at)
        await self._tidy(len(events))

    async def finish(self) -> None:
        """The history is over: send what still waits."""
        last = await self.database.one(_SQL["last_due"], _LastDue, {"channel": _CHANNEL})
        while last.due_at is not None and (claimed := await self._claim(last.due_at)):
            await self._attempt(claimed, last.due_at)
        await self._attempted()

    async def close(self) -> None:
        """Leave nothing running."""
        if self._attempts is not None:
            self._attempts.cancel()
            await asyncio.gather(self._attempts, return_exceptions=True)

    def _given(self, events: Sequence[PastEvent]) -> dict[str, object]:
        return {
            "recipients": [event.recipient for event in events],
            "actors": [event.actor for event in events],
            "ats": [event.at for event in events],
            "open_for": self.policy.open_for(),
            "look_ahead": self.look_ahead,
            "reason": REASON,
            "channel": _CHANNEL,
            "zone": self.zone,
            "worker": _WORKER,
            "pairs": ChunkSize().fresh,
            "limit": _AT_ONCE,
        }

    async def _claim(self, now: datetime) -> list[Claimed]:
        return await claim_due(self.database, _CHANNEL, now, worker=_WORKER, lease=_LEASE, limit=_AT_ONCE)

    async def _attempt(self, claimed: Sequence[Claimed], at: datetime) -> None:
        """Attempt them while the history goes on: what is claimed, no event can join any more."""
        await self._attempted()
        self._clock.move_to(max(at, self._clock.now()))
        self._attempts = asyncio.create_task(self._attempt_all(claimed))

    async def _attempt_all(self, claimed: Sequence[Claimed]) -> None:
        for start in range(0, len(claimed), _AT_ONCE):
            await self._sender.attempt(claimed[start : start + _AT_ONCE])

    async def _attempted(self) -> None:
        if self._attempts is not None:
            await self._attempts

    async def _tidy(self, events: int) -> None:
        """Vacuum by the history's clock: autovacuum comes once a minute of ours, and that is months of a history."""
        before = self._done // _TIDY_EVERY
        self._done += events
        if self._done // _TIDY_EVERY > before:
            await self.database.execute(_SQL["tidy" if before else "tidy_first"])


def _definition() -> Query:
    """The function `play`, with the engine's statements in it."""
    sql = _SQL["define"].sql
    for name, statement in _STATEMENTS.items():
        sql = sql.replace(f"/*= {name} =*/", re.sub(r"%\((\w+)\)s", r"given_\1", statement.sql))
    return Query("engine.define", sql)
