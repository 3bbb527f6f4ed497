"""A copy of a small graph, taken and put back: what a restore of a backup does, in a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hark.history.projection.neo4j_graph import Neo4jGraph

_NODES = "MATCH (n) RETURN elementId(n), labels(n)[0], properties(n)"
_EDGES = "MATCH (a)-[r]->(b) RETURN elementId(a), type(r), properties(r), elementId(b)"


@dataclass(frozen=True, slots=True)
class Backup:
    """All nodes and edges of a graph at one time."""

    nodes: list[tuple[Any, ...]]
    edges: list[tuple[Any, ...]]

    @classmethod
    async def take(cls, graph: Neo4jGraph) -> Backup:
        """Copy all there is."""
        return cls(await graph.ask(_NODES), await graph.ask(_EDGES))

    async def restore(self, graph: Neo4jGraph) -> None:
        """Put the copy in place of whatever is there; nobody may be writing meanwhile."""
        await graph.ask("MATCH (n) DETACH DELETE n")
        for label in {node[1] for node in self.nodes}:
            given = [[node[0], node[2]] for node in self.nodes if node[1] == label]
            await graph.ask(f"UNWIND $given AS g CREATE (n:{label}) SET n = g[1], n.was_id = g[0]", given=given)
        for kind in {edge[1] for edge in self.edges}:
            given = [[edge[0], edge[2], edge[3]] for edge in self.edges if edge[1] == kind]
            await graph.ask(
                f"UNWIND $given AS g MATCH (a {{was_id: g[0]}}), (b {{was_id: g[2]}})"
                f" CREATE (a)-[r:{kind}]->(b) SET r = g[1]",
                given=given,
            )
        await graph.ask("MATCH (n) REMOVE n.was_id")
