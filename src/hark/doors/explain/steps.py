"""The steps of a story in the order of their times: each with when and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from operator import attrgetter

from hark.catalogue import Frequency
from hark.delivery.cap import CAP_REACHED
from hark.delivery.states import (
    ACCEPTED,
    CLAIMED,
    DEFERRED,
    GIVEN_BACK,
    GIVEN_UP,
    MARKED,
    REFUSED,
    Result,
    State,
    Transition,
)
from hark.doors.explain.answer import Step, What
from hark.doors.explain.decided import counted_as, decision
from hark.doors.explain.left_out import because
from hark.doors.explain.moments import Moments
from hark.doors.explain.story import Carried, Move, Story, Told
from hark.doors.explain.unmatched import listed, unmatched
from hark.durations import format_duration

Arrow = tuple[str, str, str, str]


def steps(story: Story, moments: Moments, now: datetime) -> tuple[Step, ...]:
    """All that happened, and what is to happen next; pure."""
    if story.told is None:
        return (unmatched(story, moments),)
    happened = [*_fan_out(story, story.told, moments), *_reading(story.told)]
    if story.delivery is not None:
        happened += _delivery(story, story.delivery, moments)
    in_order = sorted(happened, key=attrgetter("at"))
    waiting = _waiting(story, story.delivery, moments, now) if story.delivery is not None else None
    return (*in_order, waiting) if waiting else tuple(in_order)


# What the fan-out did -----------------------------------------------------------------------------------------------


def _fan_out(story: Story, told: Told, moments: Moments) -> Iterator[Step]:
    yield Step(told.created_at, What.MATCHED, _matched(story, told))
    if counts_as := counted_as(story, told):
        yield Step(told.created_at, What.COUNTS_AS, counts_as)
    yield Step(told.created_at, What.DECIDED, decision(story, told, moments))
    if story.delivery is not None:
        yield Step(told.created_at, What.BATCHED, _batched(story, story.delivery, moments))


def _matched(story: Story, told: Told) -> str:
    followed = [interest.entity for interest in story.interests if not interest.muted]
    if story.event.named:
        nearer = f", and subscribed to {listed(followed)}" if followed and story.narrower else ""
        return f"named as recipient{nearer}"
    if followed:
        return f"subscribed to {listed(followed)}"
    return f"subscribed then to {listed(story.event.entities, 'or')}, but not any more"


def _batched(story: Story, delivery: Carried, moments: Moments) -> str:
    into = f"into delivery {delivery.id}{_due(story, delivery, moments)}{_moved_on(story, delivery)}"
    return f"{into}{_fed(delivery)}"


def _due(story: Story, delivery: Carried, moments: Moments) -> str:
    """After a failed attempt, `due_at` is that of the next one, and says nothing of the batch."""
    due = "" if delivery.attempt > 1 or _was_put_back(story) else f", due {moments.clock(delivery.due_at)}"
    return f"{due} ({_rhythm(story, delivery)})"


def _was_put_back(story: Story) -> bool:
    return any(move.to_state == State.PENDING for move in story.moves)


def _rhythm(story: Story, delivery: Carried) -> str:
    if delivery.frequency == Frequency.IMMEDIATE:
        return "at once, alone"
    if delivery.frequency in (Frequency.DAILY, Frequency.WEEKLY):
        zone = story.person.zone if story.person else "UTC"
        at = f" of {story.habit.due_time:%H:%M}" if story.habit else ""
        return f"the {delivery.frequency} message{at} in {zone}"
    return _cooldown(story)


def _cooldown(story: Story) -> str:
    if story.habit is None:
        return "a cool-down after its newest event"
    stale = f", at most {format_duration(story.habit.max_stale)} in all" if story.habit.max_stale else ""
    return f"cool-down {format_duration(story.habit.cooldown)}{stale}"


def _moved_on(story: Story, delivery: Carried) -> str:
    if not delivery.moved_on or delivery.frequency != Frequency.BATCHED:
        return ""
    times = "once" if delivery.moved_on == 1 else f"{delivery.moved_on} times"
    last = "this event" if delivery.last_event == story.event.id else f"event {delivery.last_event}"
    return f", moved on {times}, last by {last}"


def _fed(delivery: Carried) -> str:
    if not delivery.fed:
        return ""
    items = sum(delivery.fed.values())
    of_feeds = "1 item of a feed" if items == 1 else f"{items} items of feeds"
    return f", which also holds {of_feeds} ({listed(sorted(delivery.fed))})"


# What the recipient did ---------------------------------------------------------------------------------------------


def _reading(told: Told) -> Iterator[Step]:
    if told.seen_at is not None and told.seen_at != told.read_at:
        yield Step(told.seen_at, What.SEEN, "listed in the inbox")
    if told.read_at is not None:
        yield Step(told.read_at, What.READ, "in app")
    if told.archived_at is not None:
        yield Step(told.archived_at, What.ARCHIVED, "in app")


# What the delivery did ----------------------------------------------------------------------------------------------


def _delivery(story: Story, delivery: Carried, moments: Moments) -> Iterator[Step]:
    newest = max((place for place, move in enumerate(story.moves) if _arrow(move) in _RECHECKS), default=None)
    for place, move in enumerate(story.moves):
        what, why = _MOVES[_arrow(move)]
        left_out = _left_out(story, delivery, moments) if place == newest else ""
        yield Step(move.at, what, f"{why(move)}{left_out}")
    if delivery.outcome == Result.UNKNOWN:
        yield Step(delivery.changed_at, What.UNANSWERED, _unanswered(story, delivery))


def _arrow(move: Move) -> Arrow:
    return move.from_state, move.from_outcome, move.to_state, move.to_outcome


def _of(transition: Transition) -> Arrow:
    return transition.from_state, transition.from_outcome, transition.to_state, transition.to_outcome


def _claimed(move: Move) -> str:
    return f"by worker {move.worker}, attempt {move.attempt}"


def _why(move: Move) -> str:
    return move.why


def _accepted(move: Move) -> str:
    return f"accepted by {move.why}"


_MOVES: dict[Arrow, tuple[What, Callable[[Move], str]]] = {
    _of(CLAIMED): (What.CLAIMED, _claimed),
    _of(GIVEN_UP): (What.CANCELED, _why),
    _of(GIVEN_BACK): (What.GIVEN_BACK, _why),
    _of(MARKED): (What.RECHECKED, _why),
    _of(ACCEPTED): (What.SENT, _accepted),
    _of(DEFERRED): (What.DEFERRED, _why),
    _of(REFUSED): (What.REFUSED, _why),
}


_RECHECKS = (_of(MARKED), _of(GIVEN_UP))


def _left_out(story: Story, delivery: Carried, moments: Moments) -> str:
    """The newest recheck notes what it left out, event by event."""
    why = delivery.left_out_because(story.event.id)
    return "" if why is None else f"; this event was left out, for {because(story, why, moments)}"


def _unanswered(story: Story, delivery: Carried) -> str:
    said = "" if story.moves and story.moves[-1].why == delivery.why else f": {delivery.why}"
    return f"handed over, and no answer is known{said}; it may have arrived, so it is not sent again by itself"


# What is to happen --------------------------------------------------------------------------------------------------


def _waiting(story: Story, delivery: Carried, moments: Moments, now: datetime) -> Step | None:
    if delivery.state == State.PENDING:
        return Step(delivery.due_at, What.WAITS, why_waiting(story, delivery, moments, now))
    if delivery.state == State.SENDING and delivery.lease_until is not None:
        return Step(delivery.lease_until, What.WAITS, _held(delivery, moments, now))
    return None


def why_waiting(story: Story, delivery: Carried, moments: Moments, now: datetime) -> str:
    """Until when a delivery waits, and what for."""
    if delivery.due_at <= now:
        return f"due since {moments.clock(delivery.due_at)}, {_unclaimed(delivery, now)}"
    until = f"until {moments.clock(delivery.due_at)}"
    if delivery.why.startswith(CAP_REACHED):
        return f"{until}: {delivery.why}"
    if delivery.attempt:
        return f"{until} for attempt {delivery.attempt + 1}"
    if delivery.frequency != Frequency.BATCHED:
        return f"{until}: {_rhythm(story, delivery)}"
    if delivery.due_at == delivery.stale_at:
        return f"{until}: however much comes, the oldest event of the batch waits no longer"
    return f"{until}: more may come to share the message ({_cooldown(story)})"


def _unclaimed(delivery: Carried, now: datetime) -> str:
    if delivery.rated_until is not None and delivery.rated_until > now:
        return "and what is due goes no faster than the rate limit lets it"
    return "and no worker has claimed it; is one running? (hark worker)"


def _held(delivery: Carried, moments: Moments, now: datetime) -> str:
    until = moments.clock(delivery.lease_until or now)
    if delivery.lease_until is not None and delivery.lease_until < now:
        return f"the lease of worker {delivery.worker} ran out at {until}; another worker takes it over soon"
    return f"until {until} at most: worker {delivery.worker} is on it"
