"""The graph: what it holds is computed from the facts, and from nothing else.

    versions ahead ─▶ what changed since ─▶ written, if that is still what it holds ─▶ marked
    (people, in SQL)  (changes.sql)          (graph.py, one Cypher statement)           (guarded)

projector.py   takes users and products that are ahead of the graph, chunk by chunk; one projector at a time, by lease
changes.py     what of them is to be sent; sending.py: how, as columns
graph.py       the graph as the projector sees it; cypher.py and neo4j_graph.py: Neo4j behind it
sweep.py       compares what the graph holds with what is marked: a restored or emptied graph heals by itself
rebuild.py     writes users, or all, anew, and forgets whom the facts do not know
uniting.py     makes one node of those that have one id, and removes what can be nobody's

A node keeps the version that it was written at. Whoever writes says which version it found there, and the statement
that writes locks the node, looks, and writes only if that is still so: a projector that stood still meanwhile, a graph
restored in between, a crash before the mark, each ends in the same graph.
"""

from __future__ import annotations

from hark.history.projection.graph import Graph, Node
from hark.history.projection.projector import Projector, Stepped
from hark.history.projection.sweep import Sweep, Swept

__all__ = ["Graph", "Node", "Projector", "Stepped", "Sweep", "Swept"]
