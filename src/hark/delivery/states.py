"""The states of a delivery and the arrows between them: the same as `hark.delivery_transition`, which enforces them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a delivery is."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    SENT = "SENT"
    CANCELED = "CANCELED"


class Result(StrEnum):
    """What is known of a hand-over: the `outcome` column."""

    NONE = "none"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow, with the sentence that says when and why it is safe."""

    from_state: State
    from_outcome: Result
    to_state: State
    to_outcome: Result
    sentence: str


CLAIMED = Transition(
    State.PENDING,
    Result.NONE,
    State.SENDING,
    Result.NONE,
    "Claimed when due: row locks and the guard give it to one worker, with a lease and the next attempt number.",
)
GIVEN_UP = Transition(
    State.SENDING,
    Result.NONE,
    State.CANCELED,
    Result.NONE,
    "Recheck found nothing left to say, or its attempts are used up; nothing was handed over.",
)
GIVEN_BACK = Transition(
    State.SENDING,
    Result.NONE,
    State.PENDING,
    Result.NONE,
    "The lease ran out, rendering failed for now, or its recipient's cap is reached; nothing was handed over.",
)
MARKED = Transition(
    State.SENDING,
    Result.NONE,
    State.SENT,
    Result.UNKNOWN,
    "Committed just before the hand-over; from here on never again by itself.",
)
ACCEPTED = Transition(State.SENT, Result.UNKNOWN, State.SENT, Result.ACCEPTED, "The provider said yes.")
DEFERRED = Transition(
    State.SENT,
    Result.UNKNOWN,
    State.PENDING,
    Result.NONE,
    "The provider certainly did not take it, and may later; or the reason asks for at least once.",
)
REFUSED = Transition(
    State.SENT,
    Result.UNKNOWN,
    State.CANCELED,
    Result.REFUSED,
    "The provider certainly will not take it, or its attempts are used up.",
)

TRANSITIONS = (CLAIMED, GIVEN_UP, GIVEN_BACK, MARKED, ACCEPTED, DEFERRED, REFUSED)
