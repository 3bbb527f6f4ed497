"""How long to wait before the next attempt, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `base` up to `cap`, each spread by a fifth, for `max_attempts` attempts in all.

    The defaults give a delivery about 40 hours: long enough for a provider's outage over night, as mail servers do
    (RFC 5321, 4.5.4.1).
    """

    base: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(hours=2)
    max_attempts: int = 25

    def wait(self, attempt: int, delivery_id: int) -> timedelta:
        """The wait after an attempt (1: the first).

        Spread by delivery, so that a provider that comes back is not met by all at once; the same for the same attempt
        of the same delivery, so that a replay repeats.
        """
        doubled = self.base.total_seconds() * 2.0 ** min(max(attempt - 1, 0), 64)
        capped = timedelta(seconds=min(doubled, self.cap.total_seconds()))
        return capped * (0.8 + 0.4 * _spread(attempt, delivery_id))

    def used_up(self, attempt: int) -> bool:
        """Whether this attempt was the last."""
        return attempt >= self.max_attempts


def _spread(attempt: int, delivery_id: int) -> float:
    digest = blake2b(f"{delivery_id}/{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
