"""What people tell a backfill: approve, apply, pause, resume, cancel, speed; and all of them at once, stop.

Each is one guarded statement that writes the audit log with it. `pause`, `cancel` and `stop_all` wait for the batches
under way: when they return, nothing is being written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time

from hark.backfill.request import PaceChange, check_rate, check_who
from hark.backfill.states import State
from hark.backfill.windows import Window
from hark.errors import BadInput
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Stand:
    """A backfill as a command finds or leaves it."""

    id: int
    state: State
    cohort_id: int | None
    undoes: int | None
    created_by: str
    approved_by: str | None
    to_change: int
    approval_over: int | None
    hash: str | None

    @property
    def needs_approval(self) -> bool:
        """Whether a second person must agree before it is applied."""
        return self.approval_over is not None and self.to_change > self.approval_over


@dataclass(frozen=True, slots=True)
class Paced:
    """A backfill, and the pace that it has now; in words by `str`."""

    id: int
    state: State
    rate: float | None
    adaptive: bool
    window: str | None

    def __str__(self) -> str:
        rate = "no rate" if self.rate is None else f"{self.rate:g} users/s"
        return f"{rate}, {'adaptive' if self.adaptive else 'not adaptive'}, {self.window or 'at any time'}"


@dataclass(frozen=True, slots=True)
class _Pace:
    rate: float | None
    adaptive: bool
    opens: time | None
    closes: time | None
    zone: str

    def of(self, found: Stand) -> Paced:
        """As people are told of it."""
        hours = None if self.opens is None or self.closes is None else str(Window(self.opens, self.closes, self.zone))
        return Paced(found.id, found.state, self.rate, self.adaptive, hours)


@dataclass(frozen=True, slots=True)
class _Stand:
    id: int
    state: str
    cohort_id: int | None
    undoes: int | None
    created_by: str
    approved_by: str | None
    to_change: int
    approval_over: int | None
    hash: str | None


@dataclass(frozen=True, slots=True)
class _Moved:
    state: str


async def stand(database: Database, backfill: int) -> Stand:
    """How a backfill stands.

    Raises:
        BadInput: there is none of that number.
    """
    found = await database.fetch(_SQL["stand"], _Stand, {"backfill": backfill})
    if not found:
        raise BadInput(f"there is no backfill {backfill}; hark backfill list shows those there are")
    row = found[0]
    return Stand(
        row.id,
        State(row.state),
        row.cohort_id,
        row.undoes,
        row.created_by,
        row.approved_by,
        row.to_change,
        row.approval_over,
        row.hash,
    )


async def approve(database: Database, backfill: int, *, who: str, now: datetime) -> Stand:
    """Agree to a plan, as a second person.

    Raises:
        BadInput: there is no such plan to approve, or it is one's own.
    """
    found = await stand(database, backfill)
    if found.created_by == check_who(who):
        raise BadInput(f"backfill {backfill} was planned by {who}: another person must approve it")
    return await _move(database, "approve", found, "approved", who, now)


async def apply(database: Database, backfill: int, *, who: str, now: datetime, plan_hash: str | None = None) -> Stand:
    """Let a plan be applied; workers, or whoever steps a `Runner`, do so. One that failed goes on with what failed.

    Args:
        plan_hash: of the plan that was looked at; another one is refused.

    Raises:
        BadInput: it cannot be applied as it stands, needs a second person's approval, or is another plan.
    """
    found = await stand(database, backfill)
    if found.state is State.APPLYING:
        return found
    if plan_hash is not None and plan_hash != found.hash:
        raise BadInput(f"backfill {backfill} is another plan: its hash is {found.hash}, not {plan_hash}")
    if found.state is State.PLANNED and found.needs_approval:
        raise BadInput(
            f"backfill {backfill} changes {found.to_change:,} users, and more than {found.approval_over:,} need a"
            f" second person: let another one than {found.created_by} run hark backfill approve {backfill}"
        )
    return await _move(database, "apply", found, "applied", who, now)


async def pause(database: Database, backfill: int, *, who: str, now: datetime) -> Stand:
    """Stop after the batches under way; `resume` goes on.

    Raises:
        BadInput: it is not being applied.
    """
    return await _move(database, "pause", await stand(database, backfill), "paused", who, now)


async def resume(database: Database, backfill: int, *, who: str, now: datetime) -> Stand:
    """Go on where it was paused.

    Raises:
        BadInput: it is not paused.
    """
    return await _move(database, "resume", await stand(database, backfill), "resumed", who, now)


async def cancel(database: Database, backfill: int, *, who: str, now: datetime) -> Stand:
    """Call it off. What was applied stays, and can be undone.

    Raises:
        BadInput: it has ended already.
    """
    return await _move(database, "cancel", await stand(database, backfill), "canceled", who, now)


async def speed(database: Database, backfill: int, change: PaceChange, *, who: str, now: datetime) -> Paced:
    """Change how fast and when, also while it runs; what the change does not name stays.

    Raises:
        BadInput: no such rate, or it has ended.
    """
    found = await stand(database, backfill)
    window = change.window
    given = {
        "backfill": backfill,
        "rate": check_rate(change.rate),
        "no_rate": change.no_rate,
        "adaptive": change.adaptive,
        "opens": window.opens if window else None,
        "closes": window.closes if window else None,
        "zone": window.zone if window else None,
        "any_time": change.any_time,
        "now": now,
    }
    async with database.transaction() as connection:
        changed = await fetch(connection, _SQL["speed"], _Pace, given)
        if not changed:
            raise BadInput(f"backfill {backfill} is {found.state}: it has ended, and its pace is of no use any more")
        paced = changed[0].of(found)
        await connection.execute(_SQL["sped"].text(), {**given, "who": check_who(who), "said": str(paced)})
    return paced


async def stop_all(database: Database, *, stopped: bool, who: str, now: datetime) -> bool:
    """Hold every backfill (or let them go on): a switch that no batch begins against. Whether it was turned."""
    given = {"stopped": stopped, "who": check_who(who), "now": now}
    async with database.transaction() as connection:
        turned = (await connection.execute(_SQL["stop_all"].text(), given)).rowcount == 1
    if stopped:
        for run in await database.fetch(_SQL["applying"], _Applying):
            await _wait_for_batches(database, run.id)
    return turned


@dataclass(frozen=True, slots=True)
class _Applying:
    id: int


async def _wait_for_batches(database: Database, backfill: int) -> None:
    async with database.transaction() as connection:
        await connection.execute(_SQL["alone"].text(), {"backfill": backfill})


async def _move(database: Database, query: str, found: Stand, done: str, who: str, now: datetime) -> Stand:
    given = {"backfill": found.id, "who": check_who(who), "now": now}
    moved = await _alone(database, _SQL[query], given)
    if not moved:
        current = await stand(database, found.id)
        raise BadInput(f"backfill {found.id} is {current.state} and cannot be {done}; {_instead(current.state)}")
    return await stand(database, found.id)


async def _alone(database: Database, query: Query, given: dict[str, object]) -> list[_Moved]:
    """With no batch of the backfill under way."""
    async with database.transaction() as connection:
        await connection.execute(_SQL["alone"].text(), given)
        return await fetch(connection, query, _Moved, given)


def _instead(state: State) -> str:
    match state:
        case State.PLANNING:
            return "wait until it is planned"
        case State.PLANNED | State.APPROVED:
            return "apply it, or cancel it"
        case State.APPLYING | State.PAUSED:
            return "pause, resume or cancel it"
        case _:
            return "it has ended: verify it, undo it, or plan a new one"
