"""Stage 2 of 7: audience. Who asked to hear of it? In: Event. Out: Match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time

from psycopg.types.json import Jsonb

from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

MATCHED = _SQL["matched"]
MATCHED_IN_RANGE = _SQL["matched_in_range"]


_LONGEST = 255
"""Characters of an id, as the tables have it."""
_known_zones: set[str] = set()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user as Hark knows them.

    `confirmed` says that the address is theirs, `opted_in` that they agreed to be written to; `zone` is an IANA name,
    `attributes` is whatever templates may want to know of them. `digest_at` and `digest_weekday` (from Monday, 0) are
    when their daily and weekly messages come, by their own clock; None: when the catalogue's calendar says.
    """

    id: str
    user_type: str
    address: str | None = None
    confirmed: bool = False
    opted_in: bool = True
    active: bool = True
    zone: str = "UTC"
    locale: str = "en"
    attributes: Mapping[str, object] = field(default_factory=dict)
    digest_at: time | None = None
    digest_weekday: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A recipient's wish to hear of an entity, e.g. `post:42`."""

    recipient: str
    entity: str


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as stored: since when, and whether it is muted. `followed`: not only muted, but asked for."""

    entity: str
    muted: bool
    followed: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class KnownRecipient:
    """A recipient as stored: with why e-mail does not reach them (`reach` is `ok` where it does)."""

    id: str
    user_type: str
    address: str | None
    confirmed: bool
    opted_in: bool
    active: bool
    zone: str
    locale: str
    attributes: Mapping[str, object]
    suppressed: str | None
    reach: str
    digest_at: time | None
    digest_weekday: int | None


@dataclass(frozen=True, slots=True)
class _Written:
    written: int


@dataclass(frozen=True, slots=True)
class _Changed:
    changed: int


@dataclass(frozen=True, slots=True)
class _Zone:
    zone: str


@dataclass(frozen=True, slots=True)
class _UserType:
    user_type: str


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


async def put_recipients(database: Database, recipients: Sequence[Recipient], now: datetime) -> int:
    """Create or replace recipients, all in one statement; of two with the same id the later one holds.

    Whoever's zone or morning is another one now gets what waits for the morning at the new one. Who was deactivated and
    is active again is not told by digests of what was meanwhile, nor is who comes back to a user type that gets them.

    Returns:
        How many recipients were written.

    Raises:
        BadInput: an id that cannot be one, a user type that the catalogue does not declare, a zone that Postgres does
            not know, or a weekday that is none; nothing is written then.
    """
    _check_names("recipient", (recipient.id for recipient in recipients))
    await _check(database, recipients)
    done = await database.one(
        _SQL["put_recipients"],
        _Written,
        {
            "ids": [recipient.id for recipient in recipients],
            "user_types": [recipient.user_type for recipient in recipients],
            "addresses": [recipient.address for recipient in recipients],
            "confirmed": [recipient.confirmed for recipient in recipients],
            "opted_in": [recipient.opted_in for recipient in recipients],
            "active": [recipient.active for recipient in recipients],
            "zones": [recipient.zone for recipient in recipients],
            "locales": [recipient.locale for recipient in recipients],
            "attributes": [Jsonb(dict(recipient.attributes)) for recipient in recipients],
            "digest_ats": [recipient.digest_at for recipient in recipients],
            "digest_weekdays": [recipient.digest_weekday for recipient in recipients],
            "now": now,
        },
    )
    return done.written


async def recipients_after(
    database: Database, after: str = "", *, user_type: str | None = None, limit: int = 500
) -> list[KnownRecipient]:
    """Recipients in the order of their ids, behind `after`: one page."""
    return await database.fetch(
        _SQL["recipients"], KnownRecipient, {"after": after, "user_type": user_type, "limit": limit}
    )


async def subscribe(database: Database, subscriptions: Sequence[Subscription], now: datetime) -> int:
    """Subscribe recipients to entities; how many are new. What is muted is followed then, and stays muted.

    Raises:
        BadInput: a recipient or an entity is empty or too long, or has what Postgres cannot store.
    """
    return await database.execute(_SQL["subscribe"], {**_pairs(subscriptions), "now": now})


async def unsubscribe(database: Database, subscriptions: Sequence[Subscription]) -> int:
    """Remove subscriptions; how many there were."""
    return await database.execute(_SQL["unsubscribe"], _pairs(subscriptions))


async def mute(database: Database, subscriptions: Sequence[Subscription], now: datetime, *, muted: bool = True) -> int:
    """Mute entities for recipients (or, `muted=False`, let them speak again); how many changed.

    A subscription stays, and is silent until the entity may speak again. Who has none mutes it all the same, and does
    not follow it once it is unmuted. An event that has a muted entity is not told through any of its other entities:
    only by name.
    """
    if not muted:
        return (await database.one(_SQL["unmute"], _Changed, _pairs(subscriptions))).changed
    return await database.execute(_SQL["mute"], {**_pairs(subscriptions), "now": now})


async def subscriptions_of(
    database: Database,
    recipient: str,
    after: str = "",
    *,
    muted: bool | None = None,
    kind: str | None = None,
    limit: int = 500,
) -> list[KnownSubscription]:
    """A recipient's subscriptions in the order of their entities, behind `after`: one page.

    Args:
        muted: only those that are, or are not.
        kind: only entities of this kind, as `post` of `post:7`.
    """
    given = {"recipient": recipient, "after": after, "muted": muted, "kind": kind, "limit": limit}
    return await database.fetch(_SQL["subscriptions"], KnownSubscription, given)


async def _check(database: Database, recipients: Sequence[Recipient]) -> None:
    bad_zones = await _unknown_zones(database, {recipient.zone for recipient in recipients})
    types = sorted({recipient.user_type for recipient in recipients})
    bad_types = [
        row.user_type for row in await database.fetch(_SQL["unknown_user_types"], _UserType, {"user_types": types})
    ]
    bad_days = sorted({r.digest_weekday for r in recipients if r.digest_weekday not in (None, *range(7))})  # type: ignore[type-var]
    if not (bad_zones or bad_types or bad_days):
        return
    known = [row.name for row in await database.fetch(_SQL["user_types"], _Name)]
    faults = [f"no time zone {zone!r}; write an IANA name like Europe/Berlin" for zone in sorted(bad_zones)]
    faults += [f"no user type {name!r}; the catalogue has {', '.join(known) or 'none'}" for name in sorted(bad_types)]
    faults += [f"no weekday {day}; write 0 (Monday) to 6 (Sunday)" for day in bad_days]
    raise BadInput("\n".join(faults))


async def _unknown_zones(database: Database, zones: set[str]) -> set[str]:
    """Asked once a zone: Postgres reads its whole list of them from disk each time."""
    new = zones - _known_zones
    if not new:
        return set()
    unknown = {row.zone for row in await database.fetch(_SQL["unknown_zones"], _Zone, {"zones": sorted(new)})}
    _known_zones.update(new - unknown)
    return unknown


def _pairs(subscriptions: Sequence[Subscription]) -> dict[str, list[str]]:
    _check_names("recipient", (subscription.recipient for subscription in subscriptions))
    _check_names("entity", (subscription.entity for subscription in subscriptions))
    return {
        "recipients": [subscription.recipient for subscription in subscriptions],
        "entities": [subscription.entity for subscription in subscriptions],
    }


def _check_names(what: str, names: Iterable[str]) -> None:
    faults = [f"{what} {_begun(name)} {fault}" for name in dict.fromkeys(names) if (fault := _name_fault(name))]
    if faults:
        raise BadInput("\n".join(faults))


def _name_fault(name: str) -> str:
    if not name:
        return "is empty; give its name, as post:7"
    if len(name) > _LONGEST:
        return f"has {len(name):,} characters; an id has at most {_LONGEST}"
    if "\0" in name or any("\ud800" <= char <= "\udfff" for char in name):
        return "has a NUL character or half of a surrogate pair, which Postgres cannot store"
    return ""


def _begun(name: str) -> str:
    return repr(name) if len(name) <= 40 else f"{name[:40]!r}…"
