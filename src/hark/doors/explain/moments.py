"""Moments as people read them in a story that mostly plays on one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Moments:
    """Writes moments in one zone; None: this machine's.

    The time alone where it is the day of `reference`, else with the day.
    """

    reference: datetime
    zone: tzinfo | None

    def clock(self, at: datetime) -> str:
        """`14:02:11`, `24 Nov 08:00:00` or `3 May 2025 08:00:00`."""
        local = at.astimezone(self.zone)
        time = f"{local:%H:%M:%S}"
        return time if local.date() == self._reference().date() else f"{self.day(at)} {time}"

    def day(self, at: datetime) -> str:
        """`3 May`, with the year where it is another one."""
        local = at.astimezone(self.zone)
        year = "" if local.year == self._reference().year else f" {local.year}"
        return f"{local.day} {_MONTHS[local.month - 1]}{year}"

    def _reference(self) -> datetime:
        return self.reference.astimezone(self.zone)
