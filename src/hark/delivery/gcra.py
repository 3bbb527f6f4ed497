"""At most so many in any period, remembered by one moment: the generic cell rate algorithm, as pure arithmetic.

`tat`, the theoretical arrival time, moves on by one interval with each that goes; how far it is ahead of now says how
much of the burst is used up. Nothing is counted, and nothing has to be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hark.durations import Rate

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""The `tat` of what never went: all credit is there."""

_BURSTS_IN_A_PERIOD = 20
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Gcra:
    """One each `interval`, and up to `burst` at once after a pause."""

    interval: timedelta
    burst: int

    @classmethod
    def of(cls, rate: Rate) -> Gcra:
        """What keeps to a rate in every period, wherever it is laid, bursts included.

        A burst is a twentieth of the rate's count, at least one: enough for workers that look every few milliseconds.
        The interval is as much longer as the burst could otherwise add: 100/s is 5 at once and 96 a second in the end.
        """
        burst = max(1, rate.count // _BURSTS_IN_A_PERIOD)
        steady = rate.count - burst + 1
        return cls(-(-rate.per // steady), burst)  # rounded up: rather a microsecond late than one too many

    def free(self, tat: datetime, now: datetime) -> int:
        """How many may go now."""
        ahead = max(tat - now, timedelta(0))
        return max((self.burst * self.interval - ahead) // self.interval, 0)

    def after(self, tat: datetime, now: datetime, taken: int) -> datetime:
        """The next `tat`, when so many went now."""
        return max(tat, now) + taken * self.interval

    def next_free(self, tat: datetime) -> datetime:
        """From when on at least one may go."""
        return tat - (self.burst - 1) * self.interval

    @property
    def interval_us(self) -> int:
        """The interval in microseconds, as the database reckons with it: its days are not always 24 hours."""
        return self.interval // _MICROSECOND
