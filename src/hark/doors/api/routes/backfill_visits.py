"""A caller at the engine of backfills: what is there, and what is written down of what they did."""

from __future__ import annotations

from collections.abc import Mapping

from hark.access.audit import Act
from hark.doors.api.backfills import Backfills, Shown
from hark.doors.api.door import Visit
from hark.doors.api.problems import not_found

BRIEF = 500
"""Characters of a refusal that the audit log keeps."""


async def noted(visit: Visit, number: int, what: Act, detail: Mapping[str, object] | None = None) -> None:
    """When it is done, or was refused: that somebody tried is worth knowing, too."""
    await visit.note(visit.database, what, f"backfill:{number}", detail)


async def found_one(visit: Visit, number: int) -> Shown:
    found = await backfills_of(visit).show(number)
    if found is None:
        raise not_found(f"there is no backfill {number}; GET /admin/backfill lists those there are")
    return found


def backfills_of(visit: Visit) -> Backfills:
    assert visit.door.backfills is not None, "build_api leaves these routes out where there is no engine"
    return visit.door.backfills
