"""What was decided for the recipient, and by whose choice, in words."""

from __future__ import annotations

from hark.doors.explain.moments import Moments
from hark.doors.explain.story import Person, Story, Told
from hark.preferences import Reach, Why

NO_EMAIL = {
    Reach.NO_ADDRESS: "they have no address",
    Reach.UNCONFIRMED: "their address is not confirmed",
    Reach.NOT_OPTED_IN: "they have not agreed to be written to",
    Reach.SUPPRESSED: "their address was refused by its provider",
    Reach.INACTIVE: "they are not active",
}


def decision(story: Story, told: Told, moments: Moments) -> str:
    """By which channels and how often, and whose choice that was; or which rule says that they are not told."""
    rule = Why(told.why)
    channels = ", ".join(_channels(told))
    if not channels:
        return f"not told: {refusal(story, told, moments)}"
    whose = f"{channels}: {_whose(story, rule, moments)}{_no_email(story, told)}"
    return f"{whose}; {_frequency(story, told, moments)}" if told.email_delivery is not None else whose


def refusal(story: Story, told: Told, moments: Moments) -> str:
    """The rule that kept them from being told at all."""
    who, reason = story.recipient, story.reason
    user_type = story.person.user_type if story.person else "their user type"
    sentences = {
        Why.UNKNOWN_RECIPIENT: f"no recipient {who} was known",
        Why.UNKNOWN_TYPE: f"the catalogue has no user type {user_type}",
        Why.INACTIVE: "they are not active",
        Why.NOT_OFFERED: f"the catalogue does not offer {reason} to {user_type}",
        Why.MALFORMED: f"their preference for {reason} cannot be read, so nothing is presumed of it",
        Why.NEVER: f"their {_frequency(story, told, moments)}",
    }
    return sentences.get(
        Why(told.why), f"no channel is left: {_whose(story, Why(told.why), moments)}{_no_email(story, told)}"
    )


def counted_as(story: Story, told: Told) -> str | None:
    """Which of the reasons that applied it is for them, why that one, and which were the others; None: only its own."""
    if told.as_reason is None and not told.also:
        return None
    applied = [name for name in (*story.narrower, story.event.reason) if name == story.reason or name in told.also]
    passed_over = applied[: applied.index(story.reason)] if story.reason in applied else []
    also = f"; also: {', '.join(told.also)}" if told.also else ""
    return f"{story.reason}{_why_that_one(told, passed_over)}{also}"


def _why_that_one(told: Told, passed_over: list[str]) -> str:
    if not told.also:
        return ""
    if passed_over:
        return f", for they would not be told by {' or '.join(passed_over)}"
    return ", the most specific" if _channels(told) else ", the most specific, for none tells them"


def _channels(told: Told) -> list[str]:
    return ["email"] * (told.email_delivery is not None) + ["in_app"] * told.in_app


def _whose(story: Story, rule: Why, moments: Moments) -> str:
    if rule is Why.OWN_CHANNELS:
        return _own_choice(story, moments)
    user_type = story.person.user_type if story.person else "their user type"
    return f"{user_type}' default for {story.reason}" if user_type.endswith("s") else _default_of(user_type, story)


def _default_of(user_type: str, story: Story) -> str:
    return f"the default of {user_type} for {story.reason}"


def _frequency(story: Story, told: Told, moments: Moments) -> str:
    whose = _own_choice(story, moments) if told.own_frequency else f"the default of {story.reason}"
    return f"frequency {told.frequency} ({whose})"


def _own_choice(story: Story, moments: Moments) -> str:
    """Preferences keep the day of their last change only, which may be one of another reason."""
    changed_at = story.person.chosen_at if story.person else None
    choice = f"{story.recipient}'s own choice"
    if changed_at is None or story.told is None:
        return choice
    if changed_at > story.told.created_at:
        return f"{choice} then; they changed their choices on {moments.day(changed_at)}"
    return f"{choice}, last changed {moments.day(changed_at)}"


def _no_email(story: Story, told: Told) -> str:
    if told.email_delivery is not None or told.reach is None or Reach(told.reach) is Reach.OK:
        return ""
    return f"; no email, for {NO_EMAIL[Reach(told.reach)]}" if _would_mail(story.person) else ""


def _would_mail(person: Person | None) -> bool:
    return person is not None and person.wants_email
