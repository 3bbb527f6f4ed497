"""In how large chunks a walk goes: smaller ones where one took too long, and up to where that one would have ended.

How often it was narrowed down is the walk's `failures`, which every planner sees. Up to where, only the planner that
met it remembers; another one tries larger chunks again, one step after the other, and learns it for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from hark.digests.walks import PLACES, Walk

_STEP_BITS, _STEP_BITS_OF_A_CALLABLE = 2, 6
"""To a quarter; but of a callable to one of 64, for each question that hangs keeps a thread."""


def smaller(chunk: int, failures: int) -> int:
    """How many recipients are planned at once after so many failures: what took too long is tried with a quarter."""
    return max(chunk >> 2 * min(failures, 16), 1)


def alone(chunk: int) -> int:
    """After how many failures a chunk is of one recipient."""
    return chunk.bit_length() // 2


def most(chunk: int) -> int:
    """How many failures a walk counts at most: by then it is asked about one, and about others further on."""
    return alone(chunk) + len(PLACES)


def narrowed(chunk: int, recipients: int, *, callable_: bool) -> int:
    """How many failures stand for the chunks after one that took too long and was of so many recipients."""
    wanted = recipients >> (_STEP_BITS_OF_A_CALLABLE if callable_ else _STEP_BITS)
    return next(failures for failures in range(alone(chunk) + 1) if smaller(chunk, failures) <= max(wanted, 1))


@dataclass(frozen=True, slots=True)
class _Narrow:
    upto: str
    failures: int


@dataclass(slots=True)
class Narrows:
    """What a planner remembers of its walks; of a morning that is over it forgets it."""

    _of: dict[tuple[int, str], tuple[datetime, list[_Narrow]]] = field(default_factory=dict)

    def failures(self, walk: Walk) -> int:
        """How many failures a walk has here: its own, or as many as hold up to the end of what took too long."""
        ahead = self._ahead(walk)
        if not ahead:
            self._of.pop((walk.slot, walk.reason), None)
        return max([walk.failures, *(narrow.failures for narrow in ahead)])

    def note(self, walk: Walk, upto: str, failures: int) -> None:
        """What took too long ended there; up to there chunks are as after so many failures."""
        self._of[walk.slot, walk.reason] = walk.due_at, [*self._ahead(walk), _Narrow(upto, failures)]

    def _ahead(self, walk: Walk) -> list[_Narrow]:
        due_at, narrows = self._of.get((walk.slot, walk.reason), (walk.due_at, []))
        return [narrow for narrow in narrows if narrow.upto > walk.reached and due_at == walk.due_at]
