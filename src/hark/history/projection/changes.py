"""What is to be sent to the graph: of users and of products who are ahead of it, what changed since.

Both go the same way; a `Subject` names the statements of each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hark.history.projection.graph import NOTHING, Node
from hark.history.projection.sending import Changes, ProductChange, ProductChanges, UserChanges
from hark.postgres.database import Database
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

ANEW = -2
"""The mark of what is to be written anew, whatever the graph holds; less, each time it is said again, or refused."""


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
class Subject:
    """Users or products: their node, and the statements that tell and mark how far it is, or that it was refused."""

    node: Node
    ahead: Query
    changes: Callable[[Database, Mapping[str, Any]], Awaitable[Changes]]
    mark: Query
    overtake: Query
    put_back: Query


async def _users(database: Database, given: Mapping[str, Any]) -> Changes:
    """Planned each time anew, since it must be seen how many they are; in binary, where an array costs little."""
    (columns,) = await database.fetch(_SQL["users"], UserChanges, given, prepare=False, binary=True)
    return columns


async def _products(database: Database, given: Mapping[str, Any]) -> Changes:
    return ProductChanges(await database.fetch(_SQL["products"], ProductChange, given, prepare=False))


PRODUCTS = Subject(
    Node.PRODUCT,
    _SQL["products_ahead"],
    _products,
    _SQL["mark_products"],
    _SQL["overtake_products"],
    _SQL["put_back_product"],
)
USERS = Subject(
    Node.USER, _SQL["users_ahead"], _users, _SQL["mark_users"], _SQL["overtake_users"], _SQL["put_back_user"]
)


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
