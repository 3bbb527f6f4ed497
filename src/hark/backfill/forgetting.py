"""Forgetting: who the users of a backfill were, and what they had; how many got what, and who did what when, stays.

What is forgotten cannot be verified, undone or applied again, nor can an undo of it. Nor can those be undone that
changed the same before it, or at the same time: what is taken back is what nobody changed since, and of the forgotten
one nobody knows any more. An undo is forgotten after what it took back: else nobody could say what became of those
users. Its journal has nobody whom the other's does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hark.backfill import cohort
from hark.backfill.kinds import KINDS
from hark.backfill.request import check_who
from hark.backfill.states import ENDED, State
from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

_BATCHES = 20
"""Batches that one statement forgets."""

OWNERLESS_AFTER = timedelta(days=1)
"""A cohort that no backfill is of by then is nobody's."""


@dataclass(frozen=True, slots=True)
class Forgettable:
    """What there is to forget of a backfill.

    Attributes:
        members: users of its plan; `journaled`: those of whom it says what they had, or why they were not changed.
        faults: rows of its lists that were bad or named somebody unknown.
        shared: its cohort is of another backfill, too, and stays until that is forgotten.
        outlived: backfills that cannot be undone any more when it is forgotten.
        forgotten: it was forgotten before; what is counted is left of that.
    """

    backfill: int
    members: int
    journaled: int
    faults: int
    shared: bool
    forgotten: bool = False
    outlived: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    kind: str
    state: str
    cohort_id: int | None
    forgotten_at: datetime | None
    members: int
    journaled: int
    faults: int
    undoing: list[int]
    idle: list[int]
    failing: list[int]
    undone: list[int]
    outlived: list[int]
    asking: list[int]
    shared: bool


@dataclass(frozen=True, slots=True)
class _Last:
    last: int | None


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


async def forgettable(database: Database, backfill: int) -> Forgettable:
    """What `forget` would forget.

    Raises:
        BadInput: there is no such backfill, it has not ended, is being taken back or could not be for some, took back
            what is not forgotten, or came after what is being taken back.
    """
    return _forgettable(backfill, await _look(database, backfill))


async def forget(database: Database, backfill: int, *, who: str, now: datetime) -> Forgettable:
    """Forget it, a few batches at a time; if that is cut short, the next one goes on.

    Raises:
        BadInput: what `forgettable` refuses.
    """
    found = await _look(database, backfill)
    await database.execute(_SQL["mark"], {"backfill": backfill, "who": check_who(who), "now": now})
    last: int | None = 0
    while last is not None:
        given = {"backfill": backfill, "after": last, "batches": _BATCHES}
        last = (await database.one(_SQL["forget_some"], _Last, given)).last
    async with database.transaction() as connection:
        await KINDS[found.kind].forget(connection, backfill)
    if found.cohort_id is not None and not found.shared:
        await cohort.forget(database, found.cohort_id)
    return _forgettable(backfill, found)


def _forgettable(backfill: int, found: _Look) -> Forgettable:
    forgotten = found.forgotten_at is not None
    counts = (found.members, found.journaled, found.faults)
    return Forgettable(backfill, *counts, found.shared, forgotten, tuple(found.outlived))


async def ownerless(database: Database, *, now: datetime) -> list[int]:
    """Cohorts that were staged at least a day ago and that no backfill is of."""
    return [row.id for row in await database.fetch(_SQL["ownerless"], _Id, {"before": now - OWNERLESS_AFTER})]


async def forget_ownerless(database: Database, *, now: datetime) -> int:
    """Forget the cohorts that are nobody's; how many."""
    found = await ownerless(database, now=now)
    for each in found:
        await cohort.forget(database, each)
    return len(found)


async def _look(database: Database, backfill: int) -> _Look:
    rows = await database.fetch(_SQL["look"], _Look, {"backfill": backfill})
    if not rows:
        raise BadInput(f"there is no backfill {backfill}; hark backfill list shows those there are")
    found = rows[0]
    if State(found.state) not in ENDED:
        raise BadInput(f"backfill {backfill} is {found.state}; let it end, or cancel it, before it is forgotten")
    if undoing := found.undoing or (found.idle if KINDS[found.kind].goes_outside else []):
        raise BadInput(
            f"backfill {backfill} is being taken back by backfill {undoing[0]}; let that end first, or call it off:"
            f" hark backfill cancel {undoing[0]}"
        )
    if found.failing:
        raise BadInput(_failing(backfill, found.failing[0]))
    if found.undone:
        raise BadInput(
            f"backfill {backfill} took back what backfill {found.undone[-1]} did, and of whom is only in its journal;"
            f" forget {' and '.join(map(str, found.undone))} first{', in this order' if found.undone[1:] else ''}"
        )
    if found.asking:
        raise BadInput(
            f"backfill {found.asking[0]} takes back what was done before backfill {backfill}, and asks what that"
            f" changed since; let it end first, or call it off: hark backfill cancel {found.asking[0]}"
        )
    return found


def _failing(backfill: int, undo: int) -> str:
    return (
        f"backfill {undo} could not take back what backfill {backfill} did to some (hark backfill failures {undo});"
        f" hark backfill failures {undo} --retry does so, and hark backfill cancel {undo} leaves them as they are"
    )
