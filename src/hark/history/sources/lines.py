"""What a source says that one user bought, whole and of one moment, as what becomes facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from hark.history.sources.contracts import ReadFrom


@dataclass(frozen=True, slots=True)
class Line:
    """One purchased line, or one shop order.

    Attributes:
        key: `receipt:<id>:<line>` or `order:<buttonOrderId>`.
        amount_minor: of the whole line, in minor units of `currency`.
        version: of the source's row; the highest wins.
        deleted: it was taken back.
    """

    user_id: str
    key: str
    product_id: str
    store_id: str | None
    amount_minor: int
    currency: str
    quantity: Decimal
    occurred_at: datetime
    version: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a source has of one user since a time.

    Attributes:
        version: everything up to it was seen: what is not here and is not newer than this is not there any more.
        pages: how many were read.
        doubled: rows that came more than once and were merged.
        anew: how often the list moved while it was read, and was read again.
    """

    user_id: str
    since: datetime
    version: int
    read_from: ReadFrom
    lines: Sequence[Line]
    pages: int
    doubled: int
    anew: int
