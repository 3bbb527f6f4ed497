"""Writes users, or all there is, anew: whatever was done to the graph by hand or by others is gone then.

Only marks are set here; the projector does the writing, here or wherever it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hark.clock import Clock
from hark.history.projection.graph import Graph, Node
from hark.history.projection.sweep import Sweep
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

CHUNK = 5_000
"""How many users or products are marked, or looked up, at once."""
NAMED = 20
"""How many of whom the graph refused are named."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many users and products that were marked were not tried yet."""

    users: int
    products: int


@dataclass(frozen=True, slots=True)
class Marked:
    """How many users and products were marked to be written anew, and how: nobody was marked so before."""

    users: int
    products: int
    mark: int


@dataclass(frozen=True, slots=True)
class Left:
    """How many users and products that were marked are not written.

    Attributes:
        refused: how many of these the graph refused, or were marked once more by somebody else.
        whom: the first of them, as "user bob".
    """

    users: int
    products: int
    refused: int
    whom: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Mark:
    mark: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    last: str | None
    marked: int


@dataclass(frozen=True, slots=True)
class _Known:
    id: str


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Marks what is to be written anew, and removes from the graph what the facts do not know."""

    database: Database
    graph: Graph
    clock: Clock

    async def make_ready(self) -> int:
        """Make one node of those that have one id, then make the graph keep it so; how many nodes were too many.

        All who had to do with them are marked to be written anew.

        Raises:
            GraphRefused: new ones are made all the while: somebody else writes there.
        """
        united = await self.graph.unite()
        await self.graph.prepare()
        if united:
            await Sweep(self.database, self.graph, self.clock).round()
        return united

    async def knows(self, user: str) -> bool:
        """Whether the facts know a user, or the graph has them: else there is nothing to write anew, or to remove."""
        known = await self.database.fetch(_SQL["known_users"], _Known, {"ids": [user]})
        return bool(known or await self.graph.versions(Node.USER, [user]))

    async def user(self, user: str) -> Marked | None:
        """Write one user anew, with the products that they bought.

        Returns:
            What was marked. None: the facts do not know them, so the graph need not either: their node is removed.
        """
        mark = await self._next_mark()
        given = {"user": user, "now": self.clock.now(), "mark": mark}
        products = await self.database.execute(_SQL["products_of_anew"], given)
        if users := await self.database.execute(_SQL["user_anew"], given):
            return Marked(users, products, mark)
        await self.graph.forget(Node.USER, [user])
        return None

    async def everything(self) -> Marked:
        """Write all anew; what was marked."""
        mark = await self._next_mark()
        return Marked(await self._anew("users_anew", mark), await self._anew("products_anew", mark), mark)

    async def forget_strangers(self) -> int:
        """Remove the users and products that the facts do not know, then stores and categories that nothing leads to.

        Also what has a name of Hark's and can be nobody's: nodes without an id, edges that begin elsewhere, and
        properties of stores and categories that Hark never wrote.

        Returns:
            How many nodes and such edges are gone.
        """
        gone = await self.graph.forget_foreign()
        gone += await self._forget(Node.USER) + await self._forget(Node.PRODUCT)
        while more := await self.graph.forget_unrelated(CHUNK):
            gone += more
        return gone

    async def waiting(self, marked: Marked) -> Waiting:
        """Of what was marked, what was not tried yet; whatever comes in meanwhile does not count."""
        return await self.database.one(_SQL["waiting"], Waiting, {"mark": marked.mark})

    async def left(self, marked: Marked, user: str | None = None) -> Left:
        """Of what was marked (of one user, with their products, or of all), what is not written."""
        return await self.database.one(_SQL["left"], Left, {"mark": marked.mark, "user": user, "limit": NAMED})

    async def _next_mark(self) -> int:
        return (await self.database.one(_SQL["next_mark"], _Mark)).mark

    async def _anew(self, name: str, mark: int) -> int:
        """Mark chunk by chunk; how many were marked."""
        marked, after = 0, ""
        while True:
            given = {"after": after, "limit": CHUNK, "now": self.clock.now(), "mark": mark}
            chunk = await self.database.one(_SQL[name], _Chunk, given)
            if chunk.last is None:
                return marked
            marked, after = marked + chunk.marked, chunk.last

    async def _forget(self, node: Node) -> int:
        gone, after = 0, ""
        while ids := await self.graph.page(node, after, CHUNK):
            known = await self.database.fetch(_SQL[f"known_{node.lower()}s"], _Known, {"ids": ids})
            strangers = sorted(set(ids) - {each.id for each in known})
            await self.graph.forget(node, strangers)
            gone, after = gone + len(strangers), ids[-1]
        return gone
