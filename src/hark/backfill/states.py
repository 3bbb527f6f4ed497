"""The states of a backfill and the arrows between them: the same as `hark.backfill_transition`, which enforces them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a backfill is."""

    PLANNING = "PLANNING"
    PLANNED = "PLANNED"
    APPROVED = "APPROVED"
    APPLYING = "APPLYING"
    PAUSED = "PAUSED"
    APPLIED = "APPLIED"
    VERIFIED = "VERIFIED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"


class BatchState(StrEnum):
    """Where one batch of it is."""

    WAITING = "WAITING"
    CLAIMED = "CLAIMED"
    DONE = "DONE"
    FAILED = "FAILED"


class Fate(StrEnum):
    """What became of a user whom the plan meant to change: `hark.backfill_item.outcome`."""

    APPLIED = "applied"
    DRIFTED = "drifted"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow, with the sentence that says when and why it is safe."""

    from_state: State
    to_state: State
    sentence: str


TRANSITIONS = (
    Transition(
        State.PLANNING, State.PLANNED, "All of the cohort has been looked at; the plan is sealed with its hash."
    ),
    Transition(State.PLANNING, State.CANCELED, "Called off while it was planned; nothing was changed."),
    Transition(State.PLANNING, State.FAILED, "It could not be planned; nothing was changed."),
    Transition(State.PLANNED, State.APPROVED, "A second person has looked at the plan and agreed."),
    Transition(State.PLANNED, State.APPLYING, "Applied; no second person is asked for so few users."),
    Transition(State.PLANNED, State.CANCELED, "Called off before anything was changed."),
    Transition(State.APPROVED, State.APPLYING, "Applied, by the plan that was approved."),
    Transition(State.APPROVED, State.CANCELED, "Called off before anything was changed."),
    Transition(State.APPLYING, State.PAUSED, "No batch is under way, and none begins until it is resumed."),
    Transition(
        State.APPLYING, State.APPLIED, "Every batch is done: in it each user is applied, drifted or quarantined."
    ),
    Transition(
        State.APPLYING,
        State.CANCELED,
        "Called off; no batch is under way, and what was applied is in the journal.",
    ),
    Transition(State.APPLYING, State.FAILED, "A batch used up its attempts; the others are done."),
    Transition(State.PAUSED, State.APPLYING, "Resumed, at the first batch that is not done."),
    Transition(State.PAUSED, State.CANCELED, "Called off; what was applied is in the journal."),
    Transition(State.APPLIED, State.APPLYING, "What failed is applied again, and only that."),
    Transition(State.APPLIED, State.CANCELED, "An undo: who could not be taken back is left so, and not tried again."),
    Transition(State.APPLIED, State.VERIFIED, "Read again: all that does not hold is explained."),
    Transition(State.VERIFIED, State.APPLYING, "What failed is applied again, and only that."),
    Transition(State.VERIFIED, State.CANCELED, "An undo: who could not be taken back is left so, and not tried again."),
    Transition(State.VERIFIED, State.APPLIED, "Read again: something does not hold any more, and nothing explains it."),
    Transition(State.FAILED, State.APPLYING, "The batches that failed are applied again."),
    Transition(State.FAILED, State.CANCELED, "Called off; what was applied is in the journal."),
)

UNDER_WAY = frozenset((State.PLANNING, State.APPLYING))
"""A worker has something to do."""

ENDED = frozenset((State.APPLIED, State.VERIFIED, State.CANCELED, State.FAILED))
"""Nothing goes on by itself."""

UNDOABLE = (State.PAUSED, *sorted(ENDED))
"""It may have changed something, and nothing is under way."""
