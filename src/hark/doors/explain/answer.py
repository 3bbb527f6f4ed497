"""The answer: one sentence, and the steps behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Telling(StrEnum):
    """How it stands between one event and one recipient."""

    SENT = "sent"
    """In a message that its provider accepted."""
    UNKNOWN = "unknown"
    """In a message that was handed over; its answer never came."""
    SENDING = "sending"
    """In a message that a worker holds just now."""
    WAITING = "waiting"
    """In a message that is not due yet, or that is tried again."""
    LEFT_OUT = "left_out"
    """The last recheck took it out of its message, or the whole message back."""
    REFUSED = "refused"
    """In a message that its provider refused for good."""
    CANCELED = "canceled"
    """In a message that was given up before any hand-over."""
    IN_APP = "in_app"
    """In the inbox only; no message was wanted or possible."""
    NOT_TOLD = "not_told"
    """By no channel."""
    NOT_YET = "not_yet"
    """The fan-out has not come to them."""
    NOT_MATCHED = "not_matched"
    """Not in the audience."""


class What(StrEnum):
    """The steps of a story."""

    MATCHED = "matched"
    NOT_MATCHED = "not matched"
    FANNING_OUT = "fanning out"
    COUNTS_AS = "counts as"
    DECIDED = "decided"
    BATCHED = "batched"
    SEEN = "seen"
    READ = "read"
    ARCHIVED = "archived"
    WAITS = "waits"
    CLAIMED = "claimed"
    RECHECKED = "rechecked"
    GIVEN_BACK = "given back"
    CANCELED = "canceled"
    UNANSWERED = "unanswered"
    SENT = "sent"
    DEFERRED = "deferred"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, or (`waits`) that is to happen; `why` is for people."""

    at: datetime
    what: What
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a recipient was, or was not, told of an event; `steps` in the order of their times.

    `as_reason` is the narrower reason that it counted as for them (None: the event's own), `also` what else applied.
    """

    recipient: str
    event: int
    reason: str
    actor: str | None
    occurred_at: datetime
    telling: Telling
    sentence: str
    steps: tuple[Step, ...]
    as_reason: str | None = None
    also: tuple[str, ...] = ()
