"""The kinds of backfills there are."""

from __future__ import annotations

from collections.abc import Mapping

from hark.backfill.kind import Kind
from hark.backfill.kinds.history import HISTORY
from hark.backfill.kinds.preferences import PREFERENCES

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (PREFERENCES, HISTORY)}
"""By name."""

__all__ = ["KINDS"]
