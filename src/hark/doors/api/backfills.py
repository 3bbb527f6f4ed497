"""What the HTTP door asks of backfills, and what it is told: the seam to the engine, which knows nothing of HTTP.

A refusal that the caller can mend is a `BadInput`; that there is no such backfill is a None of `show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from hark.backfill.failures import Failure
from hark.backfill.listing import Count, Estimate, Happened, Line, Sample, Waited
from hark.errors import HarkError


@dataclass(frozen=True, slots=True)
class CohortAsked:
    """Whose: the union of all that is named, without all that is excepted. No files of the server's own."""

    everyone: bool
    ids: tuple[str, ...]
    urls: tuple[str, ...]
    segments: tuple[str, ...]
    flags: tuple[str, ...]
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
class SpeedAsked:
    """What is to be different of a pace; all else stays. `any_rate`, `any_time`: no rate, no hours any more."""

    rate: float | None = None
    any_rate: bool = False
    adaptive: bool | None = None
    window: str | None = None
    any_time: bool = False


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
class LoadAsked:
    """A load of what people bought; it begins by itself once it is planned.

    Attributes:
        everyone: everyone in the graph, in place of a cohort.
        flag: whom it is to let in; None: everybody is let in already.
        ignore_lag: nobody looks at how far the stream is behind.
    """

    cohort: CohortAsked | None
    everyone: bool
    flag: str | None
    rate_limit: int
    lookback_days: int
    force: bool
    ignore_lag: bool = False


class StreamBehind(HarkError):
    """A load was not asked for, since the live stream is behind and nobody reads it, or that cannot be read.

    Attributes:
        faults: what `hark lag` says.
        unreachable: no broker answers.
    """

    def __init__(self, faults: Sequence[str], *, unreachable: bool) -> None:
        self.faults, self.unreachable = tuple(faults), unreachable
        super().__init__("\n".join(faults))


@dataclass(frozen=True, slots=True)
class Head:
    """What was asked for, and how it stands; `hash`: over all that the plan would do. No cohort: not staged yet."""

    id: int
    kind: str
    state: str
    undoes: int | None
    undone_by: list[int]
    request: dict[str, Any]
    cohort_id: int | None
    batch_size: int
    rate: float | None
    adaptive: bool
    window: str | None
    approval_over: int | None
    hash: str | None
    created_by: str
    created_at: datetime
    approved_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    compared: int | None
    holding: int | None
    why: str
    forgotten_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListFault:
    """A row of a list that is bad, or names somebody unknown; `where`: the list."""

    line: int
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Staged:
    """Who is meant (`members`, each once), out of how many rows of lists, and what became of the other rows.

    `excluded_unknown`: users to leave out that Hark does not know, who are not among `rows`. `faults` has the first of
    the bad and unknown rows; `warnings` says which lists to leave out leave out nobody.
    """

    members: int
    rows: int
    duplicates: int
    unknown: int
    other_types: int
    excluded: int
    bad: int
    blank: int
    excluded_unknown: int
    faults: list[ListFault]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a run is: users of the cohort, and those to be changed.

    `through`: users of batches that are begun and not done, for whom all is done already.
    """

    batches: int
    batches_done: int
    batches_failed: int
    members: int
    done: int
    to_change: int
    applied: int
    drifted: int
    quarantined: int
    through: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """All that there is to see of one backfill.

    `more`: of a load, where its course is; `job_id`: its number again; `warnings`: what was seen when it was asked for,
    and stopped nothing: only the answer to that has them.
    """

    head: Head
    cohort: Staged | None
    totals: Totals
    counts: list[Count]
    samples: list[Sample]
    estimate: Estimate | None
    waited: list[Waited]
    events: list[Happened]
    needs_approval: bool
    more: dict[str, Any] | None = None
    job_id: int = 0
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Astray:
    """One user for whom a backfill does not hold; `explained`: the journal, or a later choice of theirs, says why."""

    recipient_id: str
    explained: bool
    why: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading the cohort again found; `good`: something was compared, and all that does not hold is explained.

    `whys` counts each kind of explanation; `undone_by`: the backfills that took back what it did, or some of it.
    """

    backfill: int
    good: bool
    compared: int
    holding: int
    explained: int
    unexplained: int
    whys: Mapping[str, int]
    astray: Sequence[Astray]
    undone_by: Sequence[int] = ()


class Backfills(Protocol):
    """All that can be done with backfills. `who` is the name of the caller's key."""

    async def faults(self, asked: PreferencesAsked) -> Sequence[str]:
        """All that `create` would refuse; writes nothing."""
        ...

    async def create(self, asked: PreferencesAsked, who: str) -> Shown:
        """Ask for a plan; workers stage its cohort and make it. Nothing is changed until it is applied."""
        ...

    async def load(self, asked: LoadAsked, who: str) -> Shown:
        """Ask for a load; workers stage its cohort, plan it and begin it.

        Raises:
            StreamBehind: the stream stands in its way, and that is not to be ignored.
        """
        ...

    async def show(self, number: int) -> Shown | None:
        """How one stands; None: there is none of that number."""
        ...

    async def list(self, *, before: int, limit: int) -> Sequence[Line]:
        """One page, newest first."""
        ...

    async def approve(self, number: int, who: str) -> Shown:
        """Agree to a plan, as a second person."""
        ...

    async def apply(self, number: int, who: str, plan: str | None) -> Shown:
        """Let workers apply a plan; with `plan`, only the one that has this hash."""
        ...

    async def pause(self, number: int, who: str) -> Shown:
        """Stop after the batches under way."""
        ...

    async def resume(self, number: int, who: str) -> Shown:
        """Go on."""
        ...

    async def cancel(self, number: int, who: str) -> Shown:
        """Call it off; what was applied stays, and can be undone."""
        ...

    async def speed(self, number: int, speed: SpeedAsked, who: str) -> Shown:
        """Change how fast and when, also while it runs; what is not named stays."""
        ...

    async def retry(self, number: int, who: str) -> Shown:
        """Apply what was quarantined or given up again, and only that."""
        ...

    async def verify(self, number: int, who: str, *, shown: int) -> Verified:
        """Read the cohort again, and name so many of those for whom it does not hold."""
        ...

    async def astray(self, number: int, *, after: str, limit: int, unexplained: bool) -> Sequence[Astray]:
        """One page of those for whom it does not hold, in the order of the users' ids; nothing is kept of it."""
        ...

    async def undo(self, number: int, who: str) -> Shown:
        """Ask for a plan that takes back what it did and nobody changed since; the backfill that will."""
        ...

    async def failures(self, number: int, *, after: str, limit: int) -> Sequence[Failure]:
        """One page, in the order of the users' ids.

        Raises:
            BadInput: it was forgotten.
        """
        ...

    async def stop_all(self, who: str, *, stopped: bool) -> bool:
        """Hold all backfills, or let them go on; whether that changed anything."""
        ...
