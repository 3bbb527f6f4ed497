"""Old digests go, a chunk at a time; what coverage still needs stays.

It needs the newest of each recipient and reason, from which the next one goes on, and those within the feed's overlap
before it, whose keys are not told again. `hark digests verify` knows since when digests are kept.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from hark.postgres.database import Database
from hark.postgres.queries import Queries, chain

_SQL = Queries.beside(__file__)

LOOK = chain(_SQL["old"], _SQL["needless"], end=_SQL["look"])
PRUNE = chain(_SQL["old"], _SQL["needless"], _SQL["gone"], end=_SQL["prune"])
CHUNK = 5000
"""How many old digests one statement looks at."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many digests are `old`, and how many of them are `needless`: gone, if it was not only a look."""

    old: int
    needless: int


@dataclass(frozen=True, slots=True)
class _Place:
    planned_at: datetime
    recipient: str
    reason: str
    period: date


@dataclass(frozen=True, slots=True)
class _Looked:
    old: int
    needless: int
    planned_at: datetime | None
    recipient: str | None
    reason: str | None
    period: date | None

    def place(self) -> _Place | None:
        if self.planned_at is None or self.recipient is None or self.reason is None or self.period is None:
            return None
        return _Place(self.planned_at, self.recipient, self.reason, self.period)


_BEGINNING = _Place(datetime(1, 1, 2, tzinfo=UTC), "", "", date(1, 1, 1))


async def prune(database: Database, before: datetime, *, apply: bool, chunk: int = CHUNK) -> Pruned:
    """Remove digests that were planned before, or only count them.

    Each chunk is a transaction of its own: whoever is stopped half-way has removed less, and nothing else.

    Args:
        before: aware.
        apply: remove them; else nothing is changed.
    """
    query, after, old, needless = PRUNE if apply else LOOK, _BEGINNING, 0, 0
    while True:
        given = {"before": before, "limit": chunk, **asdict(after)}
        (looked,) = await database.fetch(query, _Looked, given, prepare=False)
        old, needless, place = old + looked.old, needless + looked.needless, looked.place()
        if place is None:
            return Pruned(old, needless)
        after = place
