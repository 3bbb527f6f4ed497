"""What a replay must come to, worked out once more in plain Python, recipient by recipient, with no engine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from hark.catalogue import Calendar, Frequency
from hark.replay.figures import Figures, Spread
from hark.replay.history import PastEvent
from hark.replay.policy import Policy

T = TypeVar("T", int, timedelta)


@dataclass(slots=True)
class Message:
    """One message: to whom, about the events at `ats`, sent at `due`."""

    recipient: str
    ats: list[datetime]
    due: datetime


def messages(events: Iterable[PastEvent], policy: Policy, zone: str) -> list[Message]:
    """Every message that the policy makes of events in the order of time."""
    newest: dict[str, Message] = {}
    sent: list[Message] = []
    for event in events:
        waiting = newest.get(event.recipient)
        if waiting is None or policy.frequency is Frequency.IMMEDIATE or event.at > waiting.due:
            waiting = newest[event.recipient] = Message(event.recipient, [], event.at)
            sent.append(waiting)
        waiting.ats.append(event.at)
        waiting.due = due(waiting.ats, policy, zone)
    return sent


def due(ats: Sequence[datetime], policy: Policy, zone: str) -> datetime:
    """When a message about events at these times leaves."""
    if policy.frequency is Frequency.IMMEDIATE:
        return ats[-1]
    if policy.frequency is Frequency.BATCHED:
        quiet = ats[-1] + policy.windows.cooldown
        return quiet if policy.windows.max_stale is None else min(quiet, ats[0] + policy.windows.max_stale)
    return next_local(ats[0], zone, policy.calendar, weekly=policy.frequency is Frequency.WEEKLY)


def next_local(moment: datetime, zone: str, calendar: Calendar, *, weekly: bool) -> datetime:
    """The first moment from this one on that shows the calendar's time (and weekday) on a wall clock of the zone."""
    today = moment.astimezone(ZoneInfo(zone)).date()
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        then = datetime.combine(day, calendar.at, ZoneInfo(zone))
        if then >= moment and (not weekly or day.weekday() == calendar.weekday):
            return then.astimezone(moment.tzinfo)
    raise AssertionError("a week has seven days")


def figures(events: Sequence[PastEvent], policy: Policy, zone: str = "UTC") -> Figures:
    """What `replay` must return."""
    sent = messages(events, policy, zone)
    days = Counter((message.recipient, message.due.astimezone(ZoneInfo(zone)).date()) for message in sent)
    return Figures(
        policy=policy,
        events=len(events),
        recipients=len({event.recipient for event in events}),
        messages=len(sent),
        user_days=len(days),
        per_user_day=spread(list(days.values())),
        wait=spread([message.due - at for message in sent for at in message.ats]),
        biggest_batch=max(len(message.ats) for message in sent),
    )


def spread(values: list[T]) -> Spread[T]:
    """By nearest rank: the smallest value that so many are at most."""
    ranked = sorted(values)
    return Spread(ranked[math.ceil(0.5 * len(ranked)) - 1], ranked[math.ceil(0.99 * len(ranked)) - 1], ranked[-1])
