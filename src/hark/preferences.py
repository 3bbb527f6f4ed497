"""Stage 3 of 7: preferences. May we tell them, how and how often? In: Match. Out: Decision.

`decide` is the one place where that question is answered. Its precedence, first rule that applies:

    1. inactive          an inactive recipient is told nothing
    2. not_offered       the catalogue does not offer the reason to their user type
    3. malformed         their preference cannot be read, so nothing is presumed of it
    4. never             their frequency for the reason, or else the reason's own, is never
    5. own_channels      they chose channels for the reason
    6. default_channels  their user type's default channels

after which e-mail is left out unless the recipient can and may be reached by it (`Reach`).

A recipient's class (user type, reach, choices) has few values, so `install` writes the answers for all classes of every
reason into `hark.decision`; fan-out and recheck look them up there, a million recipients in one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import product
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hark.catalogue import Catalogue, Channel, Frequency, Reason
from hark.errors import BadInput
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries
from hark.switching import Switch, move_waiting

_SQL = Queries.beside(__file__)

KNOWN_BY_KEY = _SQL["known_by_key"]
KNOWN_IN_RANGE = _SQL["known_in_range"]
RULES_OF_ONE = _SQL["rules_of_one"]
RULES_OF_ANY = _SQL["rules_of_any"]
APPLYING = _SQL["applying"]
DECIDED_AS_ONE = _SQL["decided_as_one"]
DECIDED_AS_ANY = _SQL["decided_as_any"]


class Reach(StrEnum):
    """Whether e-mail can and may reach a recipient: the first thing that stands in its way."""

    OK = "ok"
    NO_ADDRESS = "no_address"
    UNCONFIRMED = "unconfirmed"
    NOT_OPTED_IN = "not_opted_in"
    SUPPRESSED = "suppressed"
    INACTIVE = "inactive"


class Why(StrEnum):
    """The rule that decided."""

    UNKNOWN_RECIPIENT = "unknown_recipient"
    UNKNOWN_TYPE = "unknown_type"
    INACTIVE = "inactive"
    NOT_OFFERED = "not_offered"
    MALFORMED = "malformed"
    NEVER = "never"
    OWN_CHANNELS = "own_channels"
    DEFAULT_CHANNELS = "default_channels"


class Choice(StrEnum):
    """A stored choice that is not a value of its own: there is none, or it cannot be read."""

    DEFAULT = "default"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Standing:
    """What `decide` needs to know of a recipient about one reason: their class."""

    user_type: str
    reach: Reach
    channels: frozenset[Channel] | Choice
    frequency: Frequency | Choice


@dataclass(frozen=True, slots=True)
class Decision:
    """By which channels and how often a recipient is told, and the rule that says so."""

    channels: frozenset[Channel]
    frequency: Frequency
    own_frequency: bool
    why: Why


def decide(reason: Reason, standing: Standing) -> Decision:
    """Whether, how and how often a recipient is told for a reason; pure, see the module for the precedence."""
    own_frequency = isinstance(standing.frequency, Frequency)
    frequency = standing.frequency if isinstance(standing.frequency, Frequency) else reason.frequency
    why = _rule(reason, standing, frequency)
    channels = _channels(reason, standing, why)
    return Decision(channels, frequency, own_frequency, why)


def _rule(reason: Reason, standing: Standing, frequency: Frequency) -> Why:
    if standing.reach is Reach.INACTIVE:
        return Why.INACTIVE
    if standing.user_type not in reason.channels:
        return Why.NOT_OFFERED
    if Choice.MALFORMED in (standing.channels, standing.frequency):
        return Why.MALFORMED
    if frequency is Frequency.NEVER:
        return Why.NEVER
    return Why.DEFAULT_CHANNELS if standing.channels is Choice.DEFAULT else Why.OWN_CHANNELS


def _channels(reason: Reason, standing: Standing, why: Why) -> frozenset[Channel]:
    if why is Why.OWN_CHANNELS and isinstance(standing.channels, frozenset):
        wanted = standing.channels
    elif why is Why.DEFAULT_CHANNELS:
        wanted = frozenset(reason.channels[standing.user_type])
    else:
        return frozenset()
    return wanted if standing.reach is Reach.OK else wanted - {Channel.EMAIL}


@dataclass(frozen=True, slots=True)
class _Installed:
    name: str
    fingerprint: str
    frequency: str
    has_feed: bool


async def install(
    database: Database, catalogue: Catalogue, *, retire: bool = False, now: datetime | None = None
) -> list[str]:
    """Make the database know a catalogue: its user types, its reasons, and the decisions of every class.

    Safe to run on every start and by many processes at once; the last catalogue wins.

    Args:
        retire: retire what the catalogue no longer has: publish refuses it, what waits is still sent. Only
            for whoever decides that (`hark migrate`): a worker that is one version behind must not.
        now: when that is; this machine's time unless given.

    Returns:
        The names of the reasons that were new or changed.
    """
    async with database.transaction() as connection:
        await connection.execute(_SQL["catalogue_lock"].text(database.schema))
        known = await fetch(connection, _SQL["installed_reasons"], _Installed, schema=database.schema)
        fingerprints = {row.name: row.fingerprint for row in known}
        changed = [
            reason
            for reason in catalogue.reasons.values()
            if fingerprints.get(reason.name) != _fingerprint(catalogue, reason)
        ]
        await _put_user_types(connection, database.schema, catalogue)
        if retire:
            await _retire(connection, database.schema, catalogue)
        await _put_feeds(connection, database.schema, catalogue, now or datetime.now(UTC))
        if changed:
            await _put_reasons(connection, database.schema, catalogue, changed)
            await _put_facets(connection, database.schema, changed)
            await _put_decisions(connection, database.schema, catalogue, changed)
    return [reason.name for reason in changed]


async def choose(
    database: Database,
    recipient: str,
    reason: str,
    now: datetime,
    *,
    channels: Iterable[Channel] | None = None,
    frequency: Frequency | None = None,
) -> None:
    """Store a recipient's own choice for a reason. None leaves that half as it was.

    With another frequency, what waits for the reason moves to the message of that one, in the same transaction.

    Raises:
        BadInput: the database knows no such reason, neither half is given, or the reason has a feed and the frequency
            is one that no digest comes in.
    """
    if channels is None and frequency is None:
        raise BadInput(f"no choice given for {reason}: name channels, a frequency, or both")
    known = await _known_reason(database, reason)
    if known.has_feed and frequency in (Frequency.IMMEDIATE, Frequency.BATCHED):
        raise BadInput(f"{reason} comes as a digest: daily, weekly or never, not {frequency}")
    given = {
        "recipient": recipient,
        "reason": reason,
        "channels": None if channels is None else Jsonb([str(channel) for channel in channels]),
        "frequency": frequency,
        "now": now,
    }
    async with database.transaction() as connection:
        await _note_return(connection, database.schema, given, kept=True)
        await connection.execute(_SQL["choose"].text(database.schema), given)
        if frequency is not None:
            switch = Switch(recipient, reason, frequency, own=True)
            await move_waiting(connection, database.schema, [switch], now)


async def unchoose(database: Database, recipient: str, reason: str, now: datetime) -> None:
    """Forget a recipient's own choice for a reason: the catalogue's defaults hold again, for what waits, too.

    Raises:
        BadInput: the database knows no such reason.
    """
    default = Frequency((await _known_reason(database, reason)).frequency)
    async with database.transaction() as connection:
        given = {"recipient": recipient, "reason": reason, "channels": None, "frequency": None, "now": now}
        await _note_return(connection, database.schema, given, kept=False)
        await connection.execute(_SQL["unchoose"].text(database.schema), given)
        await move_waiting(connection, database.schema, [Switch(recipient, reason, default, own=False)], now)


async def _note_return(
    connection: AsyncConnection[Any], schema: str, given: Mapping[str, object], *, kept: bool
) -> None:
    """Note, before a choice is stored, who stops being told of a feed, and who is told of it again.

    Whoever comes back, or chooses a feed for the first time, is not flooded with what was missed. `kept`: a half that
    is not given stays as it was; else it goes back to the catalogue's default.
    """
    pairs = {
        "recipients": [given["recipient"]],
        "reasons": [given["reason"]],
        "channels": [given["channels"]],
        "frequencies": [given["frequency"]],
    }
    await connection.execute(_SQL["note_return"].text(schema), {**pairs, "kept": kept, "now": given["now"]})


async def _known_reason(database: Database, reason: str) -> _Installed:
    known = {row.name: row for row in await database.fetch(_SQL["installed_reasons"], _Installed)}
    if reason not in known:
        raise BadInput(f"no reason {reason!r}; the catalogue has {', '.join(sorted(known)) or 'none'}")
    return known[reason]


def _fingerprint(catalogue: Catalogue, reason: Reason) -> str:
    return (
        f"{catalogue.reason_fingerprint(reason.name)}/{','.join(catalogue.user_types)}/{_position(catalogue, reason)}"
    )


def _position(catalogue: Catalogue, reason: Reason) -> int:
    return list(catalogue.reasons).index(reason.name)


async def _put_user_types(connection: AsyncConnection[Any], schema: str, catalogue: Catalogue) -> None:
    await connection.execute(
        _SQL["put_user_types"].text(schema),
        {"names": list(catalogue.user_types), "descriptions": list(catalogue.user_types.values())},
    )


async def _retire(connection: AsyncConnection[Any], schema: str, catalogue: Catalogue) -> None:
    await connection.execute(_SQL["retire_reasons"].text(schema), {"kept": list(catalogue.reasons)})
    without = [reason.name for reason in catalogue.reasons.values() if reason.feed is None]
    await connection.execute(_SQL["forget_feeds"].text(schema), {"reasons": without})


async def _put_reasons(
    connection: AsyncConnection[Any], schema: str, catalogue: Catalogue, reasons: list[Reason]
) -> None:
    calendar = catalogue.calendar
    await connection.execute(
        _SQL["put_reasons"].text(schema),
        {
            "names": [reason.name for reason in reasons],
            "titles": [reason.title for reason in reasons],
            "frequencies": [reason.frequency for reason in reasons],
            "cooldowns": [reason.windows.cooldown for reason in reasons],
            "max_stales": [reason.windows.max_stale for reason in reasons],
            "due_times": [calendar.at for _ in reasons],
            "due_weekdays": [calendar.weekday for _ in reasons],
            "groups": [reason.group for reason in reasons],
            "categories": [reason.category for reason in reasons],
            "at_least_once": [reason.at_least_once for reason in reasons],
            "positions": [_position(catalogue, reason) for reason in reasons],
            "fingerprints": [_fingerprint(catalogue, reason) for reason in reasons],
            "auto_subscribes": [",".join(reason.auto_subscribe) for reason in reasons],
        },
    )


async def _put_feeds(connection: AsyncConnection[Any], schema: str, catalogue: Catalogue, now: datetime) -> None:
    feeds = [(reason, reason.feed) for reason in catalogue.reasons.values() if reason.feed is not None]
    await connection.execute(
        _SQL["put_feeds"].text(schema),
        {
            "reasons": [reason.name for reason, _ in feeds],
            "caps": [feed.cap for _, feed in feeds],
            "overlaps": [feed.overlap for _, feed in feeds],
            "frequencies": [reason.frequency for reason, _ in feeds],
            "now": now,
        },
    )


async def _put_facets(connection: AsyncConnection[Any], schema: str, reasons: list[Reason]) -> None:
    await connection.execute(_SQL["forget_facets"].text(schema), {"reasons": [reason.name for reason in reasons]})
    facets = [(reason.name, rank, facet) for reason in reasons for rank, facet in enumerate(reason.narrower)]
    await connection.execute(
        _SQL["put_facets"].text(schema),
        {
            "bases": [base for base, _, _ in facets],
            "ranks": [rank for _, rank, _ in facets],
            "reasons": [facet.reason for _, _, facet in facets],
            "kinds": [facet.kind for _, _, facet in facets],
        },
    )


async def _put_decisions(
    connection: AsyncConnection[Any], schema: str, catalogue: Catalogue, reasons: list[Reason]
) -> None:
    await connection.execute(_SQL["forget_decisions"].text(schema), {"reasons": [reason.name for reason in reasons]})
    for reason in reasons:
        rows = list(_truth_table(catalogue, reason))
        await connection.execute(
            _SQL["put_decisions"].text(schema),
            {
                "reasons": [reason.name] * len(rows),
                "user_types": [standing.user_type for standing, _ in rows],
                "reaches": [standing.reach for standing, _ in rows],
                "channel_choices": [_channel_code(standing.channels) for standing, _ in rows],
                "frequency_choices": [standing.frequency for standing, _ in rows],
                "email": [Channel.EMAIL in decision.channels for _, decision in rows],
                "in_app": [Channel.IN_APP in decision.channels for _, decision in rows],
                "frequencies": [decision.frequency for _, decision in rows],
                "own_frequency": [decision.own_frequency for _, decision in rows],
                "whys": [decision.why for _, decision in rows],
            },
        )


def _truth_table(catalogue: Catalogue, reason: Reason) -> Iterator[tuple[Standing, Decision]]:
    for user_type, reach, channels, frequency in product(
        catalogue.user_types, Reach, (*Choice, *_channel_sets()), (*Choice, *Frequency)
    ):
        standing = Standing(user_type, reach, channels, frequency)
        yield standing, decide(reason, standing)


_CHANNEL_BITS = {Channel.EMAIL: 1, Channel.IN_APP: 2, Channel.PUSH: 4}


def _channel_sets() -> Iterator[frozenset[Channel]]:
    for code in range(8):
        yield frozenset(channel for channel, bit in _CHANNEL_BITS.items() if code & bit)


def _channel_code(choice: frozenset[Channel] | Choice) -> int:
    if isinstance(choice, Choice):
        return -1 if choice is Choice.DEFAULT else -2
    return sum(_CHANNEL_BITS[channel] for channel in choice)
