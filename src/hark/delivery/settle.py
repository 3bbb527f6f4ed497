"""Write down how attempts ended, each guarded by state and attempt: a late word about an old attempt moves nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from hark.delivery.backoff import Backoff
from hark.delivery.handover import Outcome, Verdict
from hark.delivery.recheck import Rechecked
from hark.delivery.states import Result, State
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A held delivery that is not handed over: CANCELED for good, or PENDING until `due_at`."""

    delivery: Rechecked
    state: State
    why: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a delivery goes after its hand-over; `due_at` when it is tried again."""

    delivery: Rechecked
    state: State
    outcome: Result
    why: str
    due_at: datetime | None = None
    bad_address: bool = False


@dataclass(frozen=True, slots=True)
class _Moved:
    id: int


def after_failure(delivery: Rechecked, why: str, now: datetime, backoff: Backoff) -> Withdrawal:
    """What becomes of a delivery that could not be rechecked or rendered this time."""
    if backoff.used_up(delivery.tries):
        return Withdrawal(delivery, State.CANCELED, f"attempts used up ({delivery.tries}): {why}")
    return Withdrawal(delivery, State.PENDING, why, now + backoff.wait(delivery.tries, delivery.id))


def after_outcome(delivery: Rechecked, outcome: Outcome, now: datetime, backoff: Backoff) -> Settlement:
    """What becomes of a delivery after its hand-over."""
    if outcome.verdict is Verdict.ACCEPTED:
        return Settlement(delivery, State.SENT, Result.ACCEPTED, outcome.response)
    if outcome.verdict is Verdict.REFUSED:
        return Settlement(
            delivery, State.CANCELED, Result.REFUSED, outcome.response or "refused", bad_address=outcome.bad_address
        )
    if outcome.verdict is Verdict.UNKNOWN and (not delivery.at_least_once or backoff.used_up(delivery.tries)):
        return Settlement(delivery, State.SENT, Result.UNKNOWN, outcome.response)
    return _again(delivery, outcome.response, now, backoff)


async def withdraw(database: Database, withdrawals: Sequence[Withdrawal], now: datetime) -> set[int]:
    """SENDING → CANCELED or PENDING; the ids of those that this worker still held."""
    if not withdrawals:
        return set()
    moved = await database.fetch(
        _SQL["withdraw"],
        _Moved,
        {
            **arrays([given.delivery for given in withdrawals]),
            "states": [given.state for given in withdrawals],
            "due_ats": [given.due_at for given in withdrawals],
            "whys": [given.why for given in withdrawals],
            **notes([given.delivery for given in withdrawals]),
            "now": now,
        },
    )
    return {row.id for row in moved}


async def mark(database: Database, deliveries: Sequence[Rechecked], now: datetime) -> set[int]:
    """SENDING → SENT (unknown), committed before the hand-over; only the ids given back may be handed over."""
    moved = await database.fetch(
        _SQL["mark"],
        _Moved,
        {
            **arrays(deliveries),
            "whys": [delivery.sentence() for delivery in deliveries],
            **notes(deliveries),
            "now": now,
        },
    )
    return {row.id for row in moved}


async def settle(database: Database, settlements: Sequence[Settlement], now: datetime) -> set[int]:
    """Write down what the provider said; the ids of those that were still this attempt's."""
    if not settlements:
        return set()
    bad = [given for given in settlements if given.bad_address]
    moved = await database.fetch(
        _SQL["settle"],
        _Moved,
        {
            **arrays([given.delivery for given in settlements]),
            "states": [given.state for given in settlements],
            "outcomes": [given.outcome for given in settlements],
            "due_ats": [given.due_at for given in settlements],
            "whys": [given.why for given in settlements],
            "bad_recipients": [given.delivery.recipient_id for given in bad],
            "bad_addresses": [given.delivery.address for given in bad],
            "bad_whys": [given.why for given in bad],
            "now": now,
        },
    )
    return {row.id for row in moved}


def _again(delivery: Rechecked, why: str, now: datetime, backoff: Backoff) -> Settlement:
    if backoff.used_up(delivery.tries):
        return Settlement(delivery, State.CANCELED, Result.REFUSED, f"attempts used up ({delivery.tries}): {why}")
    return Settlement(delivery, State.PENDING, Result.NONE, why, now + backoff.wait(delivery.tries, delivery.id))


def arrays(deliveries: Sequence[Rechecked]) -> dict[str, Sequence[object]]:
    """Held deliveries as the statements take them."""
    return {
        "recipients": [delivery.recipient_id for delivery in deliveries],
        "ids": [delivery.id for delivery in deliveries],
        "attempts": [delivery.attempt for delivery in deliveries],
    }


def notes(deliveries: Sequence[Rechecked]) -> dict[str, list[Jsonb | None]]:
    """What each delivery notes of what the recheck left out, and of which digests nothing was left."""
    return {
        "left_out": [_note(delivery.left_out) for delivery in deliveries],
        "silent": [_note(delivery.silent) for delivery in deliveries],
    }


def _note(said: Mapping[str, str] | None) -> Jsonb | None:
    return Jsonb(dict(said)) if said else None
