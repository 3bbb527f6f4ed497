"""The daily and weekly way into batching: what feeds answer, each in the reader's own morning.

mornings.py   the distinct mornings of all recipients (slots), and the walks that open when one comes
planner.py    opens what mornings come, and takes up one walk after the other
planning.py   one chunk of a walk: who is due, what is new for them, into their gathering message
walks.py      around those whose data break a feed; faults.py: whose fault it is
coverage.py   proof that each item is in exactly one sent digest; a new start after a restored dump
pruning.py    old digests go, but for what coverage needs
shown.py      digests as people list them, and when the next one is due
"""

from __future__ import annotations

from hark.digests.mornings import CoverageLost
from hark.digests.planner import Planned, Planner

__all__ = ["CoverageLost", "Planned", "Planner"]
