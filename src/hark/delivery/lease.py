"""Keep hold of what waits behind a slow hand-over: as long as its worker lives, nobody takes it for lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from hark.clock import Clock
from hark.delivery.recheck import Rechecked
from hark.logs import Log
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_log = Log(__name__)


@asynccontextmanager
async def held(
    database: Database, clock: Clock, waiting: Callable[[], Sequence[Rechecked]], lease: timedelta
) -> AsyncIterator[None]:
    """Renew the leases of what is waiting, as long as the block runs.

    A hand-over may take minutes with a slow provider. Without this, what its worker claimed together with it would be
    claimed again and again meanwhile, and its attempts be used up without one of them having been made.

    Args:
        waiting: says what was claimed and is not marked yet.
        lease: how long from each renewal; it is renewed three times as often.
    """
    renewing = asyncio.create_task(_renew(database, clock, waiting, lease))
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


async def _renew(
    database: Database, clock: Clock, waiting: Callable[[], Sequence[Rechecked]], lease: timedelta
) -> None:
    while True:
        await asyncio.sleep(lease.total_seconds() / 3)
        deliveries = waiting()
        if not deliveries:
            return
        try:
            await database.execute(_SQL["renew"], _given(deliveries, clock, lease))
        except Exception as error:  # the hand-over goes on; at worst the lease runs out
            _log.warning("lease_not_renewed", deliveries=len(deliveries), error=type(error).__name__)


def _given(deliveries: Sequence[Rechecked], clock: Clock, lease: timedelta) -> dict[str, object]:
    return {
        "recipients": [delivery.recipient_id for delivery in deliveries],
        "ids": [delivery.id for delivery in deliveries],
        "attempts": [delivery.attempt for delivery in deliveries],
        "lease_until": clock.now() + lease,
    }
