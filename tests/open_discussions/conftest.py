"""An office for the tests of settings by HTTP."""

from __future__ import annotations

from tests.doors.api.callers import office

__all__ = ["office"]
