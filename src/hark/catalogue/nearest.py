"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that someone who wrote `name` may have meant, whatever its case; None: none is near."""
    by_lower = {each.lower(): each for each in names}
    found = get_close_matches(name.lower()[:200], by_lower, n=1)
    return by_lower[found[0]] if found else None


def no_such(what: str, name: str, names: Iterable[str]) -> str:
    """`no such user type; did you mean Students?`, or else which there are."""
    known = list(names)
    meant = nearest(name, known)
    if meant:
        return f"no such {what}; did you mean {meant}?"
    return f"no such {what}; there is {', '.join(known)}" if known else f"no such {what}; there is none"
