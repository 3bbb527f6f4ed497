"""Stage 7 of 7: channel. By which way does it leave? In: Prepared. Out: Outcome."""

from __future__ import annotations

from hark.delivery.handover import Outbound, Outcome, Prepared, Verdict
from hark.rendering import Message

__all__ = ["Message", "Outbound", "Outcome", "Prepared", "Verdict"]
