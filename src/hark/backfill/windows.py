"""The hours that a backfill may work in: `20:00-06:00`, in a time zone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

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
        """When one may work: now, or the next time that it opens."""
        if self.is_open(now):
            return now
        today = now.astimezone(ZoneInfo(self.zone)).date()
        return next(at for at in (self._opening(today + timedelta(days=ahead)) for ahead in range(4)) if at > now)

    def _opening(self, day: date) -> datetime:
        """In local time; a time that a change of clocks skips is the first that there is after it."""
        at = datetime.combine(day, self.opens, ZoneInfo(self.zone)).astimezone(UTC)
        return at if self.is_open(at) else at + timedelta(hours=1)


def parse_window(text: str, zone: str = "UTC") -> Window:
    """Read `20:00-06:00` or `20:00-06:00 Europe/Berlin`.

    Raises:
        BadInput: it is not of that form, is empty, or its zone is not known.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise BadInput(f"{text!r} is not a window; write 20:00-06:00 or 20:00-06:00 Europe/Berlin")
    window = Window(parse_local_time(found[1]), parse_local_time(found[2]), found[3] or zone)
    if window.opens == window.closes:
        raise BadInput(f"{text!r} closes when it opens; leave the window out to work at any time")
    try:
        ZoneInfo(window.zone)
    except (ValueError, OSError, KeyError):
        raise BadInput(f"no time zone {window.zone!r}; write an IANA name like Europe/Berlin") from None
    return window
