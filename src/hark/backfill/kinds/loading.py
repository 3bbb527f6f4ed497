"""What a load does outside of transactions: the kind `history`, for a worker that has sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hark.backfill.kind import Connection
from hark.backfill.kinds.history import HISTORY, HistoryRequest, members_of, page_of
from hark.backfill.outside import Hold, LetGo
from hark.backfill.steering import Obstacle, Standing
from hark.backfill.throttle import Why
from hark.clock import Clock
from hark.config import Settings
from hark.durations import Rate
from hark.guarded.client import Guarded
from hark.history.loading import steps
from hark.history.loading.course import Course, Run, Stage, Wait
from hark.history.loading.driven import Driven
from hark.history.loading.loader import Loader
from hark.history.loading.queue import QueueAway, QueueRefused, StepQueue, open_queue
from hark.history.loading.seams import Audit, NoStream, Stream
from hark.history.sources.reach import Sources
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)

_WHYS = {
    Stage.SEGMENT: Why.FLAG,
    Stage.EFFECTIVE: Why.FLAG,
    Stage.STREAM: Why.STREAM,
    Stage.GRAPH: Why.GRAPH,
    Stage.AUDIT: Why.AUDIT,
    Stage.TAKE_OUT: Why.FLAG,
}
_SECOND = timedelta(seconds=1)
_QUEUE_WAIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Asked:
    request: dict[str, Any]
    undoes: int | None


@dataclass(slots=True)
class Loading:
    """`hark.backfill.outside.Outside` of loads."""

    database: Database
    clock: Clock
    settings: Settings
    client: Guarded
    who: str
    stream: Stream = field(default_factory=NoStream)
    audit: Audit | None = None
    _queues: dict[str, StepQueue] = field(default_factory=dict, init=False, repr=False)
    _sources: dict[int, Sources] = field(default_factory=dict, init=False, repr=False)
    _course: Course = field(init=False, repr=False)

    def __post_init__(self) -> None:
        graph = self.settings.graph_url is not None
        self._course = Course(self.database, self.clock, self.who, graph, self.stream, self.audit)

    async def before(self, run: Standing) -> Obstacle | None:
        """See `Outside.before`."""
        return _obstacle(await self._course.before(await self._run(run.id)))

    async def work(self, hold: Hold) -> datetime | None:
        """See `Outside.work`: of a load, its steps; an undo has none."""
        asked = await self._asked(hold.run.id)
        if asked.undoes is not None:
            return None
        request = HistoryRequest.from_json(asked.request)
        into = partial(self._into, hold, request.flag)
        run, now = hold.run.id, self.clock.now()
        users = await members_of(self.database, hold.batch)
        out = await self._course.outside(request.flag, users)
        async with into() as connection:
            await steps.begin(connection, run, users, now, again=hold.batch.only is not None)
            await steps.leave(connection, run, out, f"{request.flag} lets them in no more; let them in, and retry")
        if wanted := await steps.due(self.database, run, users, now):
            since = datetime.fromisoformat(request.since)
            loader = Loader(self._at(hold.rate), self.clock, run, since, into, corrects=request.force)
            if request.queue_url is None:
                await loader.load(wanted)
            elif not await self._drive(request.queue_url, run, users, loader):
                return self.clock.now() + _QUEUE_WAIT
        return (await steps.waiting(self.database, run, users)).at

    @asynccontextmanager
    async def _into(self, hold: Hold, flag: str | None) -> AsyncIterator[Connection]:
        """A transaction to write in what was loaded, while the flag is on.

        Raises:
            LetGo: it was off since, or the batch is not ours any more.
        """
        async with hold.transaction() as connection:
            if not await self._course.is_on(connection, hold.run.id, flag):
                raise LetGo
            yield connection

    async def _drive(self, url: str, run: int, users: Sequence[str], loader: Loader) -> bool:
        """Load by a queue; False: it does not answer, which is held against no step, nor the batch."""
        try:
            if url not in self._queues:
                self._queues[url] = await asyncio.to_thread(open_queue, url)
            await Driven(self.database, self.clock, run, self._queues[url], loader).load(users)
        except (QueueAway, QueueRefused) as error:
            _log.warning("queue_away", backfill=run, error=str(error))
            return False
        return True

    async def after(self, run: Standing) -> Obstacle | None:
        """See `Outside.after`."""
        return _obstacle(await self._course.after(await self._run(run.id)))

    async def close(self) -> None:
        """See `Outside.close`."""
        await self._course.close()
        for queue in self._queues.values():
            queue.close()

    async def _asked(self, run: int) -> _Asked:
        return await self.database.one(_SQL["asked"], _Asked, {"backfill": run})

    async def _run(self, run: int) -> Run:
        asked = await self._asked(run)
        request = HistoryRequest.from_json(asked.request)
        return Run(run, request.flag, request.enrolled, asked.undoes, partial(page_of, self.database, run))

    def _at(self, rate: float | None) -> Sources:
        """The sources at a run's rate, and never faster than the settings say: one for each rate there is."""
        setting = self.settings.source_rate
        allowed = setting.count / setting.per.total_seconds()
        each = max(1, int(rate or allowed))
        if each >= allowed:
            each = 0
        if each not in self._sources:
            paced = Rate(each, _SECOND) if each else None
            self._sources[each] = Sources(self.settings, self.database, self.clock, self.client, paced)
        return self._sources[each]


def _obstacle(wait: Wait | None) -> Obstacle | None:
    return None if wait is None else Obstacle(_WHYS.get(wait.stage, Why.RETRY), wait.until)


KIND = HISTORY.name
"""The kind that this is of."""
