"""Stage 2 of 7: audience. Who asked to hear of it? In: Event. Out: Match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.types.json import Jsonb

from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

MATCHED = _SQL["matched"]
MATCHED_IN_RANGE = _SQL["matched_in_range"]


_known_zones: set[str] = set()


@dataclass(frozen=True, slots=True)
class Recipient:
    """A user as Hark knows them.

    `confirmed` says that the address is theirs, `opted_in` that they agreed to be written to; `zone` is an IANA name,
    `attributes` is whatever templates may want to know of them.
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


@dataclass(frozen=True, slots=True)
class Subscription:
    """A recipient's wish to hear of an entity, e.g. `post:42`."""

    recipient: str
    entity: str


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

    Returns:
        How many recipients were written.

    Raises:
        BadInput: a user type that the catalogue does not declare, or a zone that Postgres does not know; nothing is
            written then.
    """
    await _check(database, recipients)
    return await database.execute(
        _SQL["put_recipients"],
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
            "now": now,
        },
    )


async def recipients_after(
    database: Database, after: str = "", *, user_type: str | None = None, limit: int = 500
) -> list[KnownRecipient]:
    """Recipients in the order of their ids, behind `after`: one page."""
    return await database.fetch(
        _SQL["recipients"], KnownRecipient, {"after": after, "user_type": user_type, "limit": limit}
    )


async def subscribe(database: Database, subscriptions: Sequence[Subscription], now: datetime) -> int:
    """Subscribe recipients to entities; how many subscriptions are new. One that is muted stays muted."""
    return await database.execute(_SQL["subscribe"], {**_pairs(subscriptions), "now": now})


async def unsubscribe(database: Database, subscriptions: Sequence[Subscription]) -> int:
    """Remove subscriptions; how many there were."""
    return await database.execute(_SQL["unsubscribe"], _pairs(subscriptions))


async def mute(database: Database, subscriptions: Sequence[Subscription], *, muted: bool = True) -> int:
    """Mute subscriptions without removing them (or, `muted=False`, let them speak again); how many changed."""
    return await database.execute(_SQL["mute"], {**_pairs(subscriptions), "muted": muted})


async def _check(database: Database, recipients: Sequence[Recipient]) -> None:
    bad_zones = await _unknown_zones(database, {recipient.zone for recipient in recipients})
    types = sorted({recipient.user_type for recipient in recipients})
    bad_types = [
        row.user_type for row in await database.fetch(_SQL["unknown_user_types"], _UserType, {"user_types": types})
    ]
    if not (bad_zones or bad_types):
        return
    known = [row.name for row in await database.fetch(_SQL["user_types"], _Name)]
    faults = [f"no time zone {zone!r}; write an IANA name like Europe/Berlin" for zone in sorted(bad_zones)]
    faults += [f"no user type {name!r}; the catalogue has {', '.join(known) or 'none'}" for name in sorted(bad_types)]
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
    return {
        "recipients": [subscription.recipient for subscription in subscriptions],
        "entities": [subscription.entity for subscription in subscriptions],
    }
