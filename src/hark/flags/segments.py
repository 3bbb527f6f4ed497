"""Segments: saved, named sets of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hark.catalogue.wording import quoted
from hark.errors import BadInput
from hark.lists import LONGEST_ID, id_fault
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class _Version:
    version: int


async def put_segment(database: Database, name: str, members: Sequence[str], now: datetime) -> int:
    """Make these users the members of a segment, whoever was before.

    Returns:
        The segment's version: 1 when it is new, else one more than it had.

    Raises:
        BadInput: the name, or an id of a member, cannot be one.
    """
    faults = [] if 1 <= len(name) <= LONGEST_ID and name.isprintable() else [f"{quoted(name)} is no name for a segment"]
    faults += [f"{quoted(each)} {why}" for each in members if (why := id_fault(each))]
    if faults:
        raise BadInput("\n".join(faults))
    given = {"segment": name, "members": list(members), "now": now}
    return (await database.one(_SQL["put_segment"], _Version, given)).version
