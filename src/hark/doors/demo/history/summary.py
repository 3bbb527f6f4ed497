"""What came of the demo, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hark.doors.demo.history.ledger import Compared
from hark.history.audit import Severity


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit said: how bad the worst of it is, the score, and what it found, with whom and why."""

    when: str
    severity: Severity
    score: float
    users: int
    found: Sequence[str]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was deleted behind Hark's back, and whether the audit named just that."""

    user: str
    key: str
    found: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """The demo in figures.

    Attributes:
        messages, recorded, left_out, dead: of the live stream: what came, and what became of it.
        meanwhile: how many of them came while users were loaded.
        stages: those that the first load came to.
        verified: how many users' facts were read again, and are as the load left them, or were moved on since.
        let_in: whom the flag lets in when all is taken back.
        good: whether everything came as it should.
        seconds: by the clock on the wall.
    """

    users: int
    messages: int
    recorded: int
    left_out: int
    dead: int
    meanwhile: int
    stages: Sequence[str]
    verified: int
    audits: Sequence[Audited]
    fault: Fault
    compared: Sequence[Compared]
    let_in: int
    good: bool
    seconds: float = 0.0
