"""What a measurement answers: one row of bench/RESULTS.md.

A script is a module of this package with one function, which `bench.run` finds by it:

    def measure(scale: float) -> list[Result]

`scale` is 1.0 for the sizes that the question names, less for a quick look. The first result carries the script's own
name (`fanout`), further ones begin with it (`fanout_in_app`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Result:
    """One question and its answer.

    Attributes:
        name: the script's name, or that and more.
        question: what was asked, in a sentence.
        unit: of all figures: `recipients/s`, `ms`.
        higher_is_better: whether a larger figure is the better one.
        hark: the median of what Hark reached.
        peer: the median of what one would use instead reached; None: there is nothing to compare with.
        peer_name: what that is.
        limit: the median of what nothing can do better than; None: there is none.
        limit_name: what that is.
        sizes: how much of what: `{"subscribers": 1_000_000}`.
        notes: how it was measured, what is left out, how far to trust it.
        target: what was asked for, as people read it: `≥ 0.75 of the limit`; empty: nothing, or at other sizes.
        met: whether the target was reached; None: there is none.
        spread: lowest and highest of the rounds by contestant: `{"hark": (9.1, 9.9)}`.
    """

    name: str
    question: str
    unit: str
    higher_is_better: bool
    hark: float
    peer: float | None
    peer_name: str
    limit: float | None
    limit_name: str
    sizes: Mapping[str, int]
    notes: str
    target: str = ""
    met: bool | None = None
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def to_peer(self) -> float | None:
        """How many times as good as the peer."""
        return self._times_as_good(self.peer)

    @property
    def to_limit(self) -> float | None:
        """Which share of the limit was reached."""
        return self._times_as_good(self.limit)

    def _times_as_good(self, other: float | None) -> float | None:
        if not other or not self.hark:
            return None
        return self.hark / other if self.higher_is_better else other / self.hark
