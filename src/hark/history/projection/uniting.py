"""Makes one node of several that have one id, and removes what can be nobody's: what constraints would have prevented.

Whatever hangs on a twin is hung on the one that stays, so that nobody misses it meanwhile; and all who are touched lose
their version in the same statement. So they are written whole by the next projector that looks, even if whoever united
them died here: the sweep sees a version that is not the one marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hark.history.projection.cypher import UNIQUE
from hark.history.projection.graph import Node

AT_ONCE = 5_000
"""How many edges, or ids, one transaction takes."""
_NAMED = 5

_VERSION = {Node.USER.value: "facts_version", Node.PRODUCT.value: "version"}

_INTO: Mapping[str, Sequence[tuple[str, str]]] = {
    "User": (),
    "Product": (("User", "PURCHASED"),),
    "Category": (("User", "SHOPS_IN"), ("Product", "IN_CATEGORY")),
    "Store": (("User", "SHOPS_AT"),),
}
"""Which edges lead to a label, and from where. What leads from a node is written anew with it."""

_FROM = {"PURCHASED": "User", "SHOPS_IN": "User", "SHOPS_AT": "User", "IN_CATEGORY": "Product"}


OWN: Mapping[str, Sequence[str]] = {"Category": ("category_id", "hierarchy"), "Store": ("store_id",)}
"""What Hark writes on nodes that are never written whole. Whatever else stands there, somebody else wrote."""


class Asked(Protocol):
    """A graph that takes Cypher."""

    async def ask(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """All rows of one statement, in a transaction of its own."""
        ...


async def unite(graph: Asked) -> int:
    """Leave one node of each id; how many were too many.

    Raises:
        Unreachable, GraphRefused: as `Graph` says; what was united by then is.
    """
    gone = 0
    for label in UNIQUE:
        while ids := [row[0] for row in await graph.ask(_twins(label), limit=AT_ONCE)]:
            for origin, edge in _INTO[label]:
                while (await graph.ask(_moved(label, origin, edge), ids=ids, limit=AT_ONCE))[0][0]:
                    pass
            gone += int((await graph.ask(_one_left(label), ids=ids))[0][0])
    return gone


async def some_twins(graph: Asked) -> str:
    """A few ids that several nodes have, by label; empty: there are none."""
    found = {label: [row[0] for row in await graph.ask(_twins(label), limit=_NAMED)] for label in UNIQUE}
    return ", ".join(f"{label} {', '.join(ids)}" for label, ids in found.items() if ids)


async def forget_foreign(graph: Asked) -> int:
    """Remove nodes of Hark's labels without an id, and edges of its types that begin elsewhere; how many.

    Of stores and categories also the properties that Hark never wrote; the nodes stay, and are not counted.
    """
    gone = 0
    for statement in (*map(_nameless, UNIQUE), *(_begins_elsewhere(*each) for each in _FROM.items())):
        while more := int((await graph.ask(statement, limit=AT_ONCE))[0][0]):
            gone += more
    for label in OWN:
        while (await graph.ask(_bared(label), limit=AT_ONCE))[0][0]:
            pass
    return gone


def nameless(label: str) -> str:
    """Where a node `n` of a label has no id by which Hark could know it."""
    key = f"n.{UNIQUE[label]}"
    return f"MATCH (n:{label}) WHERE {key} IS NULL OR {key} IS NOT :: STRING OR {key} = ''"


def begins_elsewhere(edge: str) -> str:
    """Where an edge `r` of a type begins at a node `a` from which Hark leads none."""
    return f"MATCH (a)-[r:{edge}]->() WHERE NOT a:{_FROM[edge]}"


def foreign_properties(label: str) -> str:
    """Where a node `n` of a label has properties that Hark never wrote: `more`."""
    return (
        f"MATCH (n:{label}) WHERE n.{UNIQUE[label]} IS :: STRING NOT NULL"
        f" WITH n, [key IN keys(n) WHERE NOT key IN {list(OWN[label])}] AS more WHERE size(more) > 0"
    )


def _twins(label: str) -> str:
    key = UNIQUE[label]
    return (
        f"MATCH (n:{label}) WHERE n.{key} IS :: STRING NOT NULL"
        f" WITH n.{key} AS id, count(*) AS nodes WHERE nodes > 1 RETURN id LIMIT $limit"
    )


def _kept(label: str) -> str:
    """Of each id the node that stays, which is the oldest, and the others."""
    return f"""\
UNWIND $ids AS id
CALL (id) {{
  MATCH (n:{label} {{{UNIQUE[label]}: id}})
  WITH n ORDER BY elementId(n)
  WITH collect(n) AS nodes
  RETURN head(nodes) AS kept, tail(nodes) AS others
}}"""


def _moved(label: str, origin: str, edge: str) -> str:
    return f"""\
{_kept(label)}
UNWIND others AS other
MATCH (o:{origin})-[r:{edge}]->(other)
WITH kept, o, r LIMIT $limit
CREATE (o)-[moved:{edge}]->(kept)
SET moved = properties(r)
REMOVE o.{_VERSION[origin]}
DELETE r
RETURN count(*) AS moved"""


def _one_left(label: str) -> str:
    anew = f"REMOVE kept.{_VERSION[label]} " if label in _VERSION else ""
    return f"""\
{_kept(label)}
{anew}WITH others UNWIND others AS other
DETACH DELETE other
RETURN count(*) AS gone"""


def _nameless(label: str) -> str:
    return f"{nameless(label)} WITH n LIMIT $limit DETACH DELETE n RETURN count(*) AS gone"


def _begins_elsewhere(edge: str, _origin: str) -> str:
    return f"{begins_elsewhere(edge)} WITH r LIMIT $limit DELETE r RETURN count(*) AS gone"


def _bared(label: str) -> str:
    """One property after the other, and nothing else: whoever writes a hierarchy meanwhile shall have written it."""
    return (
        f"{foreign_properties(label)} WITH n, more LIMIT $limit"
        " UNWIND more AS key REMOVE n[key] RETURN count(*) AS gone"
    )
