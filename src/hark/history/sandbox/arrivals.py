"""When requests came, as a limit is counted: how many in the worst second, wherever it begins."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from hark.durations import Rate

KEPT = 1_000_000
"""So many are remembered of each service."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: seconds by a clock that never goes back, what it was for, and how it was answered."""

    at: float
    user: str | None
    status: int
    fault: str | None


@dataclass(slots=True)
class Arrivals:
    """What came to one service.

    Attributes:
        limit: what the service itself allows; more is answered with 429. None: anything.
    """

    limit: Rate | None = None
    every: deque[Arrival] = field(default_factory=lambda: deque(maxlen=KEPT))
    _allowed: deque[float] = field(default_factory=deque)

    def came(self) -> float:
        """A request is here: the moment."""
        return time.monotonic()

    def wait(self, at: float) -> float:
        """How long a request that is over the service's own limit must wait, in seconds; 0: it is within it."""
        if self.limit is None:
            return 0.0
        period = self.limit.per.total_seconds()
        while self._allowed and self._allowed[0] <= at - period:
            self._allowed.popleft()
        if len(self._allowed) >= self.limit.count:
            return self._allowed[0] + period - at
        self._allowed.append(at)
        return 0.0

    def note(self, arrival: Arrival) -> None:
        """Remember it."""
        self.every.append(arrival)

    def moments(self) -> list[float]:
        """When all of them came, in order."""
        ordered: list[float] = []
        for arrival in self.every:
            insort(ordered, arrival.at)
        return ordered


def most_in_any(period: float, moments: Sequence[float]) -> int:
    """How many came in the worst period, wherever it begins.

    Args:
        period: seconds; its end does not belong to it.
        moments: in order.
    """
    return max((bisect_left(moments, at + period) - place for place, at in enumerate(moments)), default=0)
