"""How changes are sent: what edges lead to by its place in a list, so that the graph looks each node up once.

A transaction of some hundred users has thousands of lines, and they lead to a few hundred products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hark.history.projection.graph import Node

_LED_TO = {"lines": "products", "categories": "categories", "stores": "stores"}
"""The rows of a user's change, and what the edges that are made of them lead to; the id stands first in each row."""


def parameters(node: Node, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `cypher.WRITE` is given, of changes as `changes.py` makes them.

    Ids are in order: of two who write at once, neither waits for the other with what that one waits for.
    """
    if node is Node.PRODUCT:
        return {"changes": list(changes)}
    sent = [dict(each) for each in changes]
    given: dict[str, Any] = {"changes": sent}
    for rows, nodes in _LED_TO.items():
        given[nodes] = sorted({row[0] for each in changes for row in each[rows]})
        places = {each: place for place, each in enumerate(given[nodes])}
        for each in sent:
            each[nodes] = [[places[row[0]], *row[1:]] for row in each.pop(rows)]
    return given
