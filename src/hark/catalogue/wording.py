"""How faults are worded: what was written, shown so that it moves no cursor, and what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time
from difflib import get_close_matches

_SHOWN = 60
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that someone who wrote `name` may have meant, whatever its case; None: none is near."""
    by_lower = {each.lower(): each for each in names}
    found = get_close_matches(name.lower()[:200], by_lower, n=1)
    return by_lower[found[0]] if found else None


def no_such(what: str, name: str, names: Iterable[str]) -> str:
    """`no such user type; did you mean Students?`, or else which there are."""
    known = [printable(each) for each in names]
    meant = nearest(name, known)
    if meant:
        return f"no such {what}; did you mean {meant}?"
    return f"no such {what}; there is {', '.join(known)}" if known else f"no such {what}; there is none"


def printable(text: str) -> str:
    """A text with what cannot be printed escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _ESCAPES.get(each, f"\\u{ord(each):04X}") for each in text)


def quoted(text: str) -> str:
    """A text in quotes, cut where it is long; what cannot be printed is escaped, so that it moves no cursor."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    escaped = cut.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


def shown(value: object) -> str:
    """A value as its author would know it again."""
    match value:
        case str():
            return quoted(value)
        case bool():
            return "true" if value else "false"
        case dict():
            return "a table"
        case list():
            return "a list"
        case date() | time():
            return value.isoformat()
    try:
        text = str(value)
    except ValueError:  # Python refuses to write out integers of more than 4,300 digits
        return "a very long number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
