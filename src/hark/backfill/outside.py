"""What a kind does outside of any transaction: asking sources over HTTP, waiting for others.

A kind that `goes_outside` has a batch worked at between its claim and the transaction that applies it, in a task of its
own beside all else, while its lease is renewed. What that work writes it writes through `Hold.transaction`, which looks
first whether the batch is still this worker's and the run goes on: so `pause` and `cancel` mean the same for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from hark.backfill.kind import Batch, Connection
from hark.backfill.steering import Obstacle, Standing, Stepped

T = TypeVar("T")

_AGAIN_S = 0.2
BATCHES_AT_ONCE = 3
"""Of one run in one process: while one waits for its last answers, the next one asks."""


class LetGo(Exception):
    """The batch is not this worker's any more, or the run does not go on."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A batch that is being worked at.

    Attributes:
        rate: users a second that the run may begin, of all workers together; None: it says nothing of that.
        opened: opens a transaction in which it is still ours; or raises LetGo.
        renewed: renews its lease; whether it is still ours.
        period: seconds between two renewals.
    """

    run: Standing
    batch: Batch
    rate: float | None
    opened: Callable[[], AbstractAsyncContextManager[Connection]]
    renewed: Callable[[], Awaitable[bool]]
    period: float

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """To write what was done, if it may still be written.

        Raises:
            LetGo: it may not.
        """
        return self.opened()

    async def during(self, work: Awaitable[T]) -> T:
        """What a work comes to; its lease is renewed meanwhile.

        Raises:
            LetGo: it was lost, or the run was held; the work was ended.
        """
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait((task,), timeout=self.period)
                if done:
                    return task.result()
                if not await self.renewed():
                    raise LetGo
        finally:
            await _end(task)


class Outside(Protocol):
    """The part of a kind that a worker can only do with what it has: sources, brokers, a graph."""

    async def before(self, run: Standing) -> Obstacle | None:
        """What stands in the way of a run's batches. Short; waits for nothing."""
        ...

    async def work(self, hold: Hold) -> datetime | None:
        """Do for a batch what must be done before it is applied.

        Returns:
            None: it may be applied; else when to go on with it.
        """
        ...

    async def after(self, run: Standing) -> Obstacle | None:
        """What stands in the way of a run's end, once no batch is left. Short; waits for nothing."""
        ...

    async def close(self) -> None:
        """Leave off; others go on."""
        ...


@dataclass(frozen=True, slots=True)
class Crew:
    """Batches that this process works at outside of transactions, each in a task, by their run."""

    _tasks: dict[int, set[asyncio.Task[Stepped]]] = field(default_factory=dict)

    def is_full(self, run: int) -> bool:
        """Whether so many are under way that no other begins; what ended ones raised is raised here.

        Raises:
            Exception: what a batch failed with that its run does not know how to take.
        """
        ended = [task for task in self._tasks.get(run, ()) if task.done()]
        self._tasks.get(run, set()).difference_update(ended)
        for task in ended:
            if not task.cancelled():
                task.result()
        return len(self._tasks.get(run, ())) >= BATCHES_AT_ONCE

    def begin(self, run: int, work: Callable[[], Awaitable[Stepped]]) -> None:
        """Let a batch be worked at."""
        self._tasks.setdefault(run, set()).add(asyncio.ensure_future(work()))

    async def keep(self, runs: set[int]) -> None:
        """Leave off all batches but those of these runs."""
        ended = [task for run in [*self._tasks] if run not in runs for task in self._tasks.pop(run)]
        await asyncio.gather(*map(_end, ended))

    async def leave(self, run: int) -> None:
        """Leave off the batches of a run."""
        await asyncio.gather(*map(_end, self._tasks.pop(run, set())))


async def _end(task: asyncio.Future[T]) -> None:
    """Cancel until it has ended; see `hark.backfill.beside`."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()
