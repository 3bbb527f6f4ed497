"""What a worker does beside its other steps: it reads the lists of backfills, each in a task, a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hark.backfill.steering import Stepped

AT_ONCE = 2
"""Lists that a process reads at once; each holds two connections meanwhile."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Steps under way, by the backfill that they are of."""

    _tasks: dict[int, asyncio.Task[Stepped]] = field(default_factory=dict)

    def look(self, backfill: int, step: Callable[[], Coroutine[Any, Any, Stepped]]) -> Stepped | None:
        """What its step came to, once; None: it goes on, begins just now, or waits for others to end.

        Raises:
            Exception: what the step raised.
        """
        task = self._tasks.get(backfill)
        if task is None and len(self._tasks) < AT_ONCE:
            self._tasks[backfill] = asyncio.create_task(step())
        if task is None or not task.done():
            return None
        return self._tasks.pop(backfill).result()

    async def keep(self, backfills: set[int]) -> None:
        """Go on with the steps of these, and end all others: of backfills that were called off, for instance."""
        ended = [self._tasks.pop(backfill) for backfill in [*self._tasks] if backfill not in backfills]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
