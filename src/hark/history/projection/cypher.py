"""What is said to Neo4j, in Cypher as 5.26 LTS and newer understand it."""

from __future__ import annotations

from hark.history.projection.graph import Node

UNIQUE = {"User": "user_id", "Product": "product_id", "Category": "category_id", "Store": "store_id"}
"""What names a node of each label."""

CONSTRAINTS = tuple(
    f"CREATE CONSTRAINT hark_{label.lower()} IF NOT EXISTS FOR (n:{label}) REQUIRE n.{key} IS UNIQUE"
    for label, key in UNIQUE.items()
)

WAIT_FOR_INDEXES = "CALL db.awaitIndexes(60)"


def _held(node: str, version: str) -> str:
    """The version that a node holds; what somebody else wrote there, and is no number, is none."""
    return f"coalesce(toIntegerOrNull({node}.{version}), -1)"


def _moment(columns: str, name: str, place: str) -> str:
    """The moment of which two columns hold seconds and nanoseconds."""
    return f"datetime.fromepoch(${columns}.{name}_s[{place}], ${columns}.{name}_ns[{place}])"


def _versions(label: Node, version: str) -> str:
    key = UNIQUE[label]
    return f"""\
UNWIND $ids AS id
MATCH (n:{label} {{{key}: id}})
RETURN collect([n.{key}, {_held("n", version)}]) AS held"""


_LOCK = """\
SET n._lock = true
REMOVE n._lock"""
"""Lock a node by writing to it; then it is looked whether it holds what was read before.

The lock is taken by the very statement that looks: read before it, the version could be an old one.
"""


def _found(label: str, nodes: str) -> str:
    """All nodes of a label that edges are to lead to, each looked up once, in the order of their ids.

    If one id has several nodes, for want of constraints, one of them is taken: edges tell them by their places.
    """
    return f"""\
CALL () {{
  UNWIND range(0, size($ids.{nodes}) - 1) AS place
  MERGE (t:{label} {{{UNIQUE[label]}: $ids.{nodes}[place]}})
  WITH place, head(collect(t)) AS t ORDER BY place
  RETURN collect(t) AS {nodes}
}}"""


def _each_user(place: str) -> str:
    """The node of a user who is written; no row for who is not, and several if one id has several nodes."""
    return f"UNWIND users[{place}] AS n"


_ALL_USERS = f"UNWIND range(0, size(users) - 1) AS u {_each_user('u')}"


def _edges(nodes: str, edge: str, properties: str) -> str:
    """Edges of users who are written, from columns."""
    return f"""\
CALL (users, {nodes}) {{
  UNWIND range(0, size(${nodes}.of) - 1) AS i
  {_each_user(f"${nodes}.of[i]")}
  WITH n, i, {nodes}[${nodes}.to[i]] AS t
  CREATE (n)-[:{edge} {{{properties}}}]->(t)
}}"""


def _same(nodes: str, *names: str) -> str:
    return ", ".join(f"{name}: ${nodes}.{name}[i]" for name in names)


def _purchases() -> str:
    names = ("key", "store_id", "amount_minor", "currency", "quantity", "version", "receipt_id", "order_id")
    at = f"occurred_at: {_moment('products', 'at', 'i')}"
    return f"""\
CALL (users) {{ {_ALL_USERS} MATCH (n)-[old:PURCHASED]->() \
WHERE $users.whole[u] OR old.key IN $users.keys[u] DELETE old }}
{_edges("products", "PURCHASED", f"{_same('products', *names)}, {at}")}"""


def _sums(nodes: str, edge: str, to: str) -> str:
    totals = f"${nodes}.totals[i]"
    properties = f"""{_same(nodes, "count", "quantity", "currencies")}, totals_minor: {totals}, \
total_minor: CASE WHEN size({totals}) = 1 THEN {totals}[0] END, \
first_at: {_moment(nodes, "first", "i")}, last_at: {_moment(nodes, "last", "i")}"""
    return f"""\
CALL (users) {{ {_ALL_USERS} MATCH (n)-[old:{edge}]->(t) \
WHERE $users.anew[u] OR t.{to} IN $users.{nodes}[u] DELETE old }}
{_edges(nodes, edge, properties)}"""


VERSIONS = {Node.USER: _versions(Node.USER, "facts_version"), Node.PRODUCT: _versions(Node.PRODUCT, "version")}

_WRITE_USERS = f"""\
CYPHER replan=skip
UNWIND range(0, size($users.id) - 1) AS u
MERGE (n:User {{user_id: $users.id[u]}})
{_LOCK}
WITH u, collect(CASE WHEN {_held("n", "facts_version")} = $users.was[u] THEN n END) AS won ORDER BY u
WITH collect(won) AS users WHERE any(won IN users WHERE size(won) > 0)
{_found("Product", "products")}
{_found("Category", "categories")}
{_found("Store", "stores")}
{_purchases()}
{_sums("categories", "SHOPS_IN", "category_id")}
{_sums("stores", "SHOPS_AT", "store_id")}
{_ALL_USERS}
SET n = {{user_id: $users.id[u], facts_version: $users.version[u], last_updated_at: {_moment("users", "at", "u")}}}
RETURN collect($users.id[u]) AS ids"""
"""Planned once: each node is found by its constraint's index, however full the graph. Planning again, as Neo4j does
when a graph has grown, would take longer than many a transaction and find the same."""

_WRITE_PRODUCTS = f"""\
UNWIND $changes AS row
MERGE (n:Product {{product_id: row.id}})
{_LOCK}
WITH n, row WHERE {_held("n", "version")} = row.was
CALL (n) {{ MATCH (n)-[old:IN_CATEGORY]->() DELETE old }}
CALL (n, row) {{
  UNWIND row.categories AS id
  MERGE (c:Category {{category_id: id}})
  SET c.hierarchy = row.hierarchy
  CREATE (n)-[:IN_CATEGORY]->(c)
}}
SET n = {{product_id: row.id, name: row.name, category_id: row.category_id, category_hierarchy: row.hierarchy, \
version: row.version}}
RETURN collect(row.id) AS ids"""

WRITE = {Node.USER: _WRITE_USERS, Node.PRODUCT: _WRITE_PRODUCTS}


def _page(label: Node) -> str:
    key = UNIQUE[label]
    return f"MATCH (n:{label}) WHERE n.{key} > $after RETURN n.{key} AS id ORDER BY n.{key} LIMIT $limit"


def _forget(label: Node) -> str:
    return f"UNWIND $ids AS id MATCH (n:{label} {{{UNIQUE[label]}: id}}) DETACH DELETE n"


PAGE = {node: _page(node) for node in Node}
FORGET = {node: _forget(node) for node in Node}

FORGET_UNRELATED = """\
MATCH (n:Category|Store) WHERE NOT (n)--()
WITH n LIMIT $limit
DELETE n
RETURN count(*) AS gone"""
