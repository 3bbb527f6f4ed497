"""When something happened, as histories write it: a Unix time, or ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EXPECTED = "a Unix time like 1082040961 or an ISO time like 2004-04-15T14:56:01Z"

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX = re.compile(r"(-?)([0-9]{1,18})(?:\.([0-9]{1,18}))?")
# From here on a whole number counts milliseconds or microseconds: as seconds it would be past the year 5000.
_MILLISECONDS_FROM = 10**11
_MICROSECONDS_FROM = 10**14


def parse_moment(text: str) -> datetime:
    """Read a time; to the microsecond, what is finer is cut off.

    Args:
        text: a Unix time in seconds (a fraction is read too), milliseconds or microseconds, told apart by their size;
            or ISO 8601, where a time without an offset is UTC.

    Returns:
        The moment in UTC.

    Raises:
        ValueError: not of these forms, or not from 1900 to 2999; says which.
    """
    if not text:
        raise ValueError(f"is empty; expected {EXPECTED}")
    unix = _UNIX.fullmatch(text)
    moment = _iso(text) if unix is None else _unix(text, *unix.groups(default=""))
    if not EARLIEST <= moment < LATEST:
        raise ValueError(f"{text!r} is not between the years 1900 and 2999; expected {EXPECTED}")
    return moment


def _iso(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time; expected {EXPECTED}") from None


def _unix(text: str, sign: str, whole: str, fraction: str) -> datetime:
    number = int(whole)
    if number >= _MICROSECONDS_FROM:
        microseconds = number
    elif number >= _MILLISECONDS_FROM:
        microseconds = number * 1_000
    else:
        microseconds = number * 1_000_000 + int(f"{fraction:0<6.6}")
    try:
        return _EPOCH + timedelta(microseconds=-microseconds if sign else microseconds)
    except OverflowError:
        raise ValueError(f"{text!r} is not between the years 1900 and 2999; expected {EXPECTED}") from None
