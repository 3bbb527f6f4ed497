"""People: how far each user's facts have moved on (`version`), and how far of that the graph has (`projected`).

Whoever changes facts of a user moves them on, under the lock of this row. How far the graph has them is only ever
marked by the projection, which guards it: it never falls behind what somebody else has marked meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from hark.postgres.database import fetch
from hark.postgres.queries import SCHEMA, Queries

_SQL = Queries.beside(__file__)

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class _Locked:
    user_id: str


async def lock(connection: Connection, users: Sequence[str], *, schema: str = SCHEMA) -> list[str]:
    """Lock users in their order, until the transaction ends: whose facts may be changed now. Those who are known."""
    rows = await fetch(connection, _SQL["lock"], _Locked, {"users": list(users)}, schema=schema)
    return [row.user_id for row in rows]
