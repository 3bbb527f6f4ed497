"""Which users of a cohort come next: the part of a statement that every kind's planning begins with."""

from __future__ import annotations

from dataclasses import dataclass

from hark.backfill.kind import Connection, Span
from hark.postgres.database import fetch
from hark.postgres.queries import Queries, chain

_SQL = Queries.beside(__file__)

SPANNED = _SQL["spanned"]
"""`spanned(recipient_id, place)`: the users of a span, and which batch of it each is in, from 0."""

EXTENT = chain(SPANNED, end=_SQL["extent"])


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a span reaches: how many users each of its batches has, and the last of all (None: nobody is left)."""

    members: list[int]
    last: str | None


def spanning(span: Span) -> dict[str, object]:
    """What `SPANNED` must be given."""
    return {"cohort": span.cohort, "after": span.after, "size": span.size, "members": span.members}


async def extent(connection: Connection, span: Span) -> Extent:
    """How far a span reaches."""
    (found,) = await fetch(connection, EXTENT, Extent, spanning(span))
    return found
