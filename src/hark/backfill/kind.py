"""What a kind of backfill must say. The engine hands it batches of users, and keeps what it answers.

A kind is one file in `kinds/` with its SQL beside it. All that it needs to plan is in its request, which is stored, so
that any worker can go on with any run, whatever its own catalogue says by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from psycopg import AsyncConnection

from hark.postgres.database import Database

Connection = AsyncConnection[tuple[Any, ...]]
Json = Mapping[str, Any]
"""What a kind stores for itself: an object that JSON can hold."""


@dataclass(frozen=True, slots=True)
class Span:
    """The next users of a cohort, in the order of their ids: `members` at most behind `after`, in batches of `size`."""

    cohort: int
    after: str
    size: int
    members: int


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes of the users of one batch who are alike.

    Attributes:
        place: which batch of the span they are in, from 0.
        outcomes: what becomes of each, by subject (for preferences: by reason), in words that counts are kept by.
        change: what the kind will do with each of them; None: nothing.
        promise: what will be so of each of them afterwards, for `verify`; None: nothing is promised.
        members: their ids, sorted.
    """

    place: int
    user_type: str | None
    outcomes: Mapping[str, str]
    change: Json | None
    promise: Json | None
    members: Sequence[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch to apply or to verify; `only`: of its users just these."""

    backfill: int
    number: int
    only: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """How many users of a batch were changed as planned, how many were not because they had drifted, and how many the
    kind itself has quarantined, with their causes in the journal."""

    applied: int
    drifted: int
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Astray:
    """One user for whom a backfill does not hold; `explained`: the journal, or a later change of theirs, says why."""

    recipient_id: str
    explained: bool
    why: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What reading a batch again found."""

    compared: int
    holding: int
    astray: Sequence[Astray]


@dataclass(frozen=True, slots=True)
class Through:
    """Of the batches of a run that are begun and not done: for whom all is done by now, and how that went.

    Attributes:
        users: for whom all is done.
        seconds: between the first and the last of them.
        waits: seconds from when the last was asked for until what was put off may be asked for again.
    """

    users: int
    seconds: float
    waits: float

    def rest(self, users: int) -> float:
        """Seconds that so many more take, if it goes on as it went."""
        each = self.seconds / (self.users - 1) if self.users > 1 else 0.0
        return users * each + self.waits


class Stepwise(Protocol):
    """A kind that is done with users one by one, before it is with their batch."""

    async def through(self, database: Database, backfill: int) -> Through:
        """How far it is within batches; nobody, of runs that are of another kind. Cheap enough for every second."""
        ...


class Kind(Protocol):
    """One kind of backfill."""

    @property
    def name(self) -> str:
        """As the command line and `hark.backfill.kind` say it."""
        ...

    @property
    def goes_outside(self) -> bool:
        """Whether its batches are worked at outside of transactions before they are applied (`hark.backfill.outside`).

        What such a batch takes cannot be rehearsed, and the run's rate is kept by whoever does that work.
        """
        ...

    @property
    def planned_at_once(self) -> int:
        """Users that one chunk of planning looks at, about; a kind may put these into its batches in any order.

        Each batch of a span has as many users as the engine would give it; only who they are is the kind's to say.
        """
        ...

    async def plan(self, connection: Connection, request: Json, span: Span) -> list[Part]:
        """What would become of the users of a span. Writes nothing."""
        ...

    async def plan_undo(self, connection: Connection, undoes: int, span: Span) -> list[Part]:
        """How to take back what a backfill did to the users of a span, and they have not changed since."""
        ...

    async def apply(self, connection: Connection, batch: Batch, now: datetime) -> Applied:
        """Do what the parts of a batch say to whoever still stands as planned, and write the journal of all.

        In the caller's transaction; set-based; a user who drifted is not touched, and journaled as such.
        """
        ...

    async def verify(self, connection: Connection, batch: Batch) -> Looked:
        """Read the users of a batch again."""
        ...

    async def did(self, connection: Connection, backfill: int) -> bool:
        """Whether a backfill did anything that can be taken back."""
        ...

    async def shown(self, database: Database, backfill: int) -> Json | None:
        """What there is to see of a run beside what the engine keeps; None: nothing."""
        ...

    async def forget(self, connection: Connection, backfill: int) -> None:
        """Forget who its users were, beside what the engine keeps of them."""
        ...
