"""Asking a source of the product's, a callable or an endpoint: how. What is asked, feeds and rechecks say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from hark.guarded.client import Guarded


@dataclass(frozen=True, slots=True)
class Asking:
    """With what sources are asked: the way out, and how long an answer may take."""

    client: Guarded = field(default_factory=Guarded)
    timeout: timedelta = timedelta(seconds=30)
