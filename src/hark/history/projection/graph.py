"""The graph as the projector sees it: nodes with versions, and one way to write them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from hark.history.projection.sending import Changes


class Node(StrEnum):
    """What has a version in the graph, and is written whole or by what changed."""

    USER = "User"
    PRODUCT = "Product"


NOTHING = -1
"""The version of a node that is not there, or that Hark never wrote."""


class Graph(Protocol):
    """Where facts are projected to. Each call is one transaction, done or not done.

    All of them raise `Unreachable` when the graph does not answer, or not now, and `GraphRefused` when it refuses.
    """

    async def prepare(self) -> None:
        """Make what keeps its nodes unique and its look-ups fast; what is there stays."""
        ...

    async def versions(self, node: Node, ids: Sequence[str]) -> dict[str, int]:
        """The versions that it holds; whoever is left out is at `NOTHING`."""
        ...

    async def write(self, node: Node, changes: Changes) -> set[str]:
        """Write each change whose node is still at the version that the change says; the ids that were written.

        Args:
            changes: in order of their ids: nobody waits for each other then.
        """
        ...

    async def page(self, node: Node, after: str, limit: int) -> list[str]:
        """The ids that it has after one, in its own order."""
        ...

    async def forget(self, node: Node, ids: Sequence[str]) -> None:
        """Remove nodes with all that hangs on them."""
        ...

    async def forget_unrelated(self, limit: int) -> int:
        """Remove at most so many stores and categories that nothing leads to; how many it were."""
        ...

    async def unite(self) -> int:
        """Leave one node of each id, in as many transactions as it takes; how many were too many.

        Whoever was touched is at `NOTHING` then.
        """
        ...

    async def forget_foreign(self) -> int:
        """Remove what has a name of Hark's and can be nobody's: nodes without an id, edges that begin elsewhere.

        Also properties of stores and categories that Hark never wrote; these are not counted.
        """
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...
