"""A load against its sources, after it: whether what it brought is still what they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from hark.history.audit.report import Check, Findings, Name, Severity
from hark.history.audit.sourcing import AgainstSources
from hark.history.audit.walking import Pause, usual_pause
from hark.history.sources.reach import Sources
from hark.postgres.database import Database

_CHECKS = (Name.SOURCE_MISSING, Name.SOURCE_EXTRA, Name.SOURCE_DIFFERS, Name.SOURCE_UNKNOWN, Name.SOURCE_AWAY)
_OF = "users at sources"


@dataclass(frozen=True, slots=True)
class AtSources:
    """What came of asking the sources again.

    Attributes:
        asked: for how many users they answered.
        checks: as an audit has them.
    """

    asked: int
    checks: Sequence[Check]

    @property
    def good(self) -> bool:
        """Whether somebody was asked for, and nobody's facts are others than their sources have."""
        return self.asked > 0 and all(each.severity is not Severity.CRITICAL for each in self.checks)


async def load_at_sources(
    database: Database,
    sources: Sources,
    run: int,
    *,
    since: datetime,
    many: int | None,
    pause: Pause = usual_pause,
    told: Callable[[int], object] = lambda _users: None,
) -> AtSources:
    """Ask the sources for users whom a load brought, and hold the facts against what they answer. It only reads.

    Args:
        run: the load's number.
        since: how far back it reached.
        many: how many of its users, each as likely as any other; None: all.
        pause: waits before those are asked for again who did not agree.
        told: is told how many were asked for by now.

    Raises:
        Unreachable: the database is away. A source that is, is among the checks.
    """
    findings, so_far = Findings(), count(1)
    findings.make(_OF, *_CHECKS)
    asking = AgainstSources(database, sources, findings, pause, since, told=lambda: told(next(so_far)))
    await asking.of_run(run, many)
    return AtSources(findings.compared.get(_OF, 0), findings.checks())
