"""Why was a recipient told of an event, or not, or not yet?

story.py      what the database knows, read in one moment
standing.py   how it stands: one value
steps.py      what happened, step by step   (decided.py, left_out.py, unmatched.py: the words of some of them)
headline.py   the sentence that answers
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from hark.doors.explain.answer import Explanation, Step, Telling, What
from hark.doors.explain.headline import headline
from hark.doors.explain.moments import Moments
from hark.doors.explain.standing import telling
from hark.doors.explain.steps import steps
from hark.doors.explain.story import Story, read_story
from hark.postgres.database import Database

__all__ = ["Explanation", "Step", "Telling", "What", "as_lines", "explain", "explanation_of"]


async def explain(
    database: Database, recipient: str, event: int, now: datetime, zone: tzinfo | None = UTC
) -> Explanation:
    """Answer the question, as things stand.

    Args:
        event: the event's id.
        now: the present moment, by which something is due or not.
        zone: in which the sentences give times; None: this machine's.

    Raises:
        BadInput: there is no such event.
    """
    return explanation_of(await read_story(database, recipient, event), now, zone)


def explanation_of(story: Story, now: datetime, zone: tzinfo | None = UTC) -> Explanation:
    """`explain` of what was read already; pure."""
    moments = Moments(story.event.occurred_at, zone)
    stands = telling(story)
    return Explanation(
        recipient=story.recipient,
        event=story.event.id,
        reason=story.event.reason,
        actor=story.event.actor,
        occurred_at=story.event.occurred_at,
        telling=stands,
        sentence=headline(story, stands, moments, now),
        steps=steps(story, moments, now),
        as_reason=story.told.as_reason if story.told else None,
        also=tuple(story.told.also) if story.told else (),
    )


def as_lines(explanation: Explanation, zone: tzinfo | None = UTC) -> list[str]:
    """The explanation for a terminal: the sentence, then a line a step with its time, what happened and why."""
    moments = Moments(explanation.occurred_at, zone)
    rows = [(moments.clock(step.at), step.what, step.why) for step in explanation.steps]
    clock_width = max((len(clock) for clock, _, _ in rows), default=0)
    what_width = max((len(what) for _, what, _ in rows), default=0)
    return [
        explanation.sentence,
        *(f" {clock:>{clock_width}}  {what:<{what_width}}  {why}" for clock, what, why in rows),
    ]
