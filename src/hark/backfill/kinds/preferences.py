"""The preference backfill: channels are added to what many users chose for some reasons; never one is taken away.

`become` is the one place that says what becomes of a choice. For a user of one of the asked types, reason by reason:

    append      they chose channels, none at all included, and lack some of the asked ones: those go behind
    create      they chose nothing for the reason: their type's defaults, and behind them what is asked
    unchanged   they have all that is asked
    no_default  they chose nothing, and the catalogue does not offer the reason to their type
    malformed   what is stored is no list of known channels, each once: nothing is presumed of it
    no_row      they have no preferences at all, and rows are not to be created
    other_type  they are not of the asked types (any more); unknown: they are not known (any more)

What is done to a user is a pair: what they held (`before`), and what they will hold (`after`), of just the reasons that
change; None: no row. It guards the change, it is the journal of it, and turned round it is how to take it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from hark.backfill.kind import Applied, Astray, Batch, Connection, Json, Looked, Part, Span
from hark.backfill.spans import SPANNED, spanning
from hark.catalogue import Catalogue, Channel, no_such
from hark.errors import BadInput
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, chain

_SQL = Queries.beside(__file__)

STANDING = chain(SPANNED, end=_SQL["standing"])
JOURNALED = chain(SPANNED, end=_SQL["journaled"])


class Outcome(StrEnum):
    """What becomes of one user's choice for one reason."""

    APPEND = "append"
    CREATE = "create"
    UNCHANGED = "unchanged"
    NO_DEFAULT = "no_default"
    MALFORMED = "malformed"
    NO_ROW = "no_row"
    OTHER_TYPE = "other_type"
    UNKNOWN = "unknown"
    RESTORE = "restore"
    """Undo: they hold what the backfill left them, and get back what they had."""
    CHANGED_SINCE = "changed_since"
    """Undo: they have chosen since, or something wrote it behind Hark; that stays."""
    BACKFILLED_SINCE = "backfilled_since"
    """Undo: another backfill changed it since, be it an undo of the same, or gave the same anew; that stays."""


PROMISED = frozenset((Outcome.APPEND, Outcome.CREATE, Outcome.UNCHANGED))
"""Afterwards, who is of these has all that was asked."""

Choices = Mapping[str, Sequence[str]]
"""Reason → channels."""


@dataclass(frozen=True, slots=True)
class PreferenceRequest:
    """What is asked for, checked, with the defaults that the catalogue had: `defaults[reason][user type]`."""

    reasons: tuple[str, ...]
    channels: tuple[str, ...]
    user_types: tuple[str, ...]
    create_rows: bool
    defaults: Mapping[str, Choices]

    def to_json(self) -> Json:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Json) -> PreferenceRequest:
        """As it was stored."""
        return cls(
            tuple(stored["reasons"]),
            tuple(stored["channels"]),
            tuple(stored["user_types"]),
            stored["create_rows"],
            stored["defaults"],
        )


def read_preferences(
    catalogue: Catalogue,
    *,
    reasons: Sequence[str],
    channels: Sequence[str],
    user_types: Sequence[str],
    create_rows: bool = False,
) -> PreferenceRequest:
    """Check what is asked for against the catalogue.

    Raises:
        BadInput: all that is wrong with it, one a line, with the nearest names.
    """
    faults = [
        *_faults("reason", "--reason", reasons, list(catalogue.reasons)),
        *_faults("channel", "--channels", channels, [str(channel) for channel in Channel]),
        *_faults("user type", "--user-types", user_types, list(catalogue.user_types)),
    ]
    if faults:
        raise BadInput("\n".join(faults))
    return PreferenceRequest(
        tuple(reasons), tuple(channels), tuple(user_types), create_rows, _defaults(catalogue, reasons)
    )


