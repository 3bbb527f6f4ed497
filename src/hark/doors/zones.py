"""Whether Postgres and Python know the same clocks: each has zone data of its own, of its own age.

By Postgres's a message is due, by Python's it says a time. Where a country changed its rules between the two, a digest
comes at its hour, and the times in it are an hour off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)
_WEEKS = 53

Offset = Callable[[str, datetime], timedelta | None]
"""How far clocks of a zone are ahead of UTC at a moment; None: there is no such zone."""


@dataclass(frozen=True, slots=True)
class Differing:
    """A zone that recipients live in, and who knows it. Known to both: `since` is when clocks first differ, aware."""

    zone: str
    by_postgres: bool
    by_caller: bool
    since: datetime | None


def by_python(zone: str, at: datetime) -> timedelta | None:
    """What Python knows of a zone's clocks, from the system's zone data or the package `tzdata`."""
    try:
        return at.astimezone(ZoneInfo(zone)).utcoffset()
    except (KeyError, ValueError, OSError):
        return None


async def differing(database: Database, now: datetime, offset: Offset | None = None) -> list[Differing]:
    """The zones of recipients whose clocks Postgres and Python take for other ones in the year to come, week by week.

    Args:
        now: the first moment that is compared, aware.
        offset: what Python knows; None: `by_python`.
    """
    known = list(_known(now, offset or by_python))
    given = {
        "zones": [zone for zone, _, _ in known],
        "moments": [at for _, at, _ in known],
        "seconds": [seconds for _, _, seconds in known],
    }
    return await database.fetch(_SQL["differing"], Differing, given)


def in_words(each: Differing) -> str:
    """One line for people."""
    if not each.by_postgres:
        return f"{each.zone}: Postgres knows no such zone" + ("" if each.by_caller else ", nor does Python")
    if each.since is None:
        return f"{each.zone}: Python knows no such zone, and takes it for UTC"
    return f"{each.zone}: other clocks by Postgres than by Python, seen for {each.since:%Y-%m-%d}"


def _known(now: datetime, offset: Offset) -> Iterator[tuple[str, datetime, int]]:
    moments = [now + timedelta(weeks=week) for week in range(_WEEKS)]
    for zone in sorted(available_timezones()):
        for at in moments:
            ahead = offset(zone, at)
            if ahead is not None:
                yield zone, at, int(ahead.total_seconds())
