"""What feeds say in the deliveries that are held: loaded with them, and rechecked as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hark.catalogue import Frequency
from hark.delivery.payloads import moment, read
from hark.delivery.recheck import Rechecked
from hark.postgres.database import Database
from hark.postgres.queries import Queries
from hark.rendering import Item

_SQL = Queries.beside(__file__)

MUTED = "muted"
"""Why an item is not said that is about an entity which its recipient muted."""


@dataclass(frozen=True, slots=True)
class Digested:
    """One reason's digest in a delivery: as JSON the items that it may list, how many of them (`cap`), how many there
    are in all, why none is said, and which of the entities that they are about the recipient muted."""

    recipient_id: str
    delivery_id: int
    reason: str
    items: str
    total: int
    not_said: str | None
    cap: int
    muted: Sequence[str] = ()

    def why_not(self, item: Item) -> str | None:
        """Why one of them is not said; None: it is."""
        return self.not_said or (MUTED if item.about in self.muted else None)

    def listed(self) -> list[Item]:
        """The items, as rendering takes them.

        Raises:
            RenderingFailed: a payload that Postgres could hold cannot be read here (nested too deep), or a time.
        """
        return [
            Item(self.reason, None, moment(at), actor, about, payload, key)
            for key, at, actor, about, payload in read(self.items)
        ]


async def digested(database: Database, held: Sequence[Rechecked]) -> Mapping[int, list[Digested]]:
    """The digests in deliveries, by the deliveries' ids. Only daily and weekly ones hold any."""
    regular = [each for each in held if each.frequency in (Frequency.DAILY, Frequency.WEEKLY)]
    if not regular:
        return {}
    given = {"recipients": [each.recipient_id for each in regular], "ids": [each.id for each in regular]}
    found: dict[int, list[Digested]] = {}
    for digest in await database.fetch(_SQL["digested"], Digested, given):
        found.setdefault(digest.delivery_id, []).append(digest)
    return found
