"""What recipients choose for themselves: stored, and what waits moves along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hark.catalogue import Channel, Frequency
from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries
from hark.switching import Switch, move_waiting

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class _Reason:
    name: str
    frequency: str


async def choose(
    database: Database,
    recipient: str,
    reason: str,
    now: datetime,
    *,
    channels: Iterable[Channel] | None = None,
    frequency: Frequency | None = None,
) -> None:
    """Store a recipient's own choice for a reason. None leaves that half as it was.

    With another frequency, what waits for the reason moves to the message of that one, in the same transaction.

    Raises:
        BadInput: the database knows no such reason, or neither half is given.
    """
    if channels is None and frequency is None:
        raise BadInput(f"no choice given for {reason}: name channels, a frequency, or both")
    await _known_reason(database, reason)
    given = {
        "recipient": recipient,
        "reason": reason,
        "channels": None if channels is None else Jsonb([str(channel) for channel in channels]),
        "frequency": frequency,
        "now": now,
    }
    async with database.transaction() as connection:
        await _note_return(connection, database.schema, recipient, reason, now)
        await connection.execute(_SQL["choose"].text(database.schema), given)
        if frequency is not None:
            switch = Switch(recipient, reason, frequency, own=True)
            await move_waiting(connection, database.schema, [switch], now)


async def unchoose(database: Database, recipient: str, reason: str, now: datetime) -> None:
    """Forget a recipient's own choice for a reason: the catalogue's defaults hold again, for what waits, too.

    Raises:
        BadInput: the database knows no such reason.
    """
    default = Frequency((await _known_reason(database, reason)).frequency)
    async with database.transaction() as connection:
        given = {"recipient": recipient, "reason": reason, "now": now}
        await _note_return(connection, database.schema, recipient, reason, now)
        await connection.execute(_SQL["unchoose"].text(database.schema), given)
        await move_waiting(connection, database.schema, [Switch(recipient, reason, default, own=False)], now)


async def _note_return(
    connection: AsyncConnection[Any], schema: str, recipient: str, reason: str, now: datetime
) -> None:
    """Note, before a choice is stored, that what was before `now` is no news to them.

    Only where the reason has a feed and they do not get digests of it as things stand: whoever comes back, or chooses a
    feed for the first time, is not flooded with what was missed.
    """
    given = {"recipients": [recipient], "reasons": [reason], "now": now}
    await connection.execute(_SQL["note_return"].text(schema), given)


async def _known_reason(database: Database, reason: str) -> _Reason:
    known = {row.name: row for row in await database.fetch(_SQL["known_reasons"], _Reason)}
    if reason not in known:
        raise BadInput(f"no reason {reason!r}; the catalogue has {', '.join(sorted(known)) or 'none'}")
    return known[reason]
