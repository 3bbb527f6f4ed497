"""Products as they are known, and as the graph has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hark.history.audit import comparing, cypher
from hark.history.audit.comparing import Goods, HeldGoods
from hark.history.audit.looking import GraphReader, Look, Verdict
from hark.history.projection.changes import Ahead
from hark.history.projection.graph import NOTHING, Node
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Products:
    """Products, each with the categories that it is in."""

    database: Database
    graph: GraphReader | None
    of: str = "products"

    async def page(self, after: str, limit: int) -> list[Ahead]:
        """The next products by id."""
        return await self.database.fetch(_SQL["page"], Ahead, {"after": after, "limit": limit})

    async def look(self, ids: Sequence[str]) -> list[Look]:
        """One look at each of these products."""
        facts = await self.database.fetch(_SQL["goods"], Goods, {"products": list(ids)})
        if self.graph is None:
            return [Look(each.id, Verdict.AGREES, sizes=_known(each)) for each in facts]
        held = await self._held(ids)
        after = await self.graph.versions(Node.PRODUCT, ids)
        return [_look(each, held.get(each.id), after.get(each.id, NOTHING)) for each in facts]

    async def _held(self, ids: Sequence[str]) -> dict[str, HeldGoods]:
        assert self.graph is not None
        found: dict[str, HeldGoods] = {}
        for id_, *row in await self.graph.ask(cypher.PRODUCTS, ids=list(ids)):
            nodes = found[id_].nodes + 1 if id_ in found else 1
            version, said, name, category, hierarchy, keys, categories = row
            found[id_] = HeldGoods(version, said, name, category, hierarchy, keys, categories, nodes)
        return found


def _look(facts: Goods, held: HeldGoods | None, after: int) -> Look:
    before = NOTHING if held is None else held.version
    twins = held is not None and held.nodes > 1
    if facts.unsettled or (before != after and not twins):
        return Look(facts.id, Verdict.MOVING, sizes=_known(facts))
    found = comparing.goods(facts, held).findings
    return Look(facts.id, Verdict.DIFFERS if found else Verdict.AGREES, found, sizes=_known(facts))


def _known(each: Goods) -> dict[str, int]:
    return {
        "IN_CATEGORY": int(each.category_id is not None),
        "asked for": int(each.asked),
        "with a name": int(each.name is not None),
        "with a category": int(each.category_id is not None),
        "with a hierarchy": int(each.hierarchy is not None),
    }
