"""The hours that a backfill may work in: `20:00-06:00`, in a time zone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from hark.backfill.reading import Reading
from hark.durations import format_local_time, parse_local_time
from hark.errors import BadInput

_WINDOW = re.compile(r"\s*(\S+?)\s*-\s*(\S+?)(?:\s+(\S+))?\s*")


@dataclass(frozen=True, slots=True)
class Window:
    """From `opens` up to, and without, `closes`, local time of `zone`; over midnight when it closes before it opens."""

    opens: time
    closes: time
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"{format_local_time(self.opens)}-{format_local_time(self.closes)} {self.zone}"

    def is_open(self, now: datetime) -> bool:
        """Whether one may work now."""
        at = now.astimezone(ZoneInfo(self.zone)).time()
        if self.opens < self.closes:
            return self.opens <= at < self.closes
        return at >= self.opens or at < self.closes

    def next_open(self, now: datetime) -> datetime:
        """When one may work: now, or the next time that it opens, were it by a change of clocks."""
        if self.is_open(now):
            return now
        today = now.astimezone(ZoneInfo(self.zone)).date()
        days = [today + timedelta(days=ahead) for ahead in range(-1, _AHEAD)]
        return min(at for day in days for at in self._openings(day) if at > now and self.is_open(at))

    def opened(self, now: datetime) -> datetime | None:
        """Since when one may work; None: one may not."""
        if not self.is_open(now):
            return None
        today = now.astimezone(ZoneInfo(self.zone)).date()
        openings = (at for ahead in range(1 - _AHEAD, 2) for at in self._openings(today + timedelta(days=ahead)))
        return max((at for at in openings if at <= now and not self.is_open(at - _INSTANT)), default=None)

    def _openings(self, day: date) -> list[datetime]:
        """When it may open on a day, or on the next: at its hour, once or twice, or when clocks are changed."""
        zone = ZoneInfo(self.zone)
        at_hour = [datetime.combine(day, self.opens, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
        midnight = datetime.combine(day, time(), zone).astimezone(UTC)
        return [*at_hour, *_changes(midnight, midnight + timedelta(hours=26), zone)]


_INSTANT = timedelta(microseconds=1)

_AHEAD = 5
"""Days to look at: of some, a change of clocks skips the whole window.

A change of the night after a day is found as that day's, too: the first opening that is found is not always the first.
"""


def _changes(since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """When the clocks of a zone are changed within a day, to the second; once at most."""

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    before = offset(since)
    if before == offset(until):
        return []
    while until - since > timedelta(seconds=1):
        middle = since + timedelta(seconds=(until - since) // timedelta(seconds=2))
        since, until = (middle, until) if offset(middle) == before else (since, middle)
    return [until]


def parse_window(text: str, zone: str = "UTC") -> Window:
    """Read `20:00-06:00` or `20:00-06:00 Europe/Berlin`.

    Raises:
        BadInput: it is not of that form; or its ends, its zone, or all of them are none, one a line; or it is empty.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise BadInput(f"{text!r} is not a window; write 20:00-06:00 or 20:00-06:00 Europe/Berlin")
    reading, zone = Reading(), found[3] or zone
    opens, closes = (reading.take(partial(parse_local_time, at)) for at in (found[1], found[2]))
    reading.take(partial(_check_zone, zone))
    if opens is not None and opens == closes:
        reading.faults.append(f"{text!r} closes when it opens; leave the window out to work at any time")
    reading.end()
    assert opens is not None and closes is not None
    return Window(opens, closes, zone)


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise BadInput(f"no time zone {zone!r}; write an IANA name like Europe/Berlin") from None
