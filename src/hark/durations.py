"""Durations (`4m`), rates (`100/s`), times of day (`08:00`) and weekdays, as people write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import time, timedelta

from hark.errors import BadInput

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""As they are written; their places are how `Calendar.weekday` counts."""

_MILLISECOND = timedelta(milliseconds=1)
_UNITS = {
    "ms": _MILLISECOND,
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_RATE_UNITS = ("s", "m", "h", "d")
_A_PERIOD = {"s": "a second", "m": "a minute", "h": "an hour", "d": "a day"}
_DURATION = re.compile(r"([0-9]{1,18})(ms|s|m|h|d)")
_RATE = re.compile(r"([1-9][0-9]{0,8})/([smhd])")
_LOCAL_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")

_WORDS = {"s": "sec", "m": "min", "h": "hour", "d": "day", "ms": "milli"}
_SAID = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)[ _]*([a-z]+)")
_SAID_RATE = re.compile(r"([1-9][0-9]{0,8})\s*(?:/|per|an?|each)\s*([a-z]+)")
_SAID_TIME = re.compile(r"([0-9]{1,2})(?:[:.h]([0-9]{2}))?(?::[0-9]{2}(?:\.[0-9]+)?)?\s*(am|pm)?")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` (at least 1) in each `per` (a second, a minute, an hour or a day)."""

    count: int
    per: timedelta


def parse_duration(text: str) -> timedelta:
    """Read `500ms`, `90s`, `4m`, `1h` or `7d`: one whole number and one unit. `0s` is read too.

    Raises:
        BadInput: not of that form, or longer than a `timedelta` can be; says what to write where that can be guessed.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        meant = _meant_duration(text)
        raise BadInput(f"{_quoted(text)} is not a duration; write {meant or '90s, 4m, 1h or 7d'}")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise BadInput(f"{_quoted(text)} is longer than the calendar; write 90s, 4m, 1h or 7d") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that divides it: `90s`, `4m`, `7d`; what is below a millisecond is cut off.

    Raises:
        ValueError: it is negative.
    """
    if duration < timedelta(0):
        raise ValueError(f"{duration} is negative, and no duration says that")
    if duration < _MILLISECOND:
        return "0s"
    whole = duration - duration % _MILLISECOND
    unit = max((unit for unit in _UNITS if not whole % _UNITS[unit]), key=_UNITS.__getitem__)
    return f"{whole // _UNITS[unit]}{unit}"


def parse_rate(text: str) -> Rate:
    """Read `100/s`, `30/m`, `2/h` or `5/d`.

    Raises:
        BadInput: not of that form.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise BadInput(f"{_quoted(text)} is not a rate; write {_meant_rate(text) or '100/s, 30/m, 2/h or 5/d'}")
    return Rate(int(match[1]), _UNITS[match[2]])


def format_rate(rate: Rate) -> str:
    """Write a rate as `parse_rate` reads it.

    Raises:
        ValueError: its `per` is not a second, a minute, an hour or a day.
    """
    for unit in _RATE_UNITS:
        if _UNITS[unit] == rate.per:
            return f"{rate.count}/{unit}"
    raise ValueError(f"a rate is per second, minute, hour or day, not per {rate.per}")


def rate_in_words(rate: Rate) -> str:
    """A rate for people: `20 a day`, `2 an hour`."""
    return f"{rate.count:,} {_A_PERIOD[format_rate(rate).partition('/')[2]]}"


def parse_local_time(text: str) -> time:
    """Read `08:00`: an hour and a minute in whatever zone it is meant.

    Raises:
        BadInput: not of that form.
    """
    match = _LOCAL_TIME.fullmatch(text)
    if match is None:
        raise BadInput(f"{_quoted(text)} is not a time of day; write {_meant_time(text) or '08:00'}")
    return time(int(match[1]), int(match[2]))


def format_local_time(at: time) -> str:
    """Write a time of day as `08:00`."""
    return f"{at.hour:02}:{at.minute:02}"


def parse_weekday(text: str) -> int:
    """Read `monday` or `mon`, in any case; counts from Monday, 0.

    Raises:
        BadInput: no weekday.
    """
    for number, name in enumerate(WEEKDAYS):
        if text.lower() in (name, name[:3]):
            return number
    raise BadInput(f"{_quoted(text)} is not a weekday; write {', '.join(WEEKDAYS[:-1])} or {WEEKDAYS[-1]}")


def format_weekday(number: int) -> str:
    """Write a weekday; 0 is `monday`."""
    return WEEKDAYS[number]


def _quoted(text: str) -> str:
    """In quotes, in ASCII: nothing in it can move a terminal's cursor."""
    return json.dumps(text if len(text) <= 60 else f"{text[:60]}...")


# What was meant ------------------------------------------------------------------------------------------------------


def _meant_duration(text: str) -> str | None:
    """`4 minutes`, `1h30m`, `1.5 h` or a bare `240` as it should be written."""
    said = text.strip().lower().removeprefix("-").strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return format_duration(timedelta(seconds=int(said)))
    parts = _SAID.findall(said)
    units = [_meant_unit(word, tuple(_UNITS)) for _, word in parts]
    if not parts or None in units or re.sub(r"[\s,]|\band\b", "", _SAID.sub("", said)):
        return None
    try:
        meant = sum(
            (float(number) * _UNITS[unit or ""] for (number, _), unit in zip(parts, units, strict=True)), timedelta(0)
        )
    except OverflowError:
        return None
    return format_duration(meant) if meant else None


def _meant_rate(text: str) -> str | None:
    match = _SAID_RATE.fullmatch(text.strip().lower())
    unit = _meant_unit(match[2], _RATE_UNITS) if match else None
    return f"{match[1]}/{unit}" if match and unit else None


def _meant_time(text: str) -> str | None:
    """`8:00`, `8 am`, `8pm` or `08:00:00` as it should be written."""
    match = _SAID_TIME.fullmatch(text.strip().lower())
    if match is None:
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[3] == "pm" else 0)
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None


def _meant_unit(word: str, units: tuple[str, ...]) -> str | None:
    """The unit that a word such as `minutes`, `mins` or `m` names."""
    if word in units:
        return word
    return next((unit for unit in units if word.startswith(_WORDS[unit])), None) or (
        "h" if word in ("hr", "hrs") else None
    )
