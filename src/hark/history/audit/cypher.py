"""What an audit asks Neo4j: only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hark.history.audit.report import EXAMPLES
from hark.history.projection import uniting
from hark.history.projection.cypher import UNIQUE

_HELD = "coalesce(toIntegerOrNull(n.{version}), -1), n.{version}"
"""The version as whoever writes reads it, and as it stands there."""


def _shops(edge: str, label: str) -> str:
    return f"""[(n)-[r:{edge}]->(t) | [t.{UNIQUE[label]}, r.count, r.quantity, r.first_at, r.last_at, r.currencies, \
r.totals_minor, r.total_minor, size(keys(r))]]"""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many there are of something, and a few of them."""

    count: str
    some: str


USERS = f"""\
UNWIND $ids AS id
MATCH (n:User {{user_id: id}})
RETURN n.user_id, {_HELD.format(version="facts_version")}, n.last_updated_at, size(keys(n)),
       [(n)-[r:PURCHASED]->(p) | [r.key, p.product_id, r.store_id, r.amount_minor, r.currency, r.quantity, \
r.occurred_at, r.version, r.receipt_id, r.order_id, size(keys(r))]],
       {_shops("SHOPS_IN", "Category")},
       {_shops("SHOPS_AT", "Store")}"""

PRODUCTS = f"""\
UNWIND $ids AS id
MATCH (n:Product {{product_id: id}})
RETURN n.product_id, {_HELD.format(version="version")}, n.name, n.category_id, n.category_hierarchy, size(keys(n)),
       [(n)-[r:IN_CATEGORY]->(c) | [c.category_id, c.hierarchy, size(keys(r))]]"""

KINDS = """\
CALL db.labels() YIELD label RETURN 'node' AS what, label AS name
UNION ALL
CALL db.relationshipTypes() YIELD relationshipType RETURN 'edge' AS what, relationshipType AS name"""
CONSTRAINTS = (
    "SHOW CONSTRAINTS YIELD labelsOrTypes, properties, type"
    " WHERE type CONTAINS 'UNIQUE' AND size(labelsOrTypes) = 1 AND size(properties) = 1"
    " RETURN labelsOrTypes[0], properties[0]"
)


def totals(labels: Sequence[str], kinds: Sequence[str]) -> str:
    """How many nodes there are of each label, and relationships of each type; Neo4j keeps these counts."""
    nodes = [
        f"MATCH (n:{_quoted(each)}) RETURN 'node' AS what, {_text(each)} AS name, count(n) AS many" for each in labels
    ]
    edges = [
        f"MATCH ()-[r:{_quoted(each)}]->() RETURN 'edge' AS what, {_text(each)} AS name, count(r) AS many"
        for each in kinds
    ]
    return " UNION ALL ".join((*nodes, *edges))


def page(label: str, *, unique: bool) -> str:
    """The ids of nodes after one, each with how many nodes have it, and how many edges these.

    Args:
        unique: no two of them can have one id, so they need not be counted, and the index says the order.
    """
    key = UNIQUE[label]
    one = f"MATCH (n:{label}) WHERE n.{key} > $after WITH n, n.{key} AS id ORDER BY id LIMIT $limit"
    if unique:
        return f"{one} RETURN id, 1, COUNT {{ (n)--() }}"
    counted = "WITH n.{key} AS id, count(*) AS nodes, sum(COUNT {{ (n)--() }}) AS edges"
    return (
        f"MATCH (n:{label}) WHERE n.{key} > $after {counted.format(key=key)}"
        " ORDER BY id LIMIT $limit RETURN id, nodes, edges"
    )


def nameless(label: str) -> Counted:
    """Nodes of a label that have no id, and what they have instead."""
    found = uniting.nameless(label)
    return Counted(f"{found} RETURN count(*)", f"{found} RETURN n.{UNIQUE[label]} LIMIT {EXAMPLES}")


def foreign_edges(edge: str) -> Counted:
    """Edges of a type that begin where Hark's do not, and at what: its labels, and its id if it has one of Hark's."""
    found = uniting.begins_elsewhere(edge)
    named = f"coalesce({', '.join(f'a.{key}' for key in UNIQUE.values())})"
    return Counted(f"{found} RETURN count(*)", f"{found} RETURN labels(a), {named} LIMIT {EXAMPLES}")


def foreign_properties(label: str) -> Counted:
    """Stores or categories with properties that Hark never wrote: their ids, and which those are."""
    found = uniting.foreign_properties(label)
    return Counted(
        f"{found} RETURN count(*)", f"{found} RETURN n.{UNIQUE[label]} AS id, more ORDER BY id LIMIT {EXAMPLES}"
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
