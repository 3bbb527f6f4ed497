"""People: how far each user's facts have moved on (`version`), and how far of that the graph has (`projected`).

Whoever changes facts of a user moves them on, under the lock of this row. A mark is only what is thought of the graph,
so it is guarded: it never falls behind what somebody else has marked meanwhile, and is lowered only from what was
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from hark.postgres.database import Database, fetch
from hark.postgres.queries import SCHEMA, Queries

_SQL = Queries.beside(__file__)

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Person:
    """How far a user's facts are, and the graph; `ahead_since`: since when they are further than the graph."""

    user_id: str
    version: int
    projected: int
    changed_at: datetime
    ahead_since: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """The graph has a user at a version."""

    user_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The graph has a user at a lower version (-1: not at all) than was marked when they were compared."""

    user_id: str
    marked: int
    held: int


@dataclass(frozen=True, slots=True)
class _Locked:
    user_id: str


async def ahead(database: Database, limit: int) -> list[Person]:
    """The users whose facts are further than the graph, those first who are so for the longest time."""
    return await database.fetch(_SQL["ahead"], Person, {"limit": limit}, prepare=False)


async def mark(database: Database, marks: Sequence[Mark]) -> int:
    """Note what the graph has now; how many marks were news. One lower than what is noted changes nothing."""
    given = {"users": [each.user_id for each in marks], "versions": [each.version for each in marks]}
    return await database.execute(_SQL["mark"], given)


async def lower(database: Database, lost: Sequence[Lost], *, now: datetime) -> int:
    """Note that the graph has less than was marked, unless the mark is another one by now; how many it was."""
    given = {
        "users": [each.user_id for each in lost],
        "marked": [each.marked for each in lost],
        "held": [each.held for each in lost],
        "now": now,
    }
    return await database.execute(_SQL["lower"], given)


async def lock(connection: Connection, users: Sequence[str], *, schema: str = SCHEMA) -> list[str]:
    """Lock users in their order, until the transaction ends: whose facts may be changed now. Those who are known."""
    rows = await fetch(connection, _SQL["lock"], _Locked, {"users": list(users)}, schema=schema)
    return [row.user_id for row in rows]
