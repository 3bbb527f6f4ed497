"""The values that bodies, queries and paths are made of, each refused in Hark's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from hark.catalogue.wording import quoted, shown
from hark.doors.files.cells import Faulty, address_of, local_time, weekday

T = TypeVar("T")

LARGEST = 2**63 - 1
AT_ONCE = 1000
"""How many recipients, pairs or events one call may speak of."""

_LONGEST = 255
_DEEPEST = 100
_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_FIRST, _LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)


class Body(BaseModel):
    """What a call sends; a field that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def fault(what: str) -> PydanticCustomError:
    """What a validator raises: the words stand as they are."""
    return PydanticCustomError("hark", "{what}", {"what": what})


def _storable(text: str) -> str:
    if "\0" in text:
        raise fault("has a NUL character, which Postgres cannot store")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise fault(f"{quoted(text)} has a control character")
    return text


def _moment(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None:
        raise fault(f"{shown(value)} is not a time; write 2026-11-23T14:02:11+01:00")
    if at.utcoffset() is None:
        raise fault(f"{shown(value)} has no zone; write 2026-11-23T14:02:11+01:00, or Z for UTC")
    if not _FIRST <= at <= _LAST:
        raise fault(f"{shown(value)} is not between the years 1900 and 9998")
    return at


def _of_a_cell(read: Callable[[Any], T]) -> Callable[[object], T]:
    """What a text says, as files say it, too."""

    def parse(value: object) -> T:
        if not isinstance(value, str):
            raise fault(f"{shown(value)} is not a text")
        try:
            return read(value)
        except Faulty as refused:
            raise fault(str(refused)) from None

    return parse


def _shallow(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise fault(f"is nested deeper than {_DEEPEST} levels")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _document(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object that Postgres can store."""
    _shallow(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise fault("has bytes or half characters that are not UTF-8") from None
    except ValueError:
        raise fault("has NaN or an infinity, which JSON does not have") from None
    if _JSON_NUL.search(text):
        raise fault("has a NUL character, which Postgres cannot store")
    return value


def _address(value: str) -> str:
    try:
        return address_of(value)
    except Faulty as refused:
        raise fault(str(refused)) from None


Name = Annotated[str, Field(strict=True, min_length=1, max_length=_LONGEST), AfterValidator(_storable)]
"""A recipient, an entity, a reason, a key."""

Word = Annotated[Name, AfterValidator(_one_line)]
"""A name that tables and terminals show."""

After = Annotated[
    str,
    Field(max_length=_LONGEST, description="Only those behind it: `next` of the page before."),
    AfterValidator(_storable),
]

Text = Annotated[str, Field(strict=True, min_length=1, max_length=1000), AfterValidator(_storable)]

Address = Annotated[str, Field(strict=True, max_length=1000), AfterValidator(_address)]

Flag = Annotated[bool, Field(strict=True)]

Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A time with a zone."""

LocalTime = Annotated[time, BeforeValidator(_of_a_cell(local_time))]
"""A time of day on somebody's own clock: `07:30`."""

Weekday = Annotated[int, BeforeValidator(_of_a_cell(weekday), json_schema_input_type=str)]
"""A day of the week by its name."""

Document = Annotated[dict[str, Any], AfterValidator(_document)]
"""A JSON object that Postgres can store."""

Number = Annotated[int, Field(ge=1, le=LARGEST)]
"""An event or a backfill in a path."""

GivenEvent = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
"""An event in a body."""

Limit = Annotated[int, Field(ge=1, le=AT_ONCE, description="How many at most.")]

Before = Annotated[int | None, Field(ge=1, le=LARGEST, description="Only older ones: `next` of the page before.")]
