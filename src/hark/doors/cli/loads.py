"""What this process can do of loads: it takes the sources to; who has none imports nothing of how they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hark.backfill.outside import Outside
from hark.clock import Clock
from hark.config import Settings
from hark.postgres.database import Database
from hark.postgres.holder import worker_name

if TYPE_CHECKING:
    from hark.guarded.client import Guarded


def has_sources(settings: Settings) -> bool:
    """Whether the two sources of loads are set."""
    return settings.purchase_url is not None and settings.shop_url is not None


def loading(database: Database, settings: Settings, client: Guarded | None, clock: Clock) -> Mapping[str, Outside]:
    """What this process can do of loads, by kind: with the two sources set, all of it; else nothing.

    Args:
        client: the way out; None: there is none, so nothing can be done.
    """
    if client is None or not has_sources(settings):
        return {}
    from hark.backfill.kinds.loading import KIND, Loading
    from hark.history.loading.wired import LiveStream, audit_by

    stream, audit = LiveStream(database, settings), audit_by(database, settings)
    return {KIND: Loading(database, clock, settings, client, f"{worker_name()}/backfill", stream, audit)}
