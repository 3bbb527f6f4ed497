"""What a load asks of the live stream and of the audit: each is somebody else's, and may not be there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class End:
    """How far a partition had come at some moment: `offset` is the next that was written then."""

    group: str
    topic: str
    partition: int
    offset: int


class Stream(Protocol):
    """The live stream, as far as a load must know of it."""

    async def ends_now(self) -> Sequence[End]:
        """How far its partitions have come; empty: there is no stream that can be asked.

        Raises:
            Unreachable: the brokers do not answer.
        """
        ...

    async def passed(self, ends: Sequence[End]) -> bool:
        """Whether all up to there is recorded, dropped or a dead letter."""
        ...


class NoStream:
    """There is no stream that could be asked."""

    async def ends_now(self) -> Sequence[End]:
        """None."""
        return ()

    async def passed(self, ends: Sequence[End]) -> bool:
        """Whether there is nothing to wait for."""
        return not ends


@dataclass(frozen=True, slots=True)
class Audited:
    """What comparing a run's users came to: whether all is well, in a line, and what is kept of it."""

    well: bool
    said: str
    kept: dict[str, Any]


Audit = Callable[[int, datetime], Awaitable[Audited]]
"""Compare the users whose facts a run touched, as of now."""
