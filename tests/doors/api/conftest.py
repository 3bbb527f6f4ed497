"""An office for every test of the HTTP door."""

from __future__ import annotations

from tests.doors.api.callers import office

__all__ = ["office"]
