"""What waits moves along when a recipient chooses another frequency, to the message of the new one.

`preferences.choose` calls this in the transaction that stores the choice. Only what no attempt has touched moves: what
a worker has claimed goes out as it was. A fan-out that decided by the choice before, and commits after the switch has
looked, tells by the frequency before: its notification is late to the switch, never lost, and never told twice.

What is switched to `never` stays where it is, for the recheck to drop when it is due: who comes back before that is
told after all. What was decided by `never` has no message, so that coming back later brings no flood of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.catalogue import Frequency
from hark.postgres.database import fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Switch:
    """A recipient is now told of a reason so often; `own`: by their own choice."""

    recipient: str
    reason: str
    frequency: Frequency
    own: bool


@dataclass(frozen=True, slots=True)
class _Held:
    recipient_id: str
    id: int


async def move_waiting(
    connection: AsyncConnection[Any], schema: str, switches: Sequence[Switch], now: datetime
) -> None:
    """Move what waits for these recipients and reasons, in the transaction that is open on `connection`.

    However many there are, it is four statements, and one where nothing waits. Of a recipient and a reason there may
    be one switch only, and its choice is stored in this transaction already: the row's lock keeps other switches of
    the recipient out.
    """
    given = {
        "recipients": [switch.recipient for switch in switches],
        "reasons": [switch.reason for switch in switches],
        "frequencies": [switch.frequency for switch in switches],
        "own": [switch.own for switch in switches],
        "now": now,
    }
    held = await fetch(connection, _SQL["held"], _Held, given, schema=schema)
    if not held:
        return
    held += await fetch(connection, _SQL["held_alone"], _Held, given, schema=schema)
    given |= {"held_recipients": [each.recipient_id for each in held], "held_ids": [each.id for each in held]}
    await connection.execute(_SQL["moved"].text(schema), given)
    await connection.execute(_SQL["given_up"].text(schema), given)
