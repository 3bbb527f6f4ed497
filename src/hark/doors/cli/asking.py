"""Asking the sources of purchases from a command: for how many users, and what with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hark.errors import BadInput

if TYPE_CHECKING:
    from hark.clock import Clock
    from hark.config import Settings
    from hark.history.sources.reach import Sources
    from hark.postgres.database import Database

_ALL = "all"


def is_set(settings: Settings) -> bool:
    """Whether there is a source that knows what people buy."""
    return settings.purchase_url is not None or settings.shop_url is not None


def how_many(settings: Settings, option: str, said: str) -> int | None:
    """For how many users the sources are to be asked; None: all.

    Args:
        option: where that was said.

    Raises:
        BadInput: it is no number, or no source is set.
    """
    if said != _ALL and not (said.isascii() and said.isdecimal()):
        raise BadInput(f"{option} {said}: is neither a whole number nor {_ALL}; write {option} 100")
    if not is_set(settings) and said != "0":
        raise BadInput(f"{option} {said}: no source is set to be asked: set HARK_PURCHASE_URL or HARK_SHOP_URL")
    return None if said == _ALL else int(said)


@asynccontextmanager
async def open_sources(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Sources]:
    """The sources that are set, at the rate that all processes share."""
    from hark.guarded.client import Guarded
    from hark.history.sources.reach import Sources

    client = Guarded(settings.http_allow_private)
    try:
        yield Sources(settings, database, clock, client)
    finally:
        await client.close()
