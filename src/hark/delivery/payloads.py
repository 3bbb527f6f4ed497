"""Payloads as the database writes them: read in one place, so that a bad one stops its own delivery only."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from hark.errors import RenderingFailed

_LONGEST_WHOLE = 4000


def read(text: str) -> Any:
    """What JSON says that Postgres could hold.

    Raises:
        RenderingFailed: it cannot be read here (nested too deep).
    """
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise RenderingFailed(f"a payload cannot be read: {type(error).__name__}") from None


def moment(text: str) -> datetime:
    """When something happened, as Postgres writes it in JSON.

    Raises:
        RenderingFailed: Python has no such time (infinity, the year 12000).
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RenderingFailed("a time cannot be read: it is not between the years 1 and 9999") from None


def can_be_posted(payload: object) -> bool:
    """Whether an endpoint can be told of it: a number too large for Python was read as infinite, which JSON has not."""
    try:
        json.dumps(payload, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def _whole(digits: str) -> int | float:
    """A whole number of any length: Python reads one of thousands of digits only as a float."""
    return int(digits) if len(digits) < _LONGEST_WHOLE else float(digits)


_JSON = json.JSONDecoder(parse_int=_whole)
"""Made once: `json.loads` makes one for each text that it is to read otherwise than usual."""
