"""The one sentence that answers the question."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from hark.doors.explain.answer import Telling
from hark.doors.explain.decided import refusal
from hark.doors.explain.left_out import because
from hark.doors.explain.moments import Moments
from hark.doors.explain.steps import why_waiting
from hark.doors.explain.story import Carried, Story
from hark.doors.explain.unmatched import why_not


def headline(story: Story, telling: Telling, moments: Moments, now: datetime) -> str:
    """`bob was told of event 12 (app_shared, by alice, 14:02:11) in one e-mail with 12 others.`"""
    if story.delivery is None:
        return _UNSENT[telling](story, moments)
    return _SENT[telling](story, story.delivery, moments, now)


def _event(story: Story, moments: Moments) -> str:
    event = story.event
    by = f", by {event.actor}" if event.actor else ""
    return f"event {event.id} ({event.reason}{by}, {moments.clock(event.occurred_at)})"


# Without a message ---------------------------------------------------------------------------------------------------


def _in_app(story: Story, moments: Moments) -> str:
    return f"{story.recipient} was told of {_event(story, moments)} in app only."


def _not_told(story: Story, moments: Moments) -> str:
    why = refusal(story, story.told, moments) if story.told else ""
    return f"{story.recipient} was not told of {_event(story, moments)}: {why}."


def _not_yet(story: Story, moments: Moments) -> str:
    return f"{story.recipient} was not told of {_event(story, moments)} yet: its fan-out has not come to them."


def _not_matched(story: Story, moments: Moments) -> str:
    return f"{story.recipient} was not told of {_event(story, moments)}: {why_not(story, moments)}."


_UNSENT: dict[Telling, Callable[[Story, Moments], str]] = {
    Telling.IN_APP: _in_app,
    Telling.NOT_TOLD: _not_told,
    Telling.NOT_YET: _not_yet,
    Telling.NOT_MATCHED: _not_matched,
}


# With one ------------------------------------------------------------------------------------------------------------


def _sent(story: Story, delivery: Carried, moments: Moments, _now: datetime) -> str:
    told = f"{story.recipient} was told of {_event(story, moments)} in {_message(delivery)}"
    return f"{told}{', and in app' if _told_in_app(story) else ''}."


def _unknown(story: Story, delivery: Carried, moments: Moments, _now: datetime) -> str:
    return (
        f"Whether {story.recipient} got the e-mail about {_event(story, moments)} is unknown: it was handed over, and"
        f" no answer came.{_in_the_inbox(story)}"
    )


def _sending(story: Story, delivery: Carried, moments: Moments, _now: datetime) -> str:
    return (
        f"The e-mail that tells {story.recipient} of {_event(story, moments)} is being sent by worker"
        f" {delivery.worker}.{_in_the_inbox(story)}"
    )


def _waiting(story: Story, delivery: Carried, moments: Moments, now: datetime) -> str:
    why = why_waiting(story, delivery, moments, now)
    return f"The e-mail that tells {story.recipient} of {_event(story, moments)} waits, {why}.{_in_the_inbox(story)}"


def _left_out(story: Story, delivery: Carried, moments: Moments, _now: datetime) -> str:
    noted = delivery.left_out_because(story.event.id)
    why = f"for {because(story, noted, moments)}" if noted else delivery.why
    return f"{story.recipient} was not written to about {_event(story, moments)}, {why}.{_in_the_inbox(story)}"


def _given_up(story: Story, delivery: Carried, moments: Moments, _now: datetime) -> str:
    return (
        f"{story.recipient} did not get the e-mail about {_event(story, moments)}: {delivery.why}."
        f"{_in_the_inbox(story)}"
    )


_SENT: dict[Telling, Callable[[Story, Carried, Moments, datetime], str]] = {
    Telling.SENT: _sent,
    Telling.UNKNOWN: _unknown,
    Telling.SENDING: _sending,
    Telling.WAITING: _waiting,
    Telling.LEFT_OUT: _left_out,
    Telling.REFUSED: _given_up,
    Telling.CANCELED: _given_up,
}


def _message(delivery: Carried) -> str:
    others = delivery.others_said()
    if others is None:
        return "one e-mail with many others"
    return f"one e-mail with {others} {'other' if others == 1 else 'others'}" if others else "an e-mail of its own"


def _told_in_app(story: Story) -> bool:
    return story.told is not None and story.told.in_app


def _in_the_inbox(story: Story) -> str:
    return " It is in their inbox." if _told_in_app(story) else ""
