"""The kinds of backfills there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hark.backfill.kind import Kind, Stepwise
from hark.backfill.kinds.history import HISTORY
from hark.backfill.kinds.preferences import PREFERENCES

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (PREFERENCES, HISTORY)}
"""By name."""

STEPWISE: Sequence[Stepwise] = (HISTORY,)
"""Those that are done with users before their batch is."""

__all__ = ["KINDS", "STEPWISE"]
