"""Verify: read the cohort again. How many were compared, how many hold, and each that does not, with why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from hark.backfill import control
from hark.backfill.kind import Astray, Batch, Kind
from hark.backfill.kinds import KINDS
from hark.backfill.request import check_who
from hark.backfill.states import State
from hark.errors import BadInput
from hark.postgres.database import Database
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

VERIFIABLE = (State.APPLIED, State.VERIFIED, State.CANCELED, State.FAILED, State.PAUSED)
SHOWN = 100
KINDS_SHOWN = 20
"""Kinds of explanations that are counted apart; whatever else there is, is counted as `others`."""

_QUARANTINED = re.compile(r"quarantined: .*?( \([0-9A-Z]{5}\))?", re.DOTALL)
"""What somebody else's code said of one user, a trigger's say, may name them."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading the cohort again found.

    Attributes:
        compared: users to whom something was promised; `holding`: of whom it is so.
        explained: of whom it is not, and the journal or a later choice of theirs says why.
        unexplained: of whom it is not, and nothing says why.
        whys: how many of each kind of explanation: the most frequent ones, and all others as one.
        astray: the first of those of whom it is not so, the unexplained before the others; each with its own words.
        undone_by: the backfills that took back what it did, or some of it.
    """

    backfill: int
    compared: int
    holding: int
    explained: int
    unexplained: int
    whys: dict[str, int]
    astray: list[Astray]
    undone_by: list[int]

    @property
    def good(self) -> bool:
        """Whether something was compared and all that does not hold is explained."""
        return self.compared > 0 and self.unexplained == 0


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int


@dataclass(frozen=True, slots=True)
class _Reach:
    number: int
    first: str


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Kind:
    kind: str


@dataclass(slots=True)
class _Tally:
    shown: int
    told: Callable[[Astray], None]
    compared: int = 0
    holding: int = 0
    whys: Counter[str] = field(default_factory=Counter)
    unexplained: list[Astray] = field(default_factory=list)
    explained: list[Astray] = field(default_factory=list)
    counted: Counter[bool] = field(default_factory=Counter)

    def note(self, astray: Astray) -> None:
        self.told(astray)
        self.counted[astray.explained] += 1
        self.whys[_kind(astray.why)] += 1
        kept = self.explained if astray.explained else self.unexplained
        if len(kept) < self.shown:
            kept.append(astray)


async def verify(
    database: Database,
    backfill: int,
    *,
    who: str,
    now: datetime,
    shown: int = SHOWN,
    progress: Callable[[int], None] = lambda _done: None,
    told: Callable[[Astray], None] = lambda _astray: None,
) -> Verified:
    """Read the users of a backfill again, batch by batch, and keep what was found with it.

    An applied one becomes VERIFIED, when it is good and was not undone; a verified one of which that is not so any
    more, APPLIED.

    Args:
        shown: how many of those that do not hold are named.
        progress: told how many users were compared so far.
        told: told of each that does not hold, however many there are.

    Raises:
        BadInput: it was not applied, or goes on.
    """
    await _verifiable(database, backfill)
    tally = await _read_again(database, backfill, _Tally(shown, told), progress)
    astray = [*tally.unexplained, *tally.explained][:shown]
    undone_by = [row.id for row in await database.fetch(_SQL["undone_by"], _Id, {"backfill": backfill})]
    counted = tally.counted
    seen = Verified(
        backfill, tally.compared, tally.holding, counted[True], counted[False], _most(tally.whys), astray, undone_by
    )
    await _keep(database, seen, check_who(who), now)
    return seen


async def astray(
    database: Database, backfill: int, *, after: str = "", limit: int = SHOWN, unexplained: bool = False
) -> list[Astray]:
    """One page of the users for whom a backfill does not hold, in the order of their ids; nothing is counted or kept.

    Of the batches those are read again that may have somebody of the page.

    Args:
        after: only users behind this id.
        unexplained: only those of whom nothing says why.

    Raises:
        BadInput: it was not applied, or goes on.
    """
    await _verifiable(database, backfill)
    kind = await _kind_of(database, backfill)
    found: list[Astray] = []
    given = {"backfill": backfill, "after": after}
    for batch in await database.fetch(_SQL["behind"], _Reach, given):
        if sum(each.recipient_id < batch.first for each in found) >= limit:
            break
        async with database.connection() as connection:
            seen = await kind.verify(connection, Batch(backfill, batch.number))
        found += [each for each in seen.astray if each.recipient_id > after and not (unexplained and each.explained)]
    return sorted(found, key=lambda each: each.recipient_id)[:limit]


async def _verifiable(database: Database, backfill: int) -> None:
    found = await control.remembered(database, backfill)
    if found.state not in VERIFIABLE:
        raise BadInput(f"backfill {backfill} is {found.state}; it can be verified when it was applied")


async def _kind_of(database: Database, backfill: int) -> Kind:
    return KINDS[(await database.one(_SQL["kind"], _Kind, {"backfill": backfill})).kind]


def _kind(why: str) -> str:
    """An explanation without the words that may differ from user to user."""
    found = _QUARANTINED.fullmatch(why)
    return why if found is None else f"quarantined{found[1] or ''}"


def _most(whys: Counter[str]) -> dict[str, int]:
    most = dict(whys.most_common(KINDS_SHOWN))
    others = whys.total() - sum(most.values())
    return {**most, "others": others} if others else most


async def _read_again(database: Database, backfill: int, tally: _Tally, progress: Callable[[int], None]) -> _Tally:
    after = 0
    kind = await _kind_of(database, backfill)
    while numbers := await database.fetch(_SQL["batches"], _Batch, {"backfill": backfill, "after": after}):
        async with database.connection() as connection:
            for batch in numbers:
                seen = await kind.verify(connection, Batch(backfill, batch.number))
                tally.compared += seen.compared
                tally.holding += seen.holding
                for astray in seen.astray:
                    tally.note(astray)
                progress(tally.compared)
        after = numbers[-1].number
    return tally


def _undone(seen: Verified) -> str:
    return f"; undone by {', '.join(map(str, seen.undone_by))}" if seen.undone_by else ""


async def _keep(database: Database, seen: Verified, who: str, now: datetime) -> None:
    given = {
        "backfill": seen.backfill,
        "compared": seen.compared,
        "holding": seen.holding,
        "good": seen.good and not seen.undone_by,
        "said": f"{seen.holding:,} of {seen.compared:,} hold, {seen.unexplained:,} unexplained{_undone(seen)}",
        "who": who,
        "now": now,
    }
    await database.execute(_SQL["keep"], given)
