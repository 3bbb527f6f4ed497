"""A desk for the tests of the command."""

from __future__ import annotations

from tests.doors.commands import desk, furnished

__all__ = ["desk", "furnished"]
