"""How many may go in a while: this worker's rate, the rate that all workers share, and the cap of each recipient."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from hark.catalogue import Channel
from hark.clock import Clock
from hark.delivery.cap import Cap
from hark.delivery.claim import Claimed, next_free
from hark.delivery.gcra import LONG_AGO, Gcra
from hark.postgres.database import Database


@dataclass(slots=True)
class OwnRate:
    """The rate of this process, shared by its senders: they claim one after the other."""

    gcra: Gcra
    clock: Clock
    tat: datetime = LONG_AGO
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def claim(self, claim: Callable[[int], Awaitable[list[Claimed]]], limit: int) -> list[Claimed]:
        """Claim up to `limit` of what may go; only what was claimed is counted."""
        async with self.turn:
            now = self.clock.now()
            may = min(self.gcra.free(self.tat, now), limit)
            claimed = await claim(may) if may else []
            if claimed:
                self.tat = self.gcra.after(self.tat, now, len(claimed))
            return claimed

    def next_free(self) -> datetime:
        """From when on at least one may go."""
        return self.gcra.next_free(self.tat)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sender keeps to; None: no such limit, and nothing is paid for it.

    Attributes:
        own: attempts of this process.
        shared: attempts of all workers of the database, by channel.
        cap: messages to one recipient, by channel.
    """

    own: OwnRate | None = None
    shared: Gcra | None = None
    cap: Cap | None = None

    async def next_free(self, database: Database, channel: Channel) -> datetime:
        """From when on the rates let at least one go."""
        own = self.own.next_free() if self.own else LONG_AGO
        return max(own, await next_free(database, channel, self.shared)) if self.shared else own
