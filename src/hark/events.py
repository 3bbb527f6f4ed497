"""Stage 1 of 7: events. What happened? In: the product's own transaction. Out: Event."""

from __future__ import annotations

from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

PICKED_FRESH = _SQL["picked_fresh"]
PICKED_BEGUN = _SQL["picked_begun"]
PROGRESSED = _SQL["progressed"]
