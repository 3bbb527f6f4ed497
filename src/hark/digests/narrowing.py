"""In how large chunks a walk goes: smaller ones where one took too long, and up to where that one would have ended.

How often it was narrowed down is the walk's `failures`, which every planner sees. Up to where, only the planner that
met it remembers; another one tries larger chunks again, one step after the other, and learns it for itself.

So it is with the reason as a whole. While the last thing that its feed did was to break, whoever is next is asked about
alone, in whichever walk: that costs little, and one answer tells that it is not slow for everybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from hark.digests.walks import PLACES, Chunk, Walk

_STEP_BITS, _STEP_BITS_OF_A_CALLABLE = 2, 6
"""To a quarter; but of a callable to one of 64, for each question that hangs keeps a thread."""

_ROUNDS = 100
"""How often all of them further on are asked about before failures are no longer counted."""


def smaller(chunk: int, failures: int) -> int:
    """How many recipients are planned at once after so many failures: what took too long is tried with a quarter."""
    return max(chunk >> 2 * min(failures, 16), 1)


def alone(chunk: int) -> int:
    """After how many failures a chunk is of one recipient."""
    return chunk.bit_length() // 2


def most(chunk: int) -> int:
    """How many failures a walk counts at most: by then it was asked about everybody further on, again and again."""
    return alone(chunk) + _ROUNDS * len(PLACES)


def narrowed(chunk: int, recipients: int, *, callable_: bool) -> int:
    """How many failures stand for the chunks after one that took too long and was of so many recipients."""
    wanted = recipients >> (_STEP_BITS_OF_A_CALLABLE if callable_ else _STEP_BITS)
    return next(failures for failures in range(alone(chunk) + 1) if smaller(chunk, failures) <= max(wanted, 1))


@dataclass(frozen=True, slots=True)
class _Narrow:
    upto: str
    failures: int


@dataclass(slots=True)
class _Broke:
    """How often the feed broke since it last answered, by slot; with what chunks it is asked, as after `failures`."""

    slots: Counter[int] = field(default_factory=Counter)
    failures: int = 0


@dataclass(slots=True)
class Narrows:
    """What a planner remembers of its walks and of their reasons' feeds; how far what took too long reached, it forgets
    with the morning."""

    _of: dict[tuple[int, str], tuple[datetime, list[_Narrow]]] = field(default_factory=dict)
    _witnesses: dict[tuple[int, str], str] = field(default_factory=dict)
    _broke: dict[str, _Broke] = field(default_factory=dict)

    def failures(self, walk: Walk) -> int:
        """How many failures a walk has here: its own, or as many as hold up to the end of what took too long."""
        ahead = self._ahead(walk)
        if not ahead:
            self._of.pop((walk.slot, walk.reason), None)
        return max([walk.failures, *(narrow.failures for narrow in ahead)])

    def wary(self, walk: Walk) -> int:
        """After how many failures its next chunk is: more, where its reason's feed has not answered since it broke."""
        broke = self._broke.get(walk.reason, _Broke())
        return max(self.failures(walk), broke.failures)

    def note(self, walk: Walk, upto: str, failures: int) -> None:
        """What took too long ended there; up to there chunks are as after so many failures."""
        self._of[walk.slot, walk.reason] = walk.due_at, [*self._ahead(walk), _Narrow(upto, failures)]

    def note_planned(self, walk: Walk, chunk: Chunk) -> None:
        """What was planned tells that the feed answers; if nobody was due, nothing, and more of them are tried next."""
        if chunk.asked:
            self.note_answer(walk)
        elif (broke := self._broke.get(walk.reason)) is not None:
            broke.failures = max(broke.failures - 1, 0)

    def note_answer(self, walk: Walk, witness: str | None = None) -> None:
        """The reason's feed has answered; for that one further on, where it was a trial."""
        self._broke[walk.reason] = _Broke()
        if witness is not None:
            self._witnesses[walk.slot, walk.reason] = witness

    def note_broken(self, walk: Walk, failures: int) -> int:
        """The reason's feed broke; its next chunk is as after so many failures. How often in a row it did before."""
        broke = self._broke.setdefault(walk.reason, _Broke())
        before = broke.slots.total()
        broke.slots[walk.slot] += 1
        broke.failures = failures
        return before

    def may_be_the_reasons(self, walk: Walk) -> bool:
        """Whether what broke may be no affair of that walk's: others broke, too, since the feed answered, if it did."""
        broke = self._broke.get(walk.reason)
        return broke is None or any(slot != walk.slot for slot in broke.slots)

    def witness(self, walk: Walk) -> str:
        """Who answered for the others when somebody was passed over; they are asked about again for the next one."""
        return self._witnesses.get((walk.slot, walk.reason), "")

    def forget_witness(self, walk: Walk) -> None:
        """The feed has no answer for that one either, now."""
        self._witnesses.pop((walk.slot, walk.reason), None)

    def _ahead(self, walk: Walk) -> list[_Narrow]:
        due_at, narrows = self._of.get((walk.slot, walk.reason), (walk.due_at, []))
        return [narrow for narrow in narrows if narrow.upto > walk.reached and due_at == walk.due_at]
