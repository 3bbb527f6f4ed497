"""A batch of a load whose steps are driven through a queue: what is to be done is hinted at, and what is hinted, done.

Whoever holds a batch hints at its steps, and works at whatever hints of its run the queue hands out, also those of
batches that others hold; so all workers share all steps. A step that nothing came of for a while is hinted at again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.clock import Clock
from hark.history.fact import Kind
from hark.history.loading import steps
from hark.history.loading.loader import Loader
from hark.history.loading.queue import LISTENERS, Hint, Received, StepQueue
from hark.history.loading.steps import Step
from hark.logs import Log
from hark.postgres.database import Database

_log = Log(__name__)

AGAIN = timedelta(seconds=60)
"""After so long without anything having come of it, a step is hinted at again: its message may be lost."""
_OTHERS_S = 2
_STRANGERS_S = 300
"""A message of another run, or of nobody's, is left for so many seconds."""


@dataclass(slots=True)
class Driven:
    """One batch of a run, driven through a queue."""

    database: Database
    clock: Clock
    run: int
    queue: StepQueue
    loader: Loader
    _hinted: dict[tuple[str, Kind], tuple[int, datetime]] = field(default_factory=dict, repr=False)

    async def load(self, users: Sequence[str]) -> None:
        """Until no step of these users is due.

        Raises:
            QueueAway, QueueRefused: the queue does not answer, or not any more.
            Whatever `Loader.load` raises; what was recorded by then stays, and what was received comes again.
        """
        while wanted := await steps.due(self.database, self.run, users, self.clock.now()):
            await self._hint(wanted)
            some = await asyncio.gather(*(self.queue.receive() for _ in range(LISTENERS)))
            await self._work([each for received in some for each in received])

    async def _hint(self, wanted: Sequence[Step]) -> None:
        """A step that failed meanwhile, or of which nothing was heard, is hinted at again."""
        now = self.clock.now()
        never = (-1, now - AGAIN)
        late = [
            each
            for each in wanted
            for attempts, at in (self._hinted.get((each.user_id, each.kind), never),)
            if attempts != each.attempts or at <= now - AGAIN
        ]
        await self.queue.send([Hint(self.run, each.user_id, each.kind) for each in late])
        self._hinted.update({(each.user_id, each.kind): (each.attempts, now) for each in late})

    async def _work(self, received: Sequence[Received]) -> None:
        """Do what is to be done; whose step is not, any more or now, is not needed."""
        by_hint: dict[Hint, list[Received]] = defaultdict(list)
        strangers = [each for each in received if each.hint is None]
        for each in received:
            if each.hint is not None:
                by_hint[each.hint].append(each)
        due = await steps.hinted(self.database, [*by_hint], self.clock.now())
        if mine := [step for hint, step in due.items() if hint.run == self.run]:
            await self.loader.load(mine)
        others = [each for hint in due if hint.run != self.run for each in by_hint[hint]]
        left = {each.receipt for each in (*others, *strangers)}
        await self.queue.delete([each for each in received if each.receipt not in left])
        await self.queue.leave(others, _OTHERS_S)
        await self._leave_strangers(strangers)

    async def _leave_strangers(self, strangers: Sequence[Received]) -> None:
        if strangers:
            _log.warning("queue_has_strangers", backfill=self.run, messages=len(strangers))
            await self.queue.leave(strangers, _STRANGERS_S)
