"""Where and when a reader is: zones, short times, languages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?(?![A-Za-z0-9])")
_RIGHT_TO_LEFT = frozenset(("ar", "ckb", "dv", "fa", "he", "iw", "ps", "sd", "ug", "ur", "yi"))


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The rules of an IANA zone; UTC for a name that is none, because a wrong hour is better than no mail."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


def localised(at: datetime, zone: tzinfo) -> datetime:
    """An aware time as the clocks of the zone show it."""
    try:
        return at.astimezone(zone)
    except OverflowError:  # within a day of the calendar's end
        return at


def when(at: datetime, now: datetime) -> str:
    """A time in as few words as its reader needs: `14:02`, `3 May, 14:02` or `3 May 2025, 14:02`; both local."""
    clock = f"{at.hour:02}:{at.minute:02}"
    if at.date() == now.date():
        return clock
    year = "" if at.year == now.year else f" {at.year}"
    return f"{at.day} {_MONTHS[at.month - 1]}{year}, {clock}"


@lru_cache(maxsize=1024)
def language_of(locale: str) -> tuple[str, str]:
    """A locale as HTML's `lang` and `dir`: `de_AT.UTF-8` is `de-AT`, `ltr`. What is no locale counts as English."""
    match = _LOCALE.match(locale)
    if match is None:
        return "en", "ltr"
    language = match[1].lower()
    tag = "-".join(part for part in (language, *match.groups()[1:]) if part)
    return tag, "rtl" if language in _RIGHT_TO_LEFT else "ltr"
