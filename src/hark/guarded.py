"""The one guarded way out: every HTTP call of Hark's."""

from __future__ import annotations


class Guarded:
    """Calls what it may."""
