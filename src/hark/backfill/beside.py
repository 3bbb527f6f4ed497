"""What a worker does beside its other steps: it reads the lists of backfills, each in a task, a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hark.backfill.steering import Stepped

_AGAIN_S = 0.2
AT_ONCE = 2
"""Cohorts whose files a process reads at once; each holds two connections meanwhile, and may hang."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Steps under way, by the backfill that they are of."""

    _tasks: dict[int, asyncio.Task[Stepped]] = field(default_factory=dict)
    _reading: set[int] = field(default_factory=set)

    def look(
        self, backfill: int, step: Callable[[], Coroutine[Any, Any, Stepped]], *, reads_files: bool
    ) -> Stepped | None:
        """What its step came to, once; None: it goes on, begins just now, or waits for others to end.

        Args:
            reads_files: whether it may wait for a store, so that only a few go on at once; others need no turn.

        Raises:
            Exception: what the step raised.
        """
        task = self._tasks.get(backfill)
        if task is None and self._may_begin(backfill, reads_files):
            self._tasks[backfill] = asyncio.create_task(step())
        if task is None or not task.done():
            return None
        self._reading.discard(backfill)
        return self._tasks.pop(backfill).result()

    def is_at(self, backfill: int) -> bool:
        """Whether a step of this one is under way."""
        return backfill in self._tasks

    def _may_begin(self, backfill: int, reads_files: bool) -> bool:
        if not reads_files:
            return True
        if len(self._reading) >= AT_ONCE:
            return False
        self._reading.add(backfill)
        return True

    async def keep(self, backfills: set[int]) -> None:
        """Go on with the steps of these, and end all others: of backfills that were called off, for instance."""
        ended = [self._tasks.pop(backfill) for backfill in [*self._tasks] if backfill not in backfills]
        self._reading.intersection_update(backfills)
        await asyncio.gather(*map(_end, ended))


async def _end(task: asyncio.Task[Stepped]) -> None:
    """Cancel until it has ended: `asyncio.wait_for`, which the pool waits with, loses a cancellation that comes as what
    it waits for does (Python before 3.12)."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()
