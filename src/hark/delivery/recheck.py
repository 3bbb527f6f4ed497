"""Recheck at the last moment what is still to be said, and load it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from hark.delivery.claim import Claimed
from hark.delivery.payloads import moment, read
from hark.postgres.database import Database
from hark.postgres.queries import Queries
from hark.rendering import LISTED, Batch, Item

_SQL = Queries.beside(__file__)

NOTED = 1000
"""Of how many left-out items a delivery notes each one, and how many of a reason are asked about."""

_IN_WORDS = {
    "read": "read in app",
    "archived": "archived in app",
    "unknown_recipient": "whose recipient is gone",
    "unsubscribed": "unsubscribed or muted since",
    "unknown_type": "whose user type the catalogue no longer has",
    "inactive": "for a recipient no longer active",
    "not_offered": "no longer offered to the user type",
    "malformed": "with a preference that cannot be read",
    "never": "muted since",
    "muted": "about what they muted",
    "own_channels": "not wanted by e-mail any more",
    "default_channels": "not sent by e-mail any more",
    "no_address": "without an address",
    "unconfirmed": "with an unconfirmed address",
    "not_opted_in": "not opted in any more",
    "suppressed": "with an address that its provider refused",
    "deleted": "deleted since",
    "private": "made private since",
    "blocked": "from someone blocked since",
    "edited": "edited away since",
    "gone": "not there any more",
    "unasked": "beyond what is asked about",
    "uncounted": "behind them, not counted any more",
}

ITEMS = "items"
"""Why nothing is said of a digest: each of its items was left out by itself."""

_WORDS_FOR = 10
"""For how many different whys a sentence has words; what products say may be of many kinds."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """A held delivery with what is left of it: `total` items, so many of each reason (`counts`).

    `items` are the newest of the events, oldest first, as JSON: a payload that Python cannot read must not stop the
    others. `tries` are the attempts that count: those that ended at the recipient's cap do not. `dropped` counts what
    is not said any more by why, `left_out` says it of each (by the event's id, or by `reason/key` for an item of a
    feed), the newest thousand. `listed` stands for `items` once feeds were added and rechecks asked
    (`hark.delivery.ask`); `unchecked` says why that could not be done, and then nothing may be sent. `silent` names the
    reasons of whose digests nothing is said, and why (`ITEMS`: each was left out by itself): such a one covers nothing.
    `uncounted`: there are others, and how many of them may still be said, nobody knows.
    """

    recipient_id: str
    id: int
    attempt: int
    tries: int
    at_least_once: bool
    address: str
    zone: str
    locale: str
    total: int
    items: str
    counts: Mapping[str, int]
    dropped: Mapping[str, int]
    left_out: Mapping[str, str] | None
    frequency: str = ""
    listed: Sequence[Item] | None = None
    unchecked: str = ""
    silent: Mapping[str, str] | None = None
    uncounted: bool = False

    def batch(self) -> Batch:
        """The delivery as rendering takes it.

        Raises:
            RenderingFailed: a payload that Postgres could hold cannot be read here (nested too deep).
        """
        return Batch(
            delivery_id=self.id,
            recipient_id=self.recipient_id,
            address=self.address,
            zone=self.zone,
            locale=self.locale,
            items=self.events() if self.listed is None else self.listed,
            total=self.total,
            counts=self.counts,
            uncounted=self.uncounted,
        )

    def events(self) -> list[Item]:
        """The loaded notifications, oldest first.

        Raises:
            RenderingFailed: as of `batch`.
        """
        return [_item(*fields) for fields in read(self.items)]

    def sentence(self) -> str:
        """What the recheck found, for people: `13 of 14 items left: 1 read in app`."""
        if not self.dropped:
            return "its one item is still wanted" if self.total == 1 else f"all {self.total} items are still wanted"
        by_count = sorted(self.dropped.items(), key=itemgetter(1), reverse=True)
        words = ", ".join(f"{count} {_IN_WORDS.get(why, why)}" for why, count in by_count[:_WORDS_FOR])
        if others := sum(count for _, count in by_count[_WORDS_FOR:]):
            words += f", {others} for other reasons"
        return f"{self.total} of {self.total + sum(self.dropped.values())} items left: {words}"


async def recheck(database: Database, held: Sequence[Claimed], asked: Collection[str] = ()) -> list[Rechecked]:
    """What each held delivery still has to say of events; one that is no longer this worker's is left out.

    Args:
        asked: the reasons that have a recheck of the product's: of them more is loaded, to be asked about.
    """
    return await database.fetch(
        _SQL["recheck"],
        Rechecked,
        {
            "recipients": [claimed.recipient_id for claimed in held],
            "ids": [claimed.id for claimed in held],
            "attempts": [claimed.attempt for claimed in held],
            "shown": LISTED,
            "noted": NOTED,
            "asked": list(asked),
        },
    )


def unloaded(claimed: Claimed) -> Rechecked:
    """A delivery that is held and of which nothing could be loaded: enough to give it back."""
    return Rechecked(
        recipient_id=claimed.recipient_id,
        id=claimed.id,
        attempt=claimed.attempt,
        tries=claimed.attempt,
        at_least_once=claimed.at_least_once,
        address="",
        zone="",
        locale="",
        total=0,
        items="[]",
        counts={},
        dropped={},
        left_out=None,
    )


def _item(
    reason: str, event_id: int, at: str, actor: str | None, about: str | None, payload: dict[str, object]
) -> Item:
    return Item(reason, event_id, moment(at), actor, about, payload)
