"""Why an event has nothing to say of a recipient (yet): no notification was written."""

from __future__ import annotations

from collections.abc import Sequence

from hark.doors.explain.answer import Step, What
from hark.doors.explain.moments import Moments
from hark.doors.explain.story import Happened, Interest, Story

_NAMED_AT_MOST = 3


def unmatched(story: Story, moments: Moments) -> Step:
    """The one step of such a story."""
    event = story.event
    if event.fanned_out_at is None and not event.passed:
        return Step(event.published_at, What.FANNING_OUT, _not_yet(story))
    return Step(event.fanned_out_at or event.published_at, What.NOT_MATCHED, why_not(story, moments))


def why_not(story: Story, moments: Moments) -> str:
    """Why the recipient was not in the audience."""
    if story.event.set_aside is not None:
        return f"nobody was: the event could not be fanned out and was set aside, {story.event.set_aside}"
    if _is_author(story) and (story.interests or story.event.named):
        return "did it themselves: nobody is told of what they did to something, named or not"
    if not story.interests:
        return _stranger(story.event)
    if muted := [interest for interest in story.interests if interest.muted]:
        return f"not named, and muted {_entities(muted)}"
    return _too_late(story, story.interests, moments)


def _not_yet(story: Story) -> str:
    event = story.event
    outlook = "they will be matched" if _will_match(story) else "as they stand now, they will not be matched"
    if event.chunks == 0:
        return f"no worker has taken it up yet; {outlook}. If this lasts: is a worker running? (hark worker)"
    return f"{event.matched} recipients are done, they come later; {outlook}"


def _will_match(story: Story) -> bool:
    listens = bool(story.interests) and not any(interest.muted for interest in story.interests)
    return (story.event.named or listens) and not _is_author(story)


def _is_author(story: Story) -> bool:
    """Who only named recipients may be among them; who did something to an entity is told nothing of it."""
    return bool(story.event.entities) and story.recipient == story.event.actor


def _stranger(event: Happened) -> str:
    if not event.entities:
        return "not named, and the event was published to named recipients only"
    return f"neither named nor subscribed to {listed(event.entities)}"


def _too_late(story: Story, speaking: Sequence[Interest], moments: Moments) -> str:
    first = min(speaking, key=lambda interest: interest.since)
    done_at = story.event.fanned_out_at
    if done_at is not None and first.since > done_at:
        return f"not named, and subscribed to {first.entity} only afterwards, at {moments.clock(first.since)}"
    return f"not named, and their subscription to {first.entity} was muted or not there when the fan-out came to them"


def _entities(interests: Sequence[Interest]) -> str:
    return listed([interest.entity for interest in interests])


def listed(entities: Sequence[str], word: str = "and") -> str:
    """Entities as a sentence names them: `post:7, comment:31 and 5 more`."""
    *most, last = entities[:_NAMED_AT_MOST]
    more = len(entities) - _NAMED_AT_MOST
    if more > 0:
        return f"{', '.join([*most, last])} {word} {more} more"
    return f"{', '.join(most)} {word} {last}" if most else last
