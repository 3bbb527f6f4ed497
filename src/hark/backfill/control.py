"""What people tell a backfill: approve, apply, pause, resume, cancel, speed; and all of them at once, stop.

Each is one guarded statement that writes the audit log with it. `pause`, `cancel` and `stop_all` wait for the batches
under way: when they return, nothing is being written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import psycopg

from hark.backfill import notice
from hark.backfill.bisect import milliseconds
from hark.backfill.kind import Connection
from hark.backfill.reading import Reading
from hark.backfill.request import Pace, PaceChange, check_opposites, check_rate, check_who, is_same_person
from hark.backfill.states import ENDED, State
from hark.backfill.windows import Window
from hark.errors import BadInput, Unreachable
from hark.postgres.database import Database, fetch
from hark.postgres.queries import Queries, Query

_SQL = Queries.beside(__file__)

PATIENCE = timedelta(seconds=60)
"""How long to wait for the batches under way: no transaction lasts longer, unless the database is in trouble."""


class HasEnded(BadInput):
    """What was to be steered has ended; it could have been before."""


@dataclass(frozen=True, slots=True)
class _Since:
    ids: list[int]


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
    forgotten_at: datetime | None = None

    @property
    def needs_approval(self) -> bool:
        """Whether a second person must agree before it is applied."""
        return self.approval_over is not None and self.to_change > self.approval_over


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
    forgotten_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Moved:
    state: str


@dataclass(frozen=True, slots=True)
class _Hash:
    hash: str


@dataclass(frozen=True, slots=True)
class _Paced:
    rate: float | None
    adaptive: bool
    opens: time | None
    closes: time | None
    zone: str

    @property
    def pace(self) -> Pace:
        closed = self.opens is None or self.closes is None
        window = None if closed else Window(self.opens, self.closes, self.zone)  # type: ignore[arg-type]
        return Pace(self.rate, self.adaptive, window)


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
        row.forgotten_at,
    )


async def remembered(database: Database, backfill: int) -> Stand:
    """How a backfill stands of which it is still known who its users were.

    Raises:
        BadInput: it was forgotten, or there is none of that number.
    """
    found = await stand(database, backfill)
    if found.forgotten_at is not None:
        since = found.forgotten_at.astimezone(UTC).isoformat(sep=" ", timespec="seconds")
        raise BadInput(
            f"backfill {backfill} was forgotten ({since}): who its users were is not known any more; plan a new one"
        )
    return found


async def to_apply(database: Database, backfill: int) -> Stand:
    """How a backfill stands that is to be applied, or applied again: of an undo, it is still known what it takes back.

    Raises:
        BadInput: it was forgotten, or what it takes back was, or what came since; or there is none of that number.
    """
    found = await remembered(database, backfill)
    if found.undoes is None:
        return found
    left = f"; nothing is left to do but hark backfill {'forget' if found.state in ENDED else 'cancel'} {backfill}"
    if (await stand(database, found.undoes)).forgotten_at is not None:
        raise BadInput(
            f"backfill {backfill} takes back backfill {found.undoes}, which was forgotten: what it did is not known any"
            f" more{left}"
        )
    await to_undo(database, found.undoes, f"; call it off, if it is not: hark backfill cancel {backfill}")
    return found


async def to_undo(database: Database, backfill: int, left: str = "") -> None:
    """It is known what others changed since a backfill, and so what it may take back.

    Args:
        left: what is said behind a refusal.

    Raises:
        BadInput: one that may have changed the same since is forgotten.
    """
    if since := (await database.one(_SQL["forgotten_since"], _Since, {"backfill": backfill})).ids:
        ones = f"backfill{'s' * bool(since[1:])} {' and '.join(map(str, since))}"
        raise BadInput(
            f"backfill {backfill} cannot be undone any more: {ones} may have changed the same since, and what that was"
            f" is forgotten{left}"
        )


async def approve(database: Database, backfill: int, *, who: str, now: datetime) -> Stand:
    """Agree to a plan, as a second person.

    Raises:
        BadInput: there is no such plan to approve, or it is one's own.
    """
    found = await stand(database, backfill)
    if is_same_person(found.created_by, check_who(who)):
        raise BadInput(f"backfill {backfill} was planned by {who}: another person must approve it")
    return await _move(database, "approve", found, "approved", who, now)


async def apply(database: Database, backfill: int, *, who: str, now: datetime, plan_hash: str | None = None) -> Stand:
    """Let a plan be applied; workers, or whoever steps a `Runner`, do so. One that failed goes on with what failed.

    Args:
        plan_hash: of the plan that was looked at; another one is refused.

    Raises:
        BadInput: it cannot be applied as it stands, needs a second person's approval, or is another plan.
    """
    found = await to_apply(database, backfill)
    check_hash(found, plan_hash)
    if found.state is State.APPLYING:
        return found
    await _check_plan(database, found)
    if found.state is State.PLANNED and found.needs_approval:
        raise BadInput(
            f"backfill {backfill} changes {found.to_change:,} users, and more than {found.approval_over:,} need a"
            f" second person: let another one than {found.created_by} run hark backfill approve {backfill}"
        )
    try:
        return await _move(database, "apply", found, "applied", who, now)
    except BadInput:
        # Of two who start it at the same moment the second one finds it started, as it would a moment later.
        current = await stand(database, backfill)
        if current.state is not State.APPLYING:
            raise
        return current


def check_hash(found: Stand, plan_hash: str | None) -> None:
    """That a plan is the one that was looked at, if somebody says which.

    Raises:
        BadInput: it is another one, or there is none yet.
    """
    if plan_hash is None or plan_hash == found.hash:
        return
    if found.hash is not None:
        raise BadInput(f"backfill {found.id} is another plan: its hash is {found.hash}, not {plan_hash}")
    if found.state is State.PLANNING:
        raise BadInput(
            f"backfill {found.id} is not planned yet, so it has no hash; leave --hash out: hark backfill apply"
            f" {found.id} plans it, and shows that"
        )
    raise BadInput(f"backfill {found.id} is {found.state} and was never planned, so it has no hash; plan a new one")


async def _check_plan(database: Database, found: Stand) -> None:
    now = await database.one(_SQL["hash"], _Hash, {"backfill": found.id})
    if found.hash is not None and now.hash != found.hash:
        raise BadInput(f"backfill {found.id} is not as it was planned: something wrote to its plan; plan it anew")


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


async def cancel(
    database: Database, backfill: int, *, who: str, now: datetime, webhook: notice.Webhook | None = None
) -> Stand:
    """Call it off. What was applied stays, and can be undone. Whoever wants to know of its end is told.

    Of an undo that has ended, who could not be taken back is left so.

    Raises:
        BadInput: it has ended already, and is no undo that failed for somebody.
    """
    canceled = await _move(database, "cancel", await stand(database, backfill), "canceled", who, now)
    await notice.call(webhook, database, backfill)
    return canceled


async def speed(database: Database, backfill: int, change: PaceChange, *, who: str, now: datetime) -> Pace:
    """Change how fast and when, also while it runs. What is not named stays.

    Returns:
        The pace from now on.

    Raises:
        HasEnded: it has ended.
        BadInput: nothing is to be changed, there is no such rate, or nobody does it: all of it at once.
    """
    found = await stand(database, backfill)
    reading = Reading()
    reading.take(lambda: check_change(change))
    by = reading.take(lambda: check_who(who))
    reading.end()
    window = change.window
    given = {
        "backfill": backfill,
        "rate": change.rate,
        "any_rate": change.any_rate,
        "adaptive": change.adaptive,
        "opens": window.opens if window else None,
        "closes": window.closes if window else None,
        "zone": window.zone if window else None,
        "any_time": change.any_time,
        "who": by,
        "now": now,
    }
    async with database.transaction() as connection:
        paced = await fetch(connection, _SQL["speed"], _Paced, given)
        if not paced:
            raise HasEnded(f"backfill {backfill} is {found.state}: it has ended, and goes at no speed any more")
        pace = paced[0].pace
        await connection.execute(_SQL["note_speed"].text(), {**given, "said": str(pace)})
    return pace


def check_change(change: PaceChange) -> PaceChange:
    """A change of pace that can be made.

    Raises:
        BadInput: nothing is to be changed, there is no such rate, or opposites are said.
    """
    check_rate(change.rate)
    if change == PaceChange():
        raise BadInput(
            "nothing is to be changed: name --rate or --no-rate, --window or --any-time, or --[not-]adaptive"
        )
    check_opposites(
        rate=change.rate is not None,
        any_rate=change.any_rate,
        window=change.window is not None,
        any_time=change.any_time,
    )
    return change


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
        await _be_alone(connection, backfill)


async def _be_alone(connection: Connection, backfill: int) -> None:
    given = {"backfill": backfill, "patience": milliseconds(PATIENCE)}
    try:
        await connection.execute(_SQL["alone"].text(), given)
    except psycopg.errors.LockNotAvailable as error:
        raise Unreachable(
            f"a batch of backfill {backfill} that is under way has not ended within {PATIENCE.total_seconds():g} s;"
            " it will when its lease runs out, or the database answers it: try again"
        ) from error


async def _move(database: Database, query: str, found: Stand, done: str, who: str, now: datetime) -> Stand:
    given = {"backfill": found.id, "who": check_who(who), "now": now}
    moved = await _alone(database, found.id, _SQL[query], given, now)
    if not moved:
        current = await stand(database, found.id)
        raise BadInput(f"backfill {found.id} is {current.state} and cannot be {done}; {_instead(current.state)}")
    return await stand(database, found.id)


async def _alone(
    database: Database, backfill: int, query: Query, given: dict[str, object], now: datetime
) -> list[_Moved]:
    """With no batch of the backfill under way."""
    async with database.transaction() as connection:
        await _be_alone(connection, backfill)
        moved = await fetch(connection, query, _Moved, given)
        if moved and moved[0].state in ENDED:
            await notice.ended(connection, backfill, now)
        return moved


def _instead(state: State) -> str:
    match state:
        case State.PLANNING:
            return "wait until a worker has planned it; at the command line, hark backfill apply plans it"
        case State.PLANNED | State.APPROVED:
            return "apply it, or cancel it"
        case State.APPLYING | State.PAUSED:
            return "pause, resume or cancel it"
        case _:
            return "it has ended: verify it, undo it, or plan a new one"
