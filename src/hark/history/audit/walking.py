"""Walks over all users, or products, page by page, and looks again at what did not agree.

Constant memory, however many there are: one page, and those to be looked at again, of whom there are never more than
`AGAIN`. Under live load a first look often sees one side before and the other after a change. So what differs is only
believed when two looks on end show the very same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from hark.history.audit.looking import Look, Side, Verdict
from hark.history.audit.report import Example, Findings, Name
from hark.history.projection.changes import slices

AGAIN = 2_000
PAGE = 2_000
NODES, LINES = 250, 20_000
"""How many users, and about how many of their purchases, are looked at at once."""

LATE = timedelta(minutes=5)
"""For how long somebody may be ahead of the graph before it is worth a warning."""

_LOOKS = 6
PAUSE_S = 1.0

Pause = Callable[[], Awaitable[None]]


async def usual_pause() -> None:
    """A second: in which a projector follows."""
    await asyncio.sleep(PAUSE_S)


@dataclass(slots=True)
class Walk:
    """One walk over one side.

    Attributes:
        pause: waits before those are looked at again that did not agree.
        looks: how often, at most.
        seen: is told which ids were looked at, a chunk at a time; for what else is to be known of them.
    """

    side: Side
    findings: Findings
    now: datetime
    pause: Pause = usual_pause
    looks: int = _LOOKS
    seen: Callable[[Sequence[str]], Awaitable[None]] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    _again: dict[str, Look] = field(default_factory=dict, repr=False)

    async def all(self) -> None:
        """Walk to the end."""
        after = ""
        while page := await self.side.page(after, PAGE):
            for cut in slices(page, NODES, LINES):
                await self._first([each.id for each in cut])
            after = page[-1].id
        await self._settle()

    async def some(self, ids: Sequence[str]) -> None:
        """Look at these alone."""
        await self._first(ids)
        await self._settle()

    async def _first(self, ids: Sequence[str]) -> None:
        if self.seen is not None:
            await self.seen(ids)
        for look in await self.side.look(ids):
            self.findings.looked_at(self.side.of)
            if look.verdict is Verdict.AGREES:
                self._agreed(look)
            else:
                self._again[look.id] = look
        if len(self._again) >= AGAIN:
            await self._settle()

    async def _settle(self) -> None:
        """Look again until it is known what each is, and at most so often."""
        for _ in range(self.looks):
            if not self._again:
                return
            await self.pause()
            for ids in _chunks(self._again, NODES):
                for look in await self.side.look(ids):
                    self._looked_again(look)
        for look in self._again.values():
            self._left_moving(look)
        self._again.clear()

    def _looked_again(self, look: Look) -> None:
        before = self._again[look.id]
        if look.verdict is Verdict.AGREES:
            self._agreed(look)
        elif look.verdict is before.verdict is Verdict.DIFFERS and set(look.findings) == set(before.findings):
            self._told(look)
            self.findings.found([*look.findings, *look.own])
        else:
            self._again[look.id] = look
            return
        del self._again[look.id]

    def _agreed(self, look: Look) -> None:
        self._told(look)
        if look.own:
            self.findings.found(look.own)

    def _left_moving(self, look: Look) -> None:
        """Never seen of one moment: no fault, unless the graph is behind for long."""
        self._told(look)
        self.moved += 1
        if look.own:
            self.findings.found(look.own)
        if look.since is not None and look.since < self.now - LATE:
            late = Example(look.id, f"is ahead of the graph since {look.since.isoformat()}")
            self.findings.count(Name.WAITING, 1, [late])

    def _told(self, look: Look) -> None:
        for name, many in look.sizes.items():
            self.sizes[name] = self.sizes.get(name, 0) + many


def _chunks(ids: dict[str, Look], size: int) -> Iterator[list[str]]:
    each = iter(list(ids))
    while chunk := list(islice(each, size)):
        yield chunk
