"""What recipients choose for themselves: stored, and what waits moves along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hark.catalogue import Channel, Frequency
from hark.errors import BadInput, UnknownReason
from hark.postgres.database import Database
from hark.postgres.queries import Queries
from hark.switching import Switch, move_waiting

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class _Reason:
    name: str
    frequency: str
    has_feed: bool


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
        UnknownReason: the database knows no such reason.
        BadInput: neither half is given, or the reason has a feed and the frequency is one that no digest comes in.
    """
    if channels is None and frequency is None:
        raise BadInput(f"no choice given for {reason}: name channels, a frequency, or both")
    known = await _known_reason(database, reason)
    if known.has_feed and frequency in (Frequency.IMMEDIATE, Frequency.BATCHED):
        raise BadInput(f"{reason} comes as a digest: daily, weekly or never, not {frequency}")
    given = {
        "recipient": recipient,
        "reason": reason,
        "channels": None if channels is None else Jsonb([str(channel) for channel in channels]),
        "frequency": frequency,
        "now": now,
    }
    async with database.transaction() as connection:
        await _note_return(connection, database.schema, given, kept=True)
        await connection.execute(_SQL["choose"].text(database.schema), given)
        if frequency is not None:
            switch = Switch(recipient, reason, frequency, own=True)
            await move_waiting(connection, database.schema, [switch], now)


async def unchoose(database: Database, recipient: str, reason: str, now: datetime) -> None:
    """Forget a recipient's own choice for a reason: the catalogue's defaults hold again, for what waits, too.

    Raises:
        UnknownReason: the database knows no such reason.
    """
    default = Frequency((await _known_reason(database, reason)).frequency)
    async with database.transaction() as connection:
        given = {"recipient": recipient, "reason": reason, "channels": None, "frequency": None, "now": now}
        await _note_return(connection, database.schema, given, kept=False)
        await connection.execute(_SQL["unchoose"].text(database.schema), given)
        await move_waiting(connection, database.schema, [Switch(recipient, reason, default, own=False)], now)


async def _note_return(
    connection: AsyncConnection[Any], schema: str, given: Mapping[str, object], *, kept: bool
) -> None:
    """Note, before a choice is stored, who stops being told of a feed, and who is told of it again.

    Whoever comes back, or chooses a feed for the first time, is not flooded with what was missed. `kept`: a half that
    is not given stays as it was; else it goes back to the catalogue's default.
    """
    pairs = {
        "recipients": [given["recipient"]],
        "reasons": [given["reason"]],
        "channels": [given["channels"]],
        "frequencies": [given["frequency"]],
    }
    await connection.execute(_SQL["note_return"].text(schema), {**pairs, "kept": kept, "now": given["now"]})


async def _known_reason(database: Database, reason: str) -> _Reason:
    known = {row.name: row for row in await database.fetch(_SQL["known_reasons"], _Reason)}
    if reason not in known:
        raise UnknownReason(f"no reason {reason!r}; the catalogue has {', '.join(sorted(known)) or 'none'}")
    return known[reason]
