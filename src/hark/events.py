"""Stage 1 of 7: events. What happened? In: the product's own transaction. Out: Event.

`publish` and `apublish` call the SQL function `hark.publish` on a connection of the product's own. They never commit,
roll back or begin: what was published stands or falls with the caller's transaction. An error is the database's, so it
leaves that transaction aborted, as any failed statement does; a caller that wants to go on publishes in a savepoint.
What can be told to be wrong without asking the database leaves the transaction as it was.

The asynchronous call has a name of its own, since only one of the two must be awaited and a type checker can say so;
`a` in front is Django's way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from hark.errors import BadInput, KeyReused, UnknownReason
from hark.postgres.borrowed import acall, call, is_asynchronous, is_connection, said_by_server
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

PICKED_FRESH = _SQL["picked_fresh"]
PICKED_AGAIN = _SQL["picked_again"]
PICKED_ONE = _SQL["picked_one"]
PROGRESSED = _SQL["progressed"]
WAITING_FRESH = _SQL["waiting_fresh"]
SET_ASIDE = _SQL["set_aside"]
PROGRESSED_IN_RANGE = _SQL["progressed_in_range"]

_PUBLISH = _SQL["publish"]
_TRANSLATED: Mapping[str, type[BadInput]] = {"HK001": UnknownReason, "HK002": KeyReused, "22023": BadInput}
_NOT_MIGRATED = ("42883", "3F000")  # undefined_function, invalid_schema_name
_LONGEST: Mapping[str, int] = {"about": 1000}
_UNSTORABLE = "which Postgres cannot store: it has a NUL character or half of a surrogate pair"
_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def publish(
    connection: Any,
    reason: str,
    *,
    to: Iterable[str] = (),
    entities: Iterable[str] = (),
    actor: str | None = None,
    about: str | None = None,
    payload: Mapping[str, Any] | None = None,
    key: str | None = None,
    occurred_at: datetime | None = None,
) -> int:
    """Say that something happened, in the transaction that `connection` is in.

    One row is written, however many will hear of it. Rolled back, also to a savepoint, nothing happened.

    Args:
        connection: the product's own: psycopg's or another DB-API driver's, SQLAlchemy's `Connection` or `Session`, or
            Django's `django.db.connection`.
        reason: what kind of thing, as the catalogue names it.
        to: the ids of recipients to tell; at most 10,000.
        entities: what it happened to: their subscribers are told; at most 1,000.
        actor: who did it. They are never told of an event that has entities, named or not; one that only names
            recipients tells all of them (whoever resets a password is told of it). If the reason says so
            (`auto_subscribe`), they follow what they published about.
        about: the object that it is about, for templates and the inbox.
        payload: what templates may want to know, as JSON can say it.
        key: names this event once and for all: published again with the same content it is the same event.
        occurred_at: when it happened, with a zone; None: now.

    Returns:
        The event's id.

    Raises:
        UnknownReason: the catalogue does not have the reason; names those it has.
        KeyReused: the key already names an event with other content.
        BadInput: an argument that cannot be published, all of them at once.
    """
    event = _Event.of(reason, to, entities, actor, about, payload, key, occurred_at)
    _refuse(_not_sync(connection))
    try:
        return call(connection, _PUBLISH, event.document())
    except Exception as error:
        if (translated := _translated(error)) is error:
            raise
        raise translated from error


async def apublish(
    connection: Any,
    reason: str,
    *,
    to: Iterable[str] = (),
    entities: Iterable[str] = (),
    actor: str | None = None,
    about: str | None = None,
    payload: Mapping[str, Any] | None = None,
    key: str | None = None,
    occurred_at: datetime | None = None,
) -> int:
    """`publish` for asynchronous callers.

    Args:
        connection: the product's own: psycopg's `AsyncConnection`, asyncpg's `Connection`, or SQLAlchemy's
            `AsyncConnection` or `AsyncSession`. All else is as in `publish`.
    """
    event = _Event.of(reason, to, entities, actor, about, payload, key, occurred_at)
    _refuse(_not_async(connection))
    try:
        return await acall(connection, _PUBLISH, event.document())
    except Exception as error:
        if (translated := _translated(error)) is error:
            raise
        raise translated from error


# What is published ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    """An event as `hark.publish` takes it; its fields are the arguments of that function."""

    reason: str
    recipients: list[str]
    entities: list[str]
    actor: str | None
    about: str | None
    payload: Mapping[str, Any]
    key: str | None
    occurred_at: str | None

    @classmethod
    def of(
        cls,
        reason: str,
        to: Iterable[str],
        entities: Iterable[str],
        actor: str | None,
        about: str | None,
        payload: Mapping[str, Any] | None,
        key: str | None,
        occurred_at: datetime | None,
    ) -> _Event:
        texts = {"reason": reason, "actor": actor, "about": about, "key": key}
        lists = {"to": _listed(to), "entities": _listed(entities)}
        payload = {} if payload is None else payload
        _refuse(_faults(texts, lists, payload, occurred_at))
        at = None if occurred_at is None else occurred_at.astimezone(UTC).isoformat()
        return cls(reason, list(lists["to"]), list(lists["entities"]), actor, about, dict(payload), key, at)

    def document(self) -> str:
        """All of it as one JSON text."""
        members = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(members, ensure_ascii=False, allow_nan=False)


def _listed(values: Any) -> Any:
    """A generator can be read once only; whatever is no collection is left for `_faults` to name."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        return values
    return list(values)