def _faults(what: str, flag: str, given: Sequence[str], known: Sequence[str]) -> list[str]:
    if not given:
        return [f"{flag}: none is given; write {' or '.join(known[:2]) or 'one'}"]
    unknown = [f'{flag}: "{name}": {no_such(what, name, known)}' for name in dict.fromkeys(given) if name not in known]
    twice = [f'{flag}: "{name}" is named twice' for name in dict.fromkeys(given) if given.count(name) > 1]
    return unknown + twice


def _defaults(catalogue: Catalogue, reasons: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    return {
        reason: {
            user_type: [str(channel) for channel in channels]
            for user_type, channels in catalogue.reasons[reason].channels.items()
        }
        for reason in reasons
    }


# What becomes of a choice --------------------------------------------------------------------------------------------

_KNOWN = frozenset(str(channel) for channel in Channel)


def become(
    choice: object, asked: Sequence[str], defaults: Sequence[str] | None, *, chose: bool = True
) -> tuple[Outcome, list[str]]:
    """What becomes of one choice, and what it will be; pure.

    Args:
        choice: what is stored, as JSON.
        asked: the channels to add, in their order.
        defaults: the user type's; None: the reason is not offered to them.
        chose: whether anything is stored for the reason at all; if not, `choice` says nothing.
    """
    if not chose:
        return (Outcome.NO_DEFAULT, []) if defaults is None else (Outcome.CREATE, _added(defaults, asked))
    if not isinstance(choice, list) or not _is_channels(choice):
        return Outcome.MALFORMED, []
    added = _added(choice, asked)
    return (Outcome.UNCHANGED if added == choice else Outcome.APPEND), added


def _is_channels(choice: Sequence[object]) -> bool:
    return all(isinstance(each, str) and each in _KNOWN for each in choice) and len(set(choice)) == len(choice)


def _added(held: Sequence[str], asked: Sequence[str]) -> list[str]:
    return [*held, *(channel for channel in asked if channel not in held)]


@dataclass(frozen=True, slots=True)
class _Standing:
    place: int
    user_type: str | None
    has_row: bool
    held: dict[str, Any]
    members: list[str]


def _planned(asked: PreferenceRequest, seen: _Standing) -> Part:
    """What becomes of users who stand alike."""
    if (left_out := _left_out(asked, seen)) is not None:
        return Part(seen.place, seen.user_type, dict.fromkeys(asked.reasons, left_out), None, None, seen.members)
    told = {reason: _become(asked, seen, reason) for reason in asked.reasons}
    after = {reason: held for reason, (outcome, held) in told.items() if outcome in (Outcome.APPEND, Outcome.CREATE)}
    before = {reason: seen.held[reason] for reason in after if reason in seen.held} if seen.has_row else None
    promise = {reason: held for reason, (outcome, held) in told.items() if outcome in PROMISED}
    return Part(
        seen.place,
        seen.user_type,
        {reason: outcome for reason, (outcome, _) in told.items()},
        {"user_type": seen.user_type, "before": before, "after": after} if after else None,
        {"at_least": promise} if promise else None,
        seen.members,
    )


def _left_out(asked: PreferenceRequest, seen: _Standing) -> Outcome | None:
    if seen.user_type is None:
        return Outcome.UNKNOWN
    if seen.user_type not in asked.user_types:
        return Outcome.OTHER_TYPE
    return None if seen.has_row or asked.create_rows else Outcome.NO_ROW


def _become(asked: PreferenceRequest, seen: _Standing, reason: str) -> tuple[Outcome, list[str]]:
    defaults = asked.defaults[reason].get(seen.user_type or "")
    return become(seen.held.get(reason), asked.channels, defaults, chose=reason in seen.held)


# And of what was done, when it is taken back -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Journaled:
    place: int
    user_type: str | None
    has_row: bool
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    nothing_else: bool
    had_no_row: bool
    standing: list[str] | None
    others: list[str] | None
    members: list[str]

    @property
    def reasons(self) -> list[str]:
        """All that were touched."""
        return sorted({*(self.before or {}), *(self.after or {})})

    @property
    def left_alone(self) -> frozenset[str]:
        """Those that stand as they were left. Where it took the row away, they may have a new one, without those."""
        return frozenset(self.standing or ()) if self.has_row or self.after is None else frozenset()

    @property
    def left(self) -> Choices | None:
        """What it left, as it stands: of a row that it took away, nothing in the one that came since."""
        return {} if self.after is None and self.has_row else self.after


def _taken_back(did: _Journaled) -> Part:
    """How to take back what was done to users alike, who stand alike."""
    mine = did.left_alone
    others = dict.fromkeys(did.others or (), Outcome.BACKFILLED_SINCE)
    outcomes = {**dict.fromkeys(did.reasons, Outcome.CHANGED_SINCE), **others, **dict.fromkeys(mine, Outcome.RESTORE)}
    if not mine:
        return Part(did.place, did.user_type, outcomes, None, None, did.members)
    left = _only(did.left, mine)
    back = (
        None if did.had_no_row and did.nothing_else and len(mine) == len(did.reasons) else _only(did.before or {}, mine)
    )
    return Part(
        did.place,
        did.user_type,
        outcomes,
        {"user_type": None, "before": left, "after": back},
        {"exactly": back, "without": sorted(mine - (back or {}).keys())},
        did.members,
    )


def _only(choices: Choices | None, reasons: frozenset[str]) -> dict[str, Any] | None:
    return None if choices is None else {reason: held for reason, held in choices.items() if reason in reasons}


# The kind ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Verified:
    compared: int
    holding: int
    recipients: list[str]
    explained: list[bool]
    whys: list[str]


@dataclass(frozen=True, slots=True)
class _Applied:
    applied: int
    drifted: int
    unexplained: list[str]


@dataclass(frozen=True, slots=True)
class _Did:
    number: int


class Preferences:
    """The kind `preferences`."""

    name = "preferences"
    goes_outside = False
    planned_at_once = 10_000

    async def plan(self, connection: Connection, request: Json, span: Span) -> list[Part]:
        """See `Kind.plan`."""
        asked = PreferenceRequest.from_json(request)
        given = {**spanning(span), "reasons": list(asked.reasons)}
        return [_planned(asked, seen) for seen in await fetch(connection, STANDING, _Standing, given, prepare=False)]

    async def plan_undo(self, connection: Connection, undoes: int, span: Span) -> list[Part]:
        """See `Kind.plan_undo`."""
        given = {**spanning(span), "undoes": undoes}
        return [_taken_back(did) for did in await fetch(connection, JOURNALED, _Journaled, given, prepare=False)]

    async def apply(self, connection: Connection, batch: Batch, now: datetime) -> Applied:
        """See `Kind.apply`."""
        given = {"backfill": batch.backfill, "batch": batch.number, "only": batch.only, "now": now}
        (done,) = await fetch(connection, _SQL["apply"], _Applied, given)
        if done.unexplained:
            drifted = {"backfill": batch.backfill, "users": done.unexplained}
            await connection.execute(_SQL["explain"].text(), drifted)
        return Applied(done.applied, done.drifted)

    async def verify(self, connection: Connection, batch: Batch) -> Looked:
        """See `Kind.verify`."""
        given = {"backfill": batch.backfill, "batch": batch.number}
        (seen,) = await fetch(connection, _SQL["verify"], _Verified, given)
        astray = [Astray(*each) for each in zip(seen.recipients, seen.explained, seen.whys, strict=True)]
        return Looked(seen.compared, seen.holding, astray)

    async def did(self, connection: Connection, backfill: int) -> bool:
        """See `Kind.did`: by the engine's own journal."""
        return bool(await fetch(connection, _SQL["did"], _Did, {"backfill": backfill}))

    async def shown(self, database: Database, backfill: int) -> Json | None:
        """See `Kind.shown`."""
        return None

    async def forget(self, connection: Connection, backfill: int) -> None:
        """See `Kind.forget`: it keeps nothing of its own."""


PREFERENCES = Preferences()
