"""What only a look at the graph as a whole shows: strangers, orphans, other kinds of things, missing constraints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from hark.history.audit import cypher
from hark.history.audit.cypher import Counted
from hark.history.audit.looking import GraphReader
from hark.history.audit.report import Example, Finding, Findings, Name
from hark.history.projection.cypher import UNIQUE
from hark.history.projection.uniting import OWN
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

EDGES = ("PURCHASED", "SHOPS_IN", "SHOPS_AT", "IN_CATEGORY")
_NAMED_BY_FACTS = ("User", "Product")
_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    nodes: int
    edges: int


@dataclass(frozen=True, slots=True)
class _Id:
    id: str


@dataclass(frozen=True, slots=True)
class Whole:
    """The graph as a whole."""

    database: Database
    graph: GraphReader
    findings: Findings

    async def look(self) -> dict[str, int]:
        """Look at all of it; totals by label and type."""
        totals = await self._totals()
        unique = await self._constraints()
        for label in UNIQUE:
            async for nodes in self._pages(label, unique=label in unique):
                self.findings.looked_at("nodes", len(nodes))
                self._twins(label, nodes)
                await self._known(label, nodes)
        await self._foreign()
        return totals

    async def _totals(self) -> dict[str, int]:
        """Of what Hark writes; what it never wrote is found."""
        there = await self.graph.ask(cypher.KINDS)
        labels = {*UNIQUE, *(name for what, name in there if what == "node")}
        kinds = {*EDGES, *(name for what, name in there if what == "edge")}
        totals: dict[str, int] = {}
        for what, name, many in await self.graph.ask(cypher.totals(sorted(labels), sorted(kinds))):
            if name in (UNIQUE if what == "node" else EDGES):
                totals[name] = many
            elif many:
                shown = f":{name}" if what == "node" else f"-[:{name}]-"
                cause = f"{many:,} of them, which Hark never wrote"
                self.findings.count(Name.FOREIGN_KIND, 1, [Example(shown, cause)])
        return totals

    async def _constraints(self) -> set[str]:
        """The labels whose nodes cannot have twins."""
        there = {(row[0], row[1]) for row in await self.graph.ask(cypher.CONSTRAINTS)}
        self.findings.looked_at("constraints", len(UNIQUE))
        missing = [label for label, key in UNIQUE.items() if (label, key) not in there]
        self.findings.count(
            Name.CONSTRAINTS, len(missing), [Example(each, "nothing keeps its nodes unique") for each in missing]
        )
        return set(UNIQUE) - set(missing)

    async def _pages(self, label: str, *, unique: bool) -> AsyncIterator[list[_Node]]:
        """All nodes of a label by id."""
        after, asked = "", cypher.page(label, unique=unique)
        while nodes := [_Node(*row) for row in await self.graph.ask(asked, after=after, limit=_PAGE)]:
            yield nodes
            after = nodes[-1].id

    async def _foreign(self) -> None:
        """What has a name of Hark's, and can be nobody's."""
        for label, key in UNIQUE.items():
            await self._counted(Name.STRANGER, cypher.nameless(label), f"a {label} whose {key} is no id: {{}}")
        for edge in EDGES:
            cause = f"{edge}: it begins at a node of {{}}, where Hark leads none"
            await self._counted(Name.EXTRA_EDGE, cypher.foreign_edges(edge), cause)
        for label in OWN:
            await self._foreign_properties(label)

    async def _counted(self, check: Name, of: Counted, cause: str) -> None:
        ((many,),) = await self.graph.ask(of.count)
        if many:
            some = [(_shown(what), named) for what, *named in await self.graph.ask(of.some)]
            examples = [Example(_id_of(named) or each, cause.format(each)) for each, named in some]
            self.findings.count(check, many, examples)

    async def _foreign_properties(self, label: str) -> None:
        of = cypher.foreign_properties(label)
        ((many,),) = await self.graph.ask(of.count)
        if many:
            some = [(id_, ", ".join(sorted(more))[:80]) for id_, more in await self.graph.ask(of.some)]
            examples = [Example(id_, f"a {label} with {more}, which Hark never wrote") for id_, more in some]
            self.findings.count(Name.FOREIGN_PROPERTY, many, examples)

    def _twins(self, label: str, nodes: Sequence[_Node]) -> None:
        """Of users and products this is seen where they are compared."""
        for each in nodes:
            if each.nodes > 1 and label not in _NAMED_BY_FACTS:
                self.findings.found([Finding(Name.TWIN_NODE, each.id, f"{each.nodes} {label} nodes have this id")])

    async def _known(self, label: str, nodes: Sequence[_Node]) -> None:
        """Users and products that the facts do not know; stores and categories that nothing leads to, or knows."""
        suspects = [each for each in nodes if label in _NAMED_BY_FACTS or each.edges == 0]
        if not suspects:
            return
        asked = {"ids": [each.id for each in suspects]}
        known = {row.id for row in await self.database.fetch(_SQL[f"known_{label.lower()}"], _Id, asked)}
        for each in suspects:
            if each.id not in known:
                self.findings.found([_strange(label, each)])


def _shown(value: Any) -> str:
    """What stands in the place of an id, or labels."""
    if isinstance(value, list):
        return ":".join(["", *map(str, value)])[:80] or "no label"
    return "nothing" if value is None else repr(value)[:80]


def _id_of(named: Sequence[Any]) -> str:
    """The id of a node that was asked for its own; empty: it has none."""
    return "" if not named or named[0] is None else str(named[0])[:80]


def _strange(label: str, node: _Node) -> Finding:
    if label in _NAMED_BY_FACTS:
        return Finding(Name.STRANGER, node.id, f"a {label} that no fact knows, with {node.edges} edges")
    return Finding(Name.ORPHAN, node.id, f"a {label} that no fact knows, and nothing leads to")
