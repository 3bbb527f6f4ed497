"""The catalogue: what a product can notify of, to whom, how, and how often. hark.toml, validated whole, all faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum


class Channel(StrEnum):
    """By which way a notification reaches its recipient."""

    EMAIL = "email"
    IN_APP = "in_app"
    PUSH = "push"


class Frequency(StrEnum):
    """How often a recipient is written to for a reason."""

    NEVER = "never"
    IMMEDIATE = "immediate"
    BATCHED = "batched"
    DAILY = "daily"
    WEEKLY = "weekly"


class Category(StrEnum):
    """What a reason is to the recipient; `transactional` passes caps and quiet hours."""

    ACTIVITY = "activity"
    TRANSACTIONAL = "transactional"


@dataclass(frozen=True, slots=True)
class Windows:
    """When a batch closes: `cooldown` after its newest event, or `max_stale` after its oldest, whichever is first."""

    cooldown: timedelta
    max_stale: timedelta | None


@dataclass(frozen=True, slots=True)
class Templates:
    """The words of one reason, as Jinja sources. None: Hark's own words, made of the reason's title."""

    subject: str | None = None
    """The subject of a message with one notification."""
    subject_many: str | None = None
    """The subject of a message with several notifications, all of this reason."""
    text: str | None = None
    """One notification as plain text."""
    html: str | None = None
    """One notification as HTML; autoescaped."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of notification.

    `channels` maps each user type that gets this reason to its default channels; `group` names the message that the
    reason's notifications share with those of other reasons of the same group.
    """

    name: str
    title: str
    channels: Mapping[str, tuple[Channel, ...]]
    frequency: Frequency
    windows: Windows
    group: str
    category: Category
    templates: Templates
    at_least_once: bool = False


@dataclass(frozen=True, slots=True)
class Email:
    """How e-mail leaves: `sender` as an address with or without a name, `smtp` as a URL (None: no server set)."""

    sender: str
    smtp: str | None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """When daily and weekly messages are due, in the recipient's own zone; `weekday` counts from Monday, 0."""

    at: time = time(8, 0)
    weekday: int = 0


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that hark.toml declares, checked."""

    user_types: Mapping[str, str]
    reasons: Mapping[str, Reason]
    email: Email | None
    calendar: Calendar
