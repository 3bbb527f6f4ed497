"""What a source has of one user, as what facts are recorded from, and how it was read."""

from __future__ import annotations

from dataclasses import dataclass

from hark.history.facts import Snapshot
from hark.history.sources.contracts import ReadFrom


@dataclass(frozen=True, slots=True)
class Loaded:
    """A whole list.

    Attributes:
        snapshot: what `record_snapshots` takes.
        rows: receipts or orders, the deleted ones included.
        pages: how many were read.
        doubled: rows that came more than once and were merged.
        anew: how often the list moved while it was read, and was read again.
    """

    snapshot: Snapshot
    read_from: ReadFrom
    rows: int
    pages: int
    doubled: int
    anew: int