def _faults(texts: Mapping[str, Any], lists: Mapping[str, Any], payload: Any, occurred_at: Any) -> Iterator[str]:
    if texts["reason"] is None:
        yield "reason is None, expected one that the catalogue declares"
    for name, value in texts.items():
        if value is not None:
            yield from _text_faults(name, value)
    for name, values in lists.items():
        yield from _list_faults(name, values)
    if all(values == [] for values in lists.values()):
        yield "to and entities are both empty, so nobody would hear of it; name at least one"
    yield from _payload_faults(payload)
    yield from _time_faults(occurred_at)


def _text_faults(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name} has {value!r}, a {type(value).__name__}, expected a text; write {str(value)!r}"
    elif not value:
        yield f"{name} has an empty text, expected at least one character"
    elif not _storable(value):
        yield f"{name} has {value!r}, {_UNSTORABLE}"
    elif len(value) > (longest := _LONGEST.get(name, 255)):
        yield f"{name} has a text of {len(value)} characters, at most {longest}; it starts {value[:20]!r}"


def _list_faults(name: str, values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield f"{name} is the text {values!r}, expected a list; write {name}=[{values!r}]"
    elif not isinstance(values, list):
        yield f"{name} is {values!r}, a {type(values).__name__}, expected a list of texts"
    else:
        for value in values:
            yield from _text_faults(name, value)


def _payload_faults(payload: Any) -> Iterator[str]:
    if not isinstance(payload, Mapping):
        yield f"payload is a {type(payload).__name__}, expected a dict"
        return
    try:
        text = json.dumps(dict(payload), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        yield f"payload cannot be written as JSON: {error}; give texts, finite numbers, booleans, None, lists and dicts"
        return
    if not _storable(text) or _JSON_NUL.search(text):
        yield f"payload has a text {_UNSTORABLE}"


def _time_faults(occurred_at: Any) -> Iterator[str]:
    if occurred_at is None:
        return
    if not isinstance(occurred_at, datetime):
        yield f"occurred_at is {occurred_at!r}, expected a datetime with a zone"
    elif occurred_at.utcoffset() is None:
        yield f"occurred_at is {occurred_at!r}, which has no zone; give it one, as datetime.now(UTC) has"


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


# What can go wrong ---------------------------------------------------------------------------------------------------


def _not_sync(connection: Any) -> Iterator[str]:
    if is_asynchronous(connection):
        yield f"{_kind(connection)} is asynchronous; write: await hark.apublish(...)"
    elif not is_connection(connection):
        yield f"{_kind(connection)} is no connection; give the one that your transaction is open on"


def _not_async(connection: Any) -> Iterator[str]:
    if not is_connection(connection):
        yield f"{_kind(connection)} is no connection; give the one that your transaction is open on"
    elif not is_asynchronous(connection):
        yield f"{_kind(connection)} is not asynchronous; write: hark.publish(...)"


def _kind(connection: Any) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"


def _refuse(faults: Iterable[str]) -> None:
    if text := "\n".join(faults):
        raise BadInput(text)


def _translated(error: Exception) -> Exception:
    """The server's refusal as Hark's own exception; any other error as it is."""
    said = said_by_server(error)
    if said is None:
        return error
    if said.code in _NOT_MIGRATED:
        return BadInput("this database has no hark.publish; run hark migrate on it, or look where you are connected")
    kind = _TRANSLATED.get(said.code)
    if kind is None or not said.message.startswith("hark: "):
        return error
    text = said.message.removeprefix("hark: ")
    return kind(f"{text}. {said.hint}" if said.hint else text)
