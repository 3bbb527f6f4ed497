"""The cap: at most so many messages of category activity to one recipient and channel in any period of its length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.catalogue import Catalogue, Category, Channel
from hark.delivery.recheck import Rechecked
from hark.delivery.settle import arrays, notes
from hark.durations import Rate, rate_in_words
from hark.postgres.database import Database
from hark.postgres.queries import Queries

CAP_REACHED = "the cap of "
"""How the `why` of a delivery begins that waits for its recipient's cap."""

_SQL = Queries.beside(__file__)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `rate.count` messages in any `rate.per`, but for those that say nothing but transactional reasons."""

    rate: Rate
    transactional: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rate: Rate, catalogue: Catalogue) -> Cap:
        """The cap with the transactional reasons of a catalogue."""
        passing = (reason.name for reason in catalogue.reasons.values() if reason.category is Category.TRANSACTIONAL)
        return cls(rate, frozenset(passing))

    def counts(self, reasons: Iterable[str]) -> bool:
        """Whether a message of these reasons counts: one reason of category activity is enough, and so is none."""
        said = set(reasons)
        return not said or not said <= self.transactional

    def why(self) -> str:
        """Why a message waits: `the cap of 20 a day is reached`."""
        return f"{CAP_REACHED}{rate_in_words(self.rate)} is reached"


@dataclass(frozen=True, slots=True)
class _Judged:
    id: int
    marked: bool


async def mark_within(
    database: Database, deliveries: Sequence[Rechecked], cap: Cap, now: datetime
) -> tuple[set[int], int]:
    """SENDING → SENT (unknown) as `settle.mark` does it, up to each recipient's cap; the rest SENDING → PENDING.

    What is held back is due again when the cap lets it, says why, and has not used up an attempt.

    Returns:
        The ids that may be handed over, and how many others were held back.
    """
    judged = await database.fetch(
        _SQL["mark_within"],
        _Judged,
        {
            **arrays(deliveries),
            "whys": [delivery.sentence() for delivery in deliveries],
            **notes(deliveries),
            "counts": [cap.counts(delivery.counts) for delivery in deliveries],
            "cap": cap.rate.count,
            "per_us": cap.rate.per // _MICROSECOND,
            "over": cap.why(),
            "now": now,
        },
    )
    marked = {row.id for row in judged if row.marked}
    return marked, len(judged) - len(marked)


async def uncount(
    database: Database, channel: Channel, untaken: Sequence[Rechecked], cap: Cap, marked_at: datetime
) -> None:
    """Give the places of deliveries that were marked at `marked_at`, and certainly not taken, to others."""
    counted = [delivery.recipient_id for delivery in untaken if cap.counts(delivery.counts)]
    if counted:
        await database.execute(_SQL["uncount"], {"recipients": counted, "channel": channel, "at": marked_at})
