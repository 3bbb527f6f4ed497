"""How it stands: one value out of a whole story, first rule that applies."""

from __future__ import annotations

from hark.delivery.states import Result, State
from hark.doors.explain.answer import Telling
from hark.doors.explain.story import Carried, Story

NOTHING_LEFT = "nothing left to say"


def telling(story: Story) -> Telling:
    """Whether the recipient was told, and how; pure."""
    if story.told is None:
        return _untouched(story)
    if story.delivery is not None:
        return _carried(story.delivery, story.event.id)
    return Telling.IN_APP if story.told.in_app else Telling.NOT_TOLD


def _untouched(story: Story) -> Telling:
    done = story.event.fanned_out_at is not None or story.event.passed
    return Telling.NOT_MATCHED if done else Telling.NOT_YET


def _carried(delivery: Carried, event: int) -> Telling:
    if delivery.state == State.PENDING:
        return Telling.WAITING
    if delivery.state == State.SENDING:
        return Telling.SENDING
    if delivery.left_out_because(event) is not None:
        return Telling.LEFT_OUT
    if delivery.state == State.CANCELED:
        return _given_up(delivery)
    return Telling.SENT if delivery.outcome == Result.ACCEPTED else Telling.UNKNOWN


def _given_up(delivery: Carried) -> Telling:
    if delivery.outcome == Result.REFUSED:
        return Telling.REFUSED
    return Telling.LEFT_OUT if delivery.why.startswith(NOTHING_LEFT) else Telling.CANCELED
