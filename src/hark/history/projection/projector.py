"""Brings the graph up to the facts: a chunk function for a loop, one projector at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hark.clock import Clock
from hark.errors import GraphDeadlock, GraphRefused
from hark.history.projection.changes import PRODUCTS, USERS, Ahead, Subject, asked, slices
from hark.history.projection.graph import NOTHING, Graph
from hark.history.projection.lease import Lease
from hark.history.projection.sending import Changes
from hark.logs import Log
from hark.postgres.database import Database

_log = Log(__name__)

COUNTED = 10_000
"""How far a user's changes are counted: a user with more has a transaction alone, however many."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Overtaken:
    id: str
    marked: int


@dataclass(slots=True)
class Stepped:
    """What one step did.

    Attributes:
        users, products: how many were written.
        lines: how many purchases of theirs.
        beaten: somebody else had written them meanwhile, or the graph was restored; they are looked at again.
        refused: the graph will not have them as they are; the log says why.
        next_at: when to look again, if not as usual: another projector has the lease until then.
    """

    users: int = 0
    products: int = 0
    lines: int = 0
    beaten: int = 0
    refused: int = 0
    next_at: datetime | None = None

    @property
    def more(self) -> bool:
        """Whether something was written, so that there may be more at once."""
        return self.users + self.products > 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much at once: nodes and lines a transaction, transactions a step, and transactions under way."""

    nodes: int = 200
    lines: int = 5_000
    transactions: int = 32
    at_once: int = 2


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Changes of one transaction, of whom, and how the versions of each were marked."""

    subject: Subject
    ahead: Sequence[Ahead]
    changes: Changes
    marked: dict[str, int]


@dataclass(frozen=True, slots=True)
class Projector:
    """Projects whoever is ahead of the graph.

    A step reads who that is, then for a few hundred at a time: which versions the graph holds, what changed since, one
    write that holds only if those are still the versions, and the mark. While two transactions are written, the next
    one is read. No transaction is open here while the graph is called.

    Attributes:
        holder: this process, as people know it.
        lease: how long its right to project holds when it stands still.
    """

    database: Database
    graph: Graph
    clock: Clock
    holder: str
    lease: timedelta = timedelta(seconds=30)
    sizes: Sizes = Sizes()
    _right: Lease = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_right", Lease(self.database, self.clock, self.holder, self.lease))

    async def step(self) -> Stepped:
        """Project some of who is ahead; products first, for users lead to them.

        Raises:
            Unreachable: the graph or the database is away.
        """
        done = Stepped()
        if not await self._right.take():
            done.next_at = (await self._right.current()).lease_until
            return done
        for subject in (PRODUCTS, USERS):
            await self._project(subject, done)
        return done

    async def leads(self) -> bool:
        """Whether this process is the one that projects."""
        return await self._right.take()

    async def leave(self) -> None:
        """Let another one go on at once."""
        await self._right.leave()

    async def _project(self, subject: Subject, done: Stepped) -> None:
        ahead = await self._ahead(subject)
        writing: deque[asyncio.Task[None]] = deque()
        try:
            for cut in slices(ahead, self.sizes.nodes, self.sizes.lines):
                if not await self._right.take():
                    break
                prepared = await self._prepare(subject, cut)
                if len(writing) == self.sizes.at_once:
                    await writing.popleft()
                writing.append(_started(self._write(prepared, done)))
            while writing:
                await writing.popleft()
        finally:
            await _stopped(writing)

    async def _ahead(self, subject: Subject) -> list[Ahead]:
        given = {"limit": self.sizes.nodes * self.sizes.transactions, "cap": COUNTED}
        return await self.database.fetch(subject.ahead, Ahead, given)

    async def _prepare(self, subject: Subject, ahead: Sequence[Ahead]) -> _Prepared:
        held = await self.graph.versions(subject.node, [each.id for each in ahead])
        marked = {each.id: each.marked for each in ahead}
        if passed := {each.id: held[each.id] for each in ahead if held.get(each.id, NOTHING) > each.version}:
            marked |= await overtake(self.database, subject, passed, self.clock.now())
        return _Prepared(subject, ahead, await subject.changes(self.database, asked(ahead, held)), marked)

    async def _write(self, prepared: _Prepared, done: Stepped) -> None:
        """Write, and mark what was written; what the graph refuses is found by halves, and keeps nobody else."""
        try:
            written = await self._sent(prepared)
        except GraphRefused as refusal:
            await self._halved(prepared, refusal, done)
            return
        await self._mark(prepared, written, done)

    async def _halved(self, prepared: _Prepared, refusal: GraphRefused, done: Stepped) -> None:
        ahead = prepared.ahead
        if len(ahead) == 1:
            await self._put_back(prepared.subject, ahead[0], refusal, done)
            return
        for half in (ahead[: len(ahead) // 2], ahead[len(ahead) // 2 :]):
            await self._write(await self._prepare(prepared.subject, half), done)

    async def _sent(self, prepared: _Prepared) -> set[str]:
        """Whom the graph wrote; sent again where it waited for the other transaction under way, and that one for it."""
        for _ in range(_TRIES - 1):
            with suppress(GraphDeadlock):
                return await self.graph.write(prepared.subject.node, prepared.changes)
        return await self.graph.write(prepared.subject.node, prepared.changes)

    async def _mark(self, prepared: _Prepared, written: Collection[str], done: Stepped) -> None:
        changes = prepared.changes
        versions = {
            each: version for each, version in zip(changes.ids, changes.versions, strict=True) if each in written
        }
        given = {
            "ids": list(versions),
            "marked": [prepared.marked[each] for each in versions],
            "versions": list(versions.values()),
        }
        await self.database.execute(prepared.subject.mark, given)
        if prepared.subject is USERS:
            done.users += len(versions)
        else:
            done.products += len(versions)
        done.lines += changes.lines_of(versions)
        done.beaten += len(changes.ids) - len(versions)

    async def _put_back(self, subject: Subject, ahead: Ahead, refusal: GraphRefused, done: Stepped) -> None:
        _log.error("graph_refused", id=ahead.id, version=ahead.version, error=str(refusal))
        await self.database.execute(subject.put_back, {"id": ahead.id, "now": self.clock.now()})
        done.refused += 1


async def overtake(database: Database, subject: Subject, held: dict[str, int], now: datetime) -> dict[str, int]:
    """Move on past the graph what is behind it: a database restored from a backup must not wait to catch up.

    Returns:
        Who was behind it, and how each is marked now.
    """
    given = {"ids": list(held), "versions": list(held.values()), "now": now}
    return {each.id: each.marked for each in await database.fetch(subject.overtake, _Overtaken, given)}


def _started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)


async def _stopped(work: Collection[asyncio.Task[None]]) -> None:
    """End what is still under way: whether it was done, versions tell."""
    for each in work:
        each.cancel()
    await asyncio.gather(*work, return_exceptions=True)
