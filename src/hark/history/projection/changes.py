"""What is to be sent to the graph: of users and of products who are ahead of it, what changed since.

Both go the same way; a `Subject` names the statements of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hark.history.projection.graph import NOTHING, Node
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

ANEW = -2
"""The mark of what is to be written anew, whatever the graph holds; each time that it is said again, one less."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """A user or product that is ahead of the graph.

    Attributes:
        marked: the version that the graph was last known to hold; `ANEW` and less: whatever it holds is not trusted.
        changes: how many of its facts changed since, as far as they were counted.
    """

    id: str
    version: int
    marked: int
    changes: int


@dataclass(frozen=True, slots=True)
class UserChange:
    """What a user's node becomes; lines, categories and stores as rows in the order that `cypher.py` reads.

    Attributes:
        was: the version that the node must still hold.
        whole: all that hangs on the node is replaced; else only lines whose keys changed, and sums.
        anew: all sums are replaced; else only those of `touched_categories` and `touched_stores`.
        at: when the facts last changed, in seconds and nanoseconds.
        categories, stores: the sums that are to be there of those that are replaced.
    """

    id: str
    was: int
    version: int
    whole: bool
    anew: bool
    at: Sequence[int]
    keys: Sequence[str]
    lines: Sequence[Sequence[Any]]
    categories: Sequence[Sequence[Any]]
    stores: Sequence[Sequence[Any]]
    touched_categories: Sequence[str]
    touched_stores: Sequence[str]

    @property
    def size(self) -> int:
        """How many lines are sent."""
        return len(self.lines)

    def as_map(self) -> Mapping[str, Any]:
        """As it is sent."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ProductChange:
    """What a product's node becomes, and the categories that it is in: one, or none."""

    id: str
    was: int
    version: int
    name: str | None
    category_id: str | None
    hierarchy: Sequence[str] | None
    categories: Sequence[str]

    @property
    def size(self) -> int:
        """Products have no lines."""
        return 0

    def as_map(self) -> Mapping[str, Any]:
        """As it is sent."""
        return {name: getattr(self, name) for name in self.__slots__}


Change = UserChange | ProductChange


@dataclass(frozen=True, slots=True)
class Subject:
    """Users or products: their node, and the statements that tell and mark how far it is."""

    node: Node
    row: type[UserChange] | type[ProductChange]
    ahead: Query
    changes: Query
    mark: Query
    overtake: Query


def _subject(node: Node, row: type[UserChange] | type[ProductChange], name: str) -> Subject:
    statements = (_SQL[f"{name}_ahead"], _SQL[name], _SQL[f"mark_{name}"], _SQL[f"overtake_{name}"])
    return Subject(node, row, *statements)


PRODUCTS = _subject(Node.PRODUCT, ProductChange, "products")
USERS = _subject(Node.USER, UserChange, "users")
PUT_BACK = _SQL["put_back"]


def slices(ahead: Sequence[Ahead], nodes: int, lines: int) -> Iterator[list[Ahead]]:
    """Cut into transactions of so many nodes and about so many lines at most; one node is never cut."""
    cut: list[Ahead] = []
    size = 0
    for each in ahead:
        if cut and (len(cut) >= nodes or size + each.changes > lines):
            yield cut
            cut, size = [], 0
        cut.append(each)
        size += each.changes
    if cut:
        yield cut


def asked(ahead: Sequence[Ahead], held: Mapping[str, int]) -> dict[str, Any]:
    """The parameters of `changes`: what the graph holds of each, and which of them are to be written whole.

    What the graph holds and the facts never were (they were restored from a backup) is written whole, too.
    """
    was = [held.get(each.id, NOTHING) for each in ahead]
    whole = [
        each.marked <= ANEW or version == NOTHING or version > each.version
        for each, version in zip(ahead, was, strict=True)
    ]
    return {"ids": [each.id for each in ahead], "was": was, "whole": whole}
