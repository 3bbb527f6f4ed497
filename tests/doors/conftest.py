"""A desk for every test of a door."""

from __future__ import annotations

from tests.doors.commands import desk, furnished

__all__ = ["desk", "furnished"]
