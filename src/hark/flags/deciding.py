"""Whether a flag lets a user in, and why: a pure function of what was read of the flag, in a few microseconds.

In this order: a flag that is off lets nobody in; then whoever was enrolled; then the segments by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from hark.flags.members import NOBODY, Members
from hark.flags.rules import WHOLE, SegmentKind

_ROLLS = 2**32


class Because(StrEnum):
    """Why a user is let in, or not."""

    NO_FLAG = "no_flag"
    OFF = "off"
    ENROLLED = "enrolled"
    SEGMENT = "segment"
    NOBODY_SAYS_SO = "in_none"

    @property
    def lets_in(self) -> bool:
        """Whether this is why one is let in."""
        return self in (Because.ENROLLED, Because.SEGMENT)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a flag says of a user. `version` is the flag's (0: there is none); `segment`: which one lets them in."""

    because: Because
    version: int
    segment: str | None = None

    @property
    def lets_in(self) -> bool:
        """Whether they are let in."""
        return self.because.lets_in


@dataclass(frozen=True, slots=True)
class Rolling:
    """A segment of whoever rolls less than a share, in `WHOLE`ths."""

    salt: str
    share: int

    def __contains__(self, user: object) -> bool:
        return isinstance(user, str) and rolled(self.salt, user) * WHOLE < self.share * _ROLLS


@dataclass(frozen=True, slots=True)
class SegmentSeen:
    """A segment at one of its versions."""

    name: str
    version: int
    kind: SegmentKind
    who: Members | Rolling


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who was enrolled: many at one time, and the few that came and went since."""

    then: Members = NOBODY
    came: frozenset[str] = frozenset()
    went: frozenset[str] = frozenset()

    def __contains__(self, user: object) -> bool:
        return user in self.came or (user not in self.went and user in self.then)

    @property
    def moved(self) -> int:
        """How many came or went since."""
        return len(self.came) + len(self.went)

    def after(self, came: frozenset[str], went: frozenset[str]) -> Enrolled:
        """Those who are enrolled after some more came and went."""
        return Enrolled(self.then, (self.came - went) | came, (self.went - came) | went)


@dataclass(frozen=True, slots=True)
class FlagSeen:
    """A flag at one of its versions, its segments in the order of their names."""

    name: str
    version: int
    is_on: bool
    segments: tuple[SegmentSeen, ...] = ()
    enrolled: Enrolled = field(default_factory=Enrolled)

    def decide(self, user: str) -> Decision:
        """Whether it lets a user in, and why."""
        if not self.is_on:
            return Decision(Because.OFF, self.version)
        if user in self.enrolled:
            return Decision(Because.ENROLLED, self.version)
        for segment in self.segments:
            if user in segment.who:
                return Decision(Because.SEGMENT, self.version, segment.name)
        return Decision(Because.NOBODY_SAYS_SO, self.version)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Flags as they all were at one moment. It never changes; another one takes its place."""

    flags: Mapping[str, FlagSeen] = field(default_factory=dict)

    def decide(self, flag: str, user: str) -> Decision:
        """Whether a flag lets a user in, and why."""
        seen = self.flags.get(flag)
        return seen.decide(user) if seen is not None else Decision(Because.NO_FLAG, 0)

    def version(self, flag: str) -> int:
        """Of a flag; 0: there is none of that name."""
        seen = self.flags.get(flag)
        return 0 if seen is None else seen.version


def rolled(salt: str, user: str) -> int:
    """What a user rolls, from 0 to 2^32 - 1: always the same, and what `hark.rolled` says in SQL."""
    return int.from_bytes(sha256(f"{salt}:{user}".encode("utf-8", "surrogatepass")).digest()[:4])
