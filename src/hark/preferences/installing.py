"""Make the database know a catalogue: its reasons, and what `decide` answers for every class of recipients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, product
from typing import Any

from psycopg import AsyncConnection

from hark.catalogue import Catalogue, Channel, Frequency, Reason
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries
from hark.preferences.deciding import Choice, Decision, Reach, Standing, decide

_SQL = Queries.beside(__file__)

_ROWS = 500
"""Decisions that are put at once: all of a reason of many user types would take megabytes meanwhile."""


@dataclass(frozen=True, slots=True)
class _Installed:
    name: str
    fingerprint: str


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
        table = _truth_table(catalogue, reason)
        while rows := list(islice(table, _ROWS)):
            await connection.execute(_SQL["put_decisions"].text(schema), _columns(reason, rows))


def _columns(reason: Reason, rows: list[tuple[Standing, Decision]]) -> dict[str, list[Any]]:
    return {
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
    }


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
