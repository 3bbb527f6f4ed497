"""API keys: `hark_PREFIX_SECRET`. The prefix finds the key; of the whole only a SHA-256 is kept.

A fast hash is right here, and a slow one would only slow every call down: the secret is 256 random bits, so there is
nothing to guess. It is compared in constant time.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

COARSE = timedelta(minutes=10)
"""How exact `last_used_at` is: a key in constant use is not written at every call."""

LONGEST_NAME = 100
_PREFIX_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_PREFIX_LENGTH = 8
_WRITTEN = re.compile(rf"hark_([{_PREFIX_LETTERS}]{{{_PREFIX_LENGTH}}})_([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_NO_HASH = bytes(32)


class Scope(StrEnum):
    """What a key allows."""

    PUBLISH = "publish"
    """To say what happened."""
    SUBSCRIBE = "subscribe"
    """To change who is told of what: recipients, subscriptions, preferences, and what of an inbox is read."""
    READ = "read"
    """To look at all of that, at deliveries and at why."""
    BACKFILL = "backfill"
    """To plan, approve, apply and steer backfills."""
    AUDIT = "audit"
    """To look at who changed what."""
    FLAGS = "flags"
    """To change flags and segments, and to enrol users."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who comes in: the name of their key, and what it allows."""

    name: str
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Refused:
    """A key that does not open; `why` is for whoever sent it and tells nobody else's secrets."""

    why: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: the only time that `key` itself is known."""

    name: str
    scopes: tuple[Scope, ...]
    expires_at: datetime | None
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as lists show it.

    Attributes:
        replaced_at: when a new one was made for the same name; this one opens until `expires_at`.
        last_used_at: to within `COARSE`.
    """

    name: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    replaced_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def standing(self, now: datetime) -> str:
        """`good`, `replaced` (and good for a while yet), `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "good" if self.replaced_at is None else "replaced"


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    hash: bytes
    scopes: Sequence[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Scopes:
    scopes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


async def create(
    database: Database, name: str, scopes: Iterable[Scope], now: datetime, *, expires_at: datetime | None = None
) -> NewKey:
    """Make a key.

    Raises:
        BadInput: the name cannot be used or is taken, no scope is given, or the key would be expired already.
    """
    wanted = tuple(dict.fromkeys(scopes))
    _check(name, wanted, now, expires_at)
    return await _add(database, name, wanted, now, expires_at)


async def rotate(
    database: Database, name: str, now: datetime, *, grace: timedelta, expires_at: datetime | None = None
) -> NewKey:
    """Make a new key for the same name and scopes; the old one still opens for `grace`.

    Raises:
        BadInput: no such key, or the new one would be expired already.
    """
    _check_expiry(now, expires_at)
    async with database.as_one() as one:
        given = {"name": name, "now": now, "until": now + grace}
        replaced = await one.fetch(_SQL["replace"], _Scopes, given)
        if not replaced:
            raise BadInput(await _no_such_key(one, name))
        return await _add(one, name, tuple(map(Scope, replaced[0].scopes)), now, expires_at)


async def revoke(database: Database, name: str, now: datetime) -> int:
    """Close all keys of a name, at once and for good; how many there were.

    Raises:
        BadInput: no such key.
    """
    revoked = await database.execute(_SQL["revoke"], {"name": name, "now": now})
    if not revoked:
        raise BadInput(await _no_such_key(database, name))
    return revoked


async def listed(database: Database) -> list[Key]:
    """All keys that there ever were, by name."""
    return await database.fetch(_SQL["listed"], Key)


async def authenticate(database: Database, written: str, now: datetime) -> Caller | Refused:
    """Whose key this is, and what it allows; or why it does not open."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        return Refused("this is no key of Hark's; they look like hark_…_…")
    async with database.connection() as connection:
        found = await fetch(connection, _SQL["by_prefix"], _Kept, {"prefix": match[1]}, schema=database.schema)
    kept = found[0] if found else None
    same = hmac.compare_digest(_hash(written), kept.hash if kept else _NO_HASH)
    if kept is None or not same:
        return Refused("no such key")
    if why := _closed(kept, now):
        return Refused(why)
    await _note_use(database, match[1], kept, now)
    return Caller(kept.name, frozenset(map(Scope, kept.scopes)))


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Read `publish,read`.

    Raises:
        BadInput: all that are no scopes.
    """
    words = [word.strip() for word in text.split(",")]
    strangers = [word for word in words if word not in set(Scope)]
    if strangers:
        raise BadInput("\n".join(f"{quoted(word)}: {no_such('scope', word, Scope)}" for word in strangers))
    return tuple(Scope(word) for word in dict.fromkeys(words))


def _closed(kept: _Kept, now: datetime) -> str | None:
    if kept.revoked_at is not None:
        return f"the key {kept.name} was revoked"
    if kept.expires_at is not None and kept.expires_at <= now:
        return f"the key {kept.name} has expired; hark keys rotate {kept.name} makes a new one"
    return None


async def _note_use(database: Database, prefix: str, kept: _Kept, now: datetime) -> None:
    stale_before = now - COARSE
    if kept.last_used_at is None or kept.last_used_at < stale_before:
        await database.execute(_SQL["used"], {"prefix": prefix, "now": now, "stale_before": stale_before})


async def _add(
    database: Database, name: str, scopes: tuple[Scope, ...], now: datetime, expires_at: datetime | None
) -> NewKey:
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(_PREFIX_LENGTH))
    written = f"hark_{prefix}_{secrets.token_urlsafe(32)}"
    given = {"prefix": prefix, "name": name, "hash": _hash(written), "scopes": list(scopes)}
    added = await database.execute(_SQL["add"], {**given, "now": now, "expires_at": expires_at})
    if not added:
        raise BadInput(f"there is a key {name} already; hark keys rotate {name}, or choose another name")
    return NewKey(name, scopes, expires_at, written)


def _hash(written: str) -> bytes:
    return sha256(written.encode()).digest()


def _check(name: str, scopes: Sequence[Scope], now: datetime, expires_at: datetime | None) -> None:
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise BadInput(f"{quoted(name)} is no name for a key; write letters, digits, . _ @ or -, as web-shop")
    if not scopes:
        raise BadInput(f"a key without scopes opens nothing; name some of {', '.join(Scope)}")
    _check_expiry(now, expires_at)


def _check_expiry(now: datetime, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= now:
        raise BadInput(f"a key that expires at {expires_at:%Y-%m-%d %H:%M} would never open; write a later time")


async def _no_such_key(database: Database, name: str) -> str:
    names = [row.name for row in await database.fetch(_SQL["names"], _Name)]
    return f"{quoted(name)}: {no_such('key', name, names)}"
