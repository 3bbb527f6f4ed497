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


def _moment(row: str, at: int = 0) -> str:
    """The moment of which a row holds seconds and nanoseconds, one after the other."""
    return f"datetime.fromepoch({row}[{at}], {row}[{at + 1}])"


def _versions(label: Node, version: str) -> str:
    key = UNIQUE[label]
    return f"""\
UNWIND $ids AS id
MATCH (n:{label} {{{key}: id}})
RETURN n.{key} AS id, {_held("n", version)} AS version"""


def _locked(label: Node, version: str) -> str:
    """Lock a node by writing to it, and go on only if it holds what was read before.

    The lock is taken by the very statement that looks: read before it, the version could be an old one.
    """
    return f"""\
UNWIND $changes AS row
MERGE (n:{label} {{{UNIQUE[label]}: row.id}})
SET n._lock = true
REMOVE n._lock
WITH n, row WHERE {_held("n", version)} = row.was"""


def _found(label: str, nodes: str) -> str:
    """All nodes of a label that edges are to lead to, each looked up once, in the order of their ids.

    If one id has several nodes, for want of constraints, one of them is taken: rows tell them by their places.
    """
    return f"""\
CALL () {{
  UNWIND range(0, size(${nodes}) - 1) AS place
  WITH place, ${nodes}[place] AS id
  MERGE (t:{label} {{{UNIQUE[label]}: id}})
  WITH place, head(collect(t)) AS t ORDER BY place
  RETURN collect(t) AS {nodes}
}}"""


def _sums(nodes: str, edge: str, to: str) -> str:
    return f"""\
CALL (n, row) {{ MATCH (n)-[old:{edge}]->(t) WHERE row.anew OR t.{to} IN row.touched_{nodes} DELETE old }}
CALL (n, row, {nodes}) {{
  UNWIND row.{nodes} AS a
  WITH n, a, {nodes}[a[0]] AS t
  CREATE (n)-[:{edge} {{count: a[1], quantity: a[2], first_at: {_moment("a", 3)}, last_at: {_moment("a", 5)}, \
currencies: a[7], totals_minor: a[8], total_minor: CASE WHEN size(a[8]) = 1 THEN a[8][0] END}}]->(t)
}}"""


VERSIONS = {Node.USER: _versions(Node.USER, "facts_version"), Node.PRODUCT: _versions(Node.PRODUCT, "version")}

_WRITE_USERS = f"""\
{_locked(Node.USER, "facts_version")}
WITH collect([n, row]) AS won WHERE size(won) > 0
{_found("Product", "products")}
{_found("Category", "categories")}
{_found("Store", "stores")}
UNWIND won AS each
WITH each[0] AS n, each[1] AS row, products, categories, stores
CALL (n, row) {{ MATCH (n)-[old:PURCHASED]->() WHERE row.whole OR old.key IN row.keys DELETE old }}
CALL (n, row, products) {{
  UNWIND row.products AS l
  WITH n, l, products[l[0]] AS p
  CREATE (n)-[:PURCHASED {{key: l[1], store_id: l[2], amount_minor: l[3], currency: l[4], quantity: l[5], \
occurred_at: {_moment("l", 6)}, version: l[8], receipt_id: l[9], order_id: l[10]}}]->(p)
}}
{_sums("categories", "SHOPS_IN", "category_id")}
{_sums("stores", "SHOPS_AT", "store_id")}
SET n = {{user_id: row.id, facts_version: row.version, last_updated_at: {_moment("row.at")}}}
RETURN row.id AS id"""

_WRITE_PRODUCTS = f"""\
{_locked(Node.PRODUCT, "version")}
CALL (n) {{ MATCH (n)-[old:IN_CATEGORY]->() DELETE old }}
CALL (n, row) {{
  UNWIND row.categories AS id
  MERGE (c:Category {{category_id: id}})
  SET c.hierarchy = row.hierarchy
  CREATE (n)-[:IN_CATEGORY]->(c)
}}
SET n = {{product_id: row.id, name: row.name, category_id: row.category_id, category_hierarchy: row.hierarchy, \
version: row.version}}
RETURN row.id AS id"""

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
