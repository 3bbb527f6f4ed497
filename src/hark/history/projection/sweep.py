"""Compares the versions that the graph holds with those that are marked as projected, page by page, all the time.

A graph can be restored from a backup at any moment, also between a write and its mark: no order of writing and marking
could tell. So the graph itself is asked, in bulk; where it holds another version than the mark says, the mark is made
to say so, and the projector does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hark.clock import Clock
from hark.history.projection.changes import ANEW, PRODUCTS, USERS, Subject
from hark.history.projection.graph import NOTHING, Graph
from hark.history.projection.projector import overtake
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one page showed: how many were compared, how many of them the graph holds otherwise than marked.

    `ended`: it was the last page; the next one is the first again.
    """

    compared: int
    astray: int
    ended: bool


@dataclass(frozen=True, slots=True)
class _Marked:
    id: str
    version: int
    marked: int


@dataclass(slots=True)
class Sweep:
    """A walk over all users and products, without end; where it stands is nobody's but its own."""

    database: Database
    graph: Graph
    clock: Clock
    page: int = 5_000
    _subject: Subject = field(default=USERS, repr=False)
    _after: str = field(default="", repr=False)

    async def step(self) -> Swept:
        """Compare the next page, products after users.

        Raises:
            Unreachable: the graph or the database is away.
        """
        subject = self._subject
        name = f"{subject.node.lower()}s"
        marked = await self.database.fetch(_SQL[name], _Marked, {"after": self._after, "limit": self.page})
        astray = await self._compare(subject, name, marked)
        last_page = len(marked) < self.page
        self._after = "" if last_page else marked[-1].id
        if last_page:
            self._subject = USERS if subject is PRODUCTS else PRODUCTS
        return Swept(len(marked), astray, ended=last_page and subject is PRODUCTS)

    async def round(self) -> Swept:
        """Compare all, from the beginning."""
        self._subject, self._after = USERS, ""
        compared = astray = 0
        while True:
            swept = await self.step()
            compared, astray = compared + swept.compared, astray + swept.astray
            if swept.ended:
                return Swept(compared, astray, ended=True)

    async def _compare(self, subject: Subject, name: str, marked: Sequence[_Marked]) -> int:
        """The marks are read before the graph is asked, and set only if they still are what was read."""
        held = await self.graph.versions(subject.node, [each.id for each in marked])
        # What is to be written anew is already known to be wrong.
        astray = [each for each in marked if each.marked > ANEW and each.marked != held.get(each.id, NOTHING)]
        if not astray:
            return 0
        passed = {each.id: held[each.id] for each in astray if held.get(each.id, NOTHING) > each.version}
        given = {
            "ids": [each.id for each in astray],
            "marked": [each.marked for each in astray],
            "held": [held.get(each.id, NOTHING) for each in astray],
            "now": self.clock.now(),
        }
        await self.database.execute(_SQL[f"agree_{name}"], given)
        wrong = [each.id for each in astray if held.get(each.id, NOTHING) < each.marked]
        if passed:
            wrong += [*await overtake(self.database, subject, passed, self.clock.now())]
        if wrong:  # Where the graph is ahead of the mark alone, a projector is about to mark what it wrote.
            _log.warning("graph_astray", of=name, compared=len(marked), astray=len(wrong), first=wrong[0])
        return len(astray)
