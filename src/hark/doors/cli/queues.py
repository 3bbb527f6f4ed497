"""How full the queues are that loads are driven through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hark.backfill.listing import Shown
    from hark.postgres.database import Database


@dataclass(frozen=True, slots=True)
class Asked:
    """One queue: about how many messages wait and are in flight; or why that is not known."""

    url: str
    waiting: int | None = None
    in_flight: int | None = None
    why: str = ""

    def line(self) -> str:
        """For people."""
        return f"queue {self.url}: {self._known()}"

    def brief(self) -> str:
        """The same beside other things: whoever looks has named the queue."""
        return f"queue: {self._known()}"

    def _known(self) -> str:
        return f"{self.waiting:,} waiting, {self.in_flight:,} in flight" if self.waiting is not None else self.why


async def ask(database: Database, backfills: Sequence[int]) -> list[Asked]:
    """The queues that steps of these runs are driven through now."""
    from hark.backfill.kinds.history import queues_of

    return [await _ask(url) for url in await queues_of(database, backfills)]


async def with_queue(database: Database, seen: Shown) -> Shown:
    """A backfill, and how full the queue is that its steps are driven through, if they are."""
    asked = await ask(database, [seen.head.id])
    return replace(seen, more={**(seen.more or {}), "queue": asdict(asked[0])}) if asked else seen


async def _ask(url: str) -> Asked:
    from hark.errors import HarkError
    from hark.history.loading.queue import check_queue

    try:
        depth = await check_queue(url)
    except HarkError as error:
        return Asked(url, why=str(error))
    return Asked(url, depth.waiting, depth.in_flight)
