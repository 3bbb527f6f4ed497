"""What keeps purchases and their graph up to date, as chunk functions for loops of a worker.

window    rolls on once a day, and moves on whose purchases left it
spread    moves on who bought a product that came into another category
enrich    asks what products are called, and where they stand  (only with a source that knows)
project   brings the graph up to the facts        (only with a graph)
sweep     finds where the graph is not as marked  (only with a graph, and only beside the projector)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hark.clock import Clock
from hark.config import Settings
from hark.errors import NotNow, SourceFailed
from hark.guarded.client import Guarded
from hark.history import products, window
from hark.history.projection import Projector, Sweep
from hark.history.projection.projector import Sizes
from hark.history.sources.enrich import enrich
from hark.history.sources.reach import Sources
from hark.postgres.database import Database

USERS_AT_ONCE = 500
"""How many users are moved on in one transaction."""

_WINDOW_PERIOD = timedelta(minutes=1)
_BETWEEN_PAGES = timedelta(milliseconds=200)
_BETWEEN_ROUNDS = timedelta(seconds=10)
_AFTER_A_FAULT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Tended:
    """What one chunk says: whether there is more at once, and else when to look again (None: as usual)."""

    more: bool
    next_at: datetime | None = None


Chunk = Callable[[], Awaitable[Tended]]


@dataclass(frozen=True, slots=True)
class Graphed:
    """A graph that is kept up to date: by whom, and by whom it is compared."""

    projector: Projector
    sweep: Sweep


@dataclass(slots=True)
class Tender:
    """Tends what people bought in one process; any number of them share the work.

    Attributes:
        look_back: how far back purchases count.
        graph: None: there is none, and Postgres answers.
        sources: who knows products and categories; None: nobody.
    """

    database: Database
    clock: Clock
    look_back: timedelta = window.LOOK_BACK
    graph: Graphed | None = None
    sources: Sources | None = None
    _enrich_at: datetime | None = field(default=None, repr=False)
    _roll_at: datetime | None = field(default=None, repr=False)
    _sweep_at: datetime | None = field(default=None, repr=False)

    def chunks(self) -> Mapping[str, Chunk]:
        """The chunk functions by their loops' names."""
        chunks: dict[str, Chunk] = {"window": self.roll, "spread": self.spread}
        if self.sources is not None:
            chunks["enrich"] = self.enrich
        return chunks if self.graph is None else {**chunks, "project": self.project, "sweep": self.compare}

    async def roll(self) -> Tended:
        """Move the window on, and the next users whose purchases left it."""
        now = self.clock.now()
        if self._roll_at is not None and now < self._roll_at:
            return Tended(more=False)
        rolled = await window.roll(self.database, now=now, look_back=self.look_back, limit=USERS_AT_ONCE)
        self._roll_at = None if rolled.more else now + _WINDOW_PERIOD
        return Tended(rolled.more)

    async def spread(self) -> Tended:
        """Move on the next buyers of a product that came into another category."""
        spread = await products.spread(self.database, now=self.clock.now(), limit=USERS_AT_ONCE)
        return Tended(spread.more)

    async def enrich(self) -> Tended:
        """Ask about the next products and categories of which nobody has asked yet.

        Raises:
            SourceFailed: an answer is not what it should be; it is asked again a while later.
        """
        assert self.sources is not None
        now = self.clock.now()
        if self._enrich_at is not None and now < self._enrich_at:
            return Tended(more=False, next_at=self._enrich_at)
        try:
            done = await enrich(self.database, self.sources, self.clock)
        except NotNow as error:
            self._enrich_at = error.at
            return Tended(more=False, next_at=error.at)
        except SourceFailed:
            self._enrich_at = now + _AFTER_A_FAULT
            raise
        return Tended(done.more)

    async def project(self) -> Tended:
        """Bring the graph further up to the facts."""
        assert self.graph is not None
        done = await self.graph.projector.step()
        return Tended(done.more, done.next_at)

    async def compare(self) -> Tended:
        """Compare the next page of the graph with its marks, where this process is the one that projects."""
        assert self.graph is not None
        now = self.clock.now()
        if self._sweep_at is not None and now < self._sweep_at:
            return Tended(more=False, next_at=self._sweep_at)
        if not await self.graph.projector.leads():
            return Tended(more=False)
        swept = await self.graph.sweep.step()
        self._sweep_at = now + (_BETWEEN_ROUNDS if swept.ended else _BETWEEN_PAGES)
        return Tended(more=False, next_at=self._sweep_at)


@asynccontextmanager
async def open_tender(database: Database, settings: Settings, clock: Clock, holder: str) -> AsyncIterator[Tender]:
    """What tends purchases as the settings want it, for the time of a block.

    Args:
        holder: this process, as people know it.

    Raises:
        BadInput: a graph is set, and its driver is not installed.
    """
    tender = Tender(database, clock, settings.history_look_back)
    async with AsyncExitStack() as opened:
        if settings.product_url is not None or settings.category_url is not None:
            client = Guarded(settings.http_allow_private)
            opened.push_async_callback(client.close)
            tender.sources = Sources(settings, database, clock, client)
        if settings.graph_url is not None:
            from hark.history.projection.neo4j_graph import open_graph

            graph = await opened.enter_async_context(open_graph(settings.graph_url, patience=settings.graph_timeout))
            sizes = Sizes(nodes=settings.graph_chunk)
            projector = Projector(database, graph, clock, holder, settings.lease, sizes)
            tender.graph = Graphed(projector, Sweep(database, graph, clock))
            opened.push_async_callback(_leave, projector)
        yield tender


async def _leave(projector: Projector) -> None:
    """Let another process go on at once; if that cannot be said now, the lease runs out by itself."""
    with suppress(Exception):
        await projector.leave()
