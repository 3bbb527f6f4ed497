"""What the HTTP door asks of backfills, and what it is told: the seam to the engine, which knows nothing of HTTP.

A refusal that the caller can mend is a `BadInput`; that there is no such backfill is a None of `show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CohortAsked:
    """Whose: the union of all that is named, without all that is excepted. No files of the server's own."""

    everyone: bool
    ids: tuple[str, ...]
    urls: tuple[str, ...]
    segments: tuple[str, ...]
    except_ids: tuple[str, ...]
    except_urls: tuple[str, ...]
    except_segments: tuple[str, ...]
    column: str | None
    format: str | None


@dataclass(frozen=True, slots=True)
class PaceAsked:
    """How fast, in users a second (None: as the database bears), and when: `20:00-06:00 Europe/Berlin`."""

    rate: float | None
    adaptive: bool
    window: str | None


@dataclass(frozen=True, slots=True)
class PreferencesAsked:
    """A backfill of preferences: channels to append, for these reasons and user types."""

    reasons: tuple[str, ...]
    channels: tuple[str, ...]
    user_types: tuple[str, ...]
    create_rows: bool
    cohort: CohortAsked
    batch_size: int
    pace: PaceAsked


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill as it stands.

    Attributes:
        hash: of all that the plan would do; None until it is planned.
        outcomes: of the plan: users by user type, by reason, by outcome.
        waited: seconds that batches were held up, by reason.
        undoes: the backfill that it takes back.
    """

    id: int
    kind: str
    state: str
    request: Mapping[str, object]
    hash: str | None
    members: int
    to_change: int
    batches: int
    batches_done: int
    applied: int
    drifted: int
    quarantined: int
    needs_approval: bool
    batch_size: int
    rate: float | None
    adaptive: bool
    window: str | None
    outcomes: Mapping[str, object]
    waited: Mapping[str, float]
    created_by: str
    created_at: datetime
    approved_by: str | None
    changed_by: str
    changed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    undoes: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One user whom the plan meant to change and who was not: `drifted` or `quarantined`, and why."""

    recipient_id: str
    batch: int
    outcome: str
    why: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class NotHolding:
    """One user for whom a backfill does not hold; `explained`: the journal, or a later choice of theirs, says why."""

    recipient_id: str
    explained: bool
    why: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading the cohort again found; `good`: something was compared, and all that does not hold is explained."""

    backfill: int
    good: bool
    compared: int
    holding: int
    explained: int
    unexplained: int
    whys: Mapping[str, int]
    astray: Sequence[NotHolding]


class Backfills(Protocol):
    """All that can be done with backfills. `who` is the name of the caller's key."""

    async def create(self, asked: PreferencesAsked, who: str) -> Backfill:
        """Ask for a plan; workers make it. Nothing is changed until it is applied."""
        ...

    async def show(self, number: int) -> Backfill | None:
        """How one stands; None: there is none of that number."""
        ...

    async def list(self, *, state: str | None, before: int, limit: int) -> Sequence[Backfill]:
        """One page, newest first."""
        ...

    async def approve(self, number: int, who: str) -> Backfill:
        """Agree to a plan, as a second person."""
        ...

    async def apply(self, number: int, who: str, plan: str | None) -> Backfill:
        """Let workers apply a plan; with `plan`, only the one that has this hash."""
        ...

    async def pause(self, number: int, who: str) -> Backfill:
        """Stop after the batches under way."""
        ...

    async def resume(self, number: int, who: str) -> Backfill:
        """Go on."""
        ...

    async def cancel(self, number: int, who: str) -> Backfill:
        """Call it off; what was applied stays, and can be undone."""
        ...

    async def speed(self, number: int, pace: PaceAsked, who: str) -> Backfill:
        """Change how fast and when, also while it runs."""
        ...

    async def retry(self, number: int, who: str) -> Backfill:
        """Apply what was quarantined or given up again, and only that."""
        ...

    async def verify(self, number: int, who: str) -> Verified:
        """Read the cohort again."""
        ...

    async def undo(self, number: int, who: str) -> Backfill:
        """Ask for a plan that takes back what it did and nobody changed since; the backfill that will."""
        ...

    async def failures(self, number: int, *, after: str, limit: int) -> Sequence[Failure]:
        """One page, in the order of the users' ids."""
        ...
