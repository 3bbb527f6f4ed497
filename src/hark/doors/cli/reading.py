"""Arguments as people write them: JSON, moments, `1h` ago."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from hark.errors import BadInput

T = TypeVar("T")


def json_object(text: str, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadInput: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f'{name}: {_quoted(text)} is not JSON ({error}); write {{"app": "GitHub"}}') from None
    if not isinstance(value, dict):
        raise BadInput(f'{name}: {_quoted(text)} is not a JSON object; write {{"app": "GitHub"}}')
    return value


def moment(text: str, name: str) -> datetime:
    """An ISO 8601 time; without a zone it is this machine's.

    Raises:
        BadInput: it is none.
    """
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise BadInput(f"{name}: {_quoted(text)} is not a time; write 2026-11-23T14:02:11+01:00") from None


def since(text: str, now: datetime) -> datetime:
    """A moment in the past: a duration ago, or an ISO 8601 time.

    Raises:
        BadInput: it is neither.
    """
    from hark.durations import parse_duration

    try:
        return now - parse_duration(text)
    except BadInput:
        return moment(text, "--since")
    except OverflowError:
        raise BadInput(f"--since: {_quoted(text)} ago was before the calendar began") from None


def parsed(text: str | None, parse: Callable[[str], T], name: str) -> T | None:
    """An option as `parse` reads it, if it is given.

    Raises:
        BadInput: it cannot be read; names the option.
    """
    try:
        return None if text is None else parse(text)
    except BadInput as refusal:
        raise BadInput(f"{name}: {refusal}") from None


def _quoted(text: str) -> str:
    from hark.catalogue.wording import quoted

    return quoted(text)
