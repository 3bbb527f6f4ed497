"""Avro: messages as a schema registry's clients write them, turned into the JSON that their topic's contract speaks.

A message begins with a zero and the number of its schema, four bytes, the highest first; then comes what the schema
says. Schemas are asked of the registry once each, before a chunk is read, and kept. One that is away is waited for: the
chunk is taken again. One that has no such schema makes a dead letter, which can be replayed when it has.

Needs the extra `avro`.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.parse import quote
from uuid import UUID

from hark.errors import BadInput, Unreachable
from hark.guarded.client import Answer, Guarded

_HEAD = 5
_ASK_AGAIN_S = 60.0
"""So long it is believed that the registry does not have a schema."""
_MOST_REFERENCES = 100


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why the messages of a schema cannot be read, and until when that is believed (of a clock that only runs on)."""

    cause: str
    until: float = float("inf")


@dataclass(slots=True)
class Schemas:
    """What a registry has, as far as it was asked.

    Attributes:
        url: where the registry is: what stands before `/schemas`.
        login: `KEY:SECRET`, which it is shown; None: nothing.
    """

    url: str
    client: Guarded
    login: str | None = None
    _known: dict[int, Any] = field(default_factory=dict, repr=False)

    async def learn(self, values: Iterable[bytes | None]) -> None:
        """Ask for the schemas of these messages that are not known yet.

        Raises:
            Unreachable: the registry does not answer, or not as one does; take the chunk again.
            Blocked: it is somewhere that may not be called.
        """
        numbers = {number_of(value) for value in values if is_framed(value)}
        for number in sorted(each for each in numbers if not self._is_known(each)):
            self._known[number] = await self._ask(number)

    def as_json(self, value: bytes) -> bytes:
        """A message, as JSON; after `learn`.

        Raises:
            ValueError: it cannot be read; says why, without a value of it.
        """
        from fastavro import schemaless_reader

        number = number_of(value)
        schema = self._known.get(number)
        if schema is None or isinstance(schema, Unusable):
            raise ValueError(schema.cause if schema else f"its schema {number} was not asked for")
        body = BytesIO(value[_HEAD:])
        try:
            said = schemaless_reader(body, schema, None)
            text = json.dumps(said, default=_plain, allow_nan=False).encode()
        except Exception as error:  # whatever a decoder meets in bytes that are no message of this schema
            raise ValueError(f"it is not what its schema {number} says: {type(error).__name__}") from None
        if left := len(value) - _HEAD - body.tell():
            raise ValueError(f"it is not what its schema {number} says: {left:,} bytes are left behind it")
        return text

    def _is_known(self, number: int) -> bool:
        known = self._known.get(number)
        return known is not None and not (isinstance(known, Unusable) and known.until <= time.monotonic())

    async def _ask(self, number: int) -> Any:
        """A schema, parsed; or why it cannot be used."""
        answer = await self._get(f"/schemas/ids/{number}")
        if answer.status == 404:
            return Unusable(
                f"its schema {number} is not in the registry, which says {_code(answer)}",
                time.monotonic() + _ASK_AGAIN_S,
            )
        try:
            return await self._parsed(_registered(answer), {}, [_MOST_REFERENCES])
        except (ValueError, TypeError, KeyError) as error:
            return Unusable(f"its schema {number} cannot be used: {str(error)[:200]}")

    async def _parsed(self, registered: Mapping[str, Any], named: dict[str, Any], left: list[int]) -> Any:
        """A schema, with those that it refers to before it."""
        from fastavro import parse_schema

        kind = registered.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise ValueError(f"it is of type {kind}; only AVRO is read")
        for each in registered.get("references") or ():
            left[0] -= 1
            if left[0] < 0:
                raise ValueError(f"it refers to more than {_MOST_REFERENCES} others")
            path = f"/subjects/{quote(str(each['subject']), safe='')}/versions/{int(each['version'])}"
            await self._parsed(_registered(await self._get(path)), named, left)
        try:
            return parse_schema(json.loads(registered["schema"]), named)
        except Exception as error:  # whatever a parser meets in what is no schema
            raise ValueError(f"it is no Avro schema: {type(error).__name__}") from None

    async def _get(self, path: str) -> Answer:
        headers = {"accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if self.login is not None:
            headers["authorization"] = f"Basic {b64encode(self.login.encode()).decode()}"
        answer = await self.client.get(f"{self.url.rstrip('/')}{path}", headers=headers)
        if answer.status not in (200, 404):
            raise Unreachable(f"the schema registry answers {answer.status} to {path}")
        return answer


def is_framed(value: bytes | None) -> bool:
    """Whether a message begins as one of a registry's clients does; JSON never begins with a zero byte."""
    return value is not None and len(value) >= _HEAD and value[0] == 0


def number_of(value: bytes | None) -> int:
    """The number of a framed message's schema."""
    assert value is not None
    return int.from_bytes(value[1:_HEAD], "big")


def open_schemas(url: str, login: str | None, client: Guarded) -> Schemas:
    """A registry; nothing is asked yet.

    Raises:
        BadInput: the library is not installed.
    """
    try:
        import fastavro  # noqa: F401
    except ImportError:
        raise BadInput("schema_registry_url: messages in Avro need an extra: pip install 'hark[avro]'") from None
    return Schemas(url, client, login)


def _registered(answer: Answer) -> Mapping[str, Any]:
    """What the registry says of a schema.

    Raises:
        ValueError: one that is referred to is not there.
        Unreachable: it answers as no registry does.
    """
    if answer.status == 404:
        raise ValueError(f"it refers to one that is not in the registry, which says {_code(answer)}")
    try:
        said = json.loads(answer.body)
        if isinstance(said["schema"], str):
            return dict(said)
    except (ValueError, TypeError, KeyError):
        pass
    raise Unreachable("the schema registry answers as none does: is schema_registry_url what stands before /schemas?")


def _code(answer: Answer) -> str:
    """The registry's own number of an error: 40403, no such schema."""
    try:
        return str(json.loads(answer.body)["error_code"])[:20]
    except (ValueError, TypeError, KeyError):
        return str(answer.status)


def _plain(value: object) -> str:
    """What Avro has and JSON has not, as the contracts want it: decimals and times as texts."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
