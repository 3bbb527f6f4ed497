"""Why the last recheck left a notification out of its message, as a sentence's end: `for they had read it in app`."""

from __future__ import annotations

from datetime import datetime

from hark.doors.explain.moments import Moments
from hark.doors.explain.story import Story, Told

_BECAUSE = {
    "read": "they had read it in app",
    "archived": "they had archived it in app",
    "unknown_recipient": "they were no recipient any more",
    "unsubscribed": "they had unsubscribed from it, or muted it, since",
    "unknown_type": "the catalogue no longer had their user type",
    "inactive": "they were no longer active",
    "not_offered": "the catalogue no longer offered {reason} to their user type",
    "malformed": "their preference for {reason} could not be read any more",
    "never": "they had muted {reason} since",
    "own_channels": "they did not want {reason} by e-mail any more",
    "default_channels": "{reason} did not go by e-mail any more",
    "no_address": "they had no address any more",
    "unconfirmed": "their address was not confirmed any more",
    "not_opted_in": "they had withdrawn their consent",
    "suppressed": "their address had been refused by its provider",
    "deleted": "it had been deleted",
    "private": "it had been made private",
    "blocked": "it was from someone whom they had blocked",
    "edited": "it had been edited away",
    "gone": "it was not there any more",
    "unasked": "{reason} had more items than are asked about",
}


def because(story: Story, why: str, moments: Moments) -> str:
    """What a delivery's note says of this event, with the time where it is known."""
    known = _BECAUSE.get(why)
    sentence = known.format(reason=story.reason) if known else f"its recheck said: {why}"
    at = _done_at(story.told, why)
    return f"{sentence} at {moments.clock(at)}" if at else sentence


def _done_at(told: Told | None, why: str) -> datetime | None:
    if told is None:
        return None
    return {"read": told.read_at, "archived": told.archived_at}.get(why)
