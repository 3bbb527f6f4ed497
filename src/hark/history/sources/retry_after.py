"""Retry-After in every form: whole seconds, the three forms of a date, and what servers write instead of these."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LONGEST = timedelta(days=1)
"""Nobody is waited for any longer, whatever they say."""

_SECONDS = re.compile(r"([0-9]{1,400})(?:\.([0-9]{1,400}))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_TIME = r"(?P<h>[0-9]{2}):(?P<m>[0-9]{2}):(?P<s>[0-9]{2})"
# As RFC 9110, RFC 850 and asctime have them.
_DATES = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_DAY}, *(?P<day>[0-9]{{1,2}}) (?P<month>[a-z]{{3}}) (?P<year>[0-9]{{4}}) {_TIME} (?:gmt|utc|[+-]0000)",
        rf"{_DAY}, *(?P<day>[0-9]{{1,2}})-(?P<month>[a-z]{{3}})-(?P<year>[0-9]{{2}}) {_TIME} (?:gmt|utc)",
        rf"{_DAY} (?P<month>[a-z]{{3}}) {{1,2}}(?P<day>[0-9]{{1,2}}) {_TIME} (?P<year>[0-9]{{4}})",
    )
)


def retry_after(said: str | None, date: str | None, now: datetime) -> timedelta | None:
    """How long a server wants to be left alone; None: it does not say, or nothing that can be understood.

    Args:
        said: the Retry-After header.
        date: the Date header: a date is counted from it, so that it does not matter how the server's clock goes.
        now: what is taken for Date where there is none.

    Returns:
        From nothing (it is over) to `LONGEST`. A fraction of a second counts; what is negative is nonsense.
    """
    text = (said or "").strip()
    if seconds := _SECONDS.fullmatch(text):
        return _bounded(seconds)
    until = parse_date(text, now)
    if until is None:
        return None
    since = parse_date((date or "").strip(), now) or now
    return min(max(until - since, timedelta(0)), LONGEST)


def parse_date(text: str, now: datetime) -> datetime | None:
    """A date of HTTP, in any of its three forms; None: it is none.

    Args:
        now: two figures of a year are of the century that brings it within fifty years ahead of this (RFC 9110, 5.6.7).
    """
    for form in _DATES:
        if found := form.fullmatch(text):
            return _moment(found, now)
    return None


def _bounded(seconds: re.Match[str]) -> timedelta:
    whole = seconds[1].lstrip("0")
    if len(whole) > 6:
        return LONGEST
    part = int((seconds[2] or "0")[:6].ljust(6, "0"))
    return min(timedelta(seconds=int(whole or "0"), microseconds=part), LONGEST)


def _moment(found: re.Match[str], now: datetime) -> datetime | None:
    month = found["month"].lower()
    if month not in _MONTHS:
        return None
    year = int(found["year"]) if len(found["year"]) == 4 else _near(int(found["year"]), now.year)
    second = min(int(found["s"]), 59)  # a leap second
    try:
        return datetime(
            year, _MONTHS.index(month) + 1, int(found["day"]), int(found["h"]), int(found["m"]), second, tzinfo=UTC
        )
    except ValueError:
        return None


def _near(figures: int, year: int) -> int:
    whole = year - year % 100 + figures
    return whole - 100 if whole > year + 50 else whole
