"""One look at users or products: facts and graph of one moment, or moving.

The facts are read first, in one statement; then the graph; then the graph's versions again. The two are of one moment
if the version is the same all three times, and nothing is on its way. What is not is looked at again by whoever walks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, Protocol

from hark.history.audit.report import Finding
from hark.history.projection.changes import Ahead
from hark.history.projection.graph import Node


class GraphReader(Protocol):
    """A graph that can be asked in Cypher; raises what `Graph` does."""

    async def ask(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        ...

    async def versions(self, node: Node, ids: Sequence[str]) -> dict[str, int]:
        """The versions that it holds."""
        ...


class Verdict(Enum):
    """What one look at a user or product came to."""

    AGREES = auto()
    DIFFERS = auto()
    MOVING = auto()
    """Facts and graph could not be seen of one moment, or the graph is still to follow."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one user or product; `own`: what is wrong with the facts alone, whatever the graph has.

    `since`: since when it is ahead of the graph.
    """

    id: str
    verdict: Verdict
    findings: Sequence[Finding] = ()
    own: Sequence[Finding] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    since: datetime | None = None


class Side(Protocol):
    """Users, or products."""

    @property
    def of(self) -> str:
        """What they are called."""
        ...

    async def page(self, after: str, limit: int) -> list[Ahead]:
        """The next ones by id."""
        ...

    async def look(self, ids: Sequence[str]) -> list[Look]:
        """One look at each."""
        ...
