"""Who is let in by live ingestion, as the settings say: everybody, or whom a flag lets in, of Hark or another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from hark.catalogue import PythonSource
from hark.clock import Clock
from hark.config import Settings
from hark.errors import BadInput, SourceFailed
from hark.flags import FlagGate, Gate, View
from hark.postgres.database import Database
from hark.sources import load


@dataclass(frozen=True, slots=True)
class Everybody:
    """A view that lets everybody in."""

    version: None = None

    def lets_in(self, user: str) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True, slots=True)
class Open:
    """A gate without a flag: everybody is let in."""

    async def view(self) -> Everybody:
        """Everybody."""
        return Everybody()

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        """It never changes."""

    async def close(self) -> None:
        """Nobody waits for it."""


def gate_of(settings: Settings, database: Database, clock: Clock, name: str) -> Gate:
    """The gate that the settings name.

    Args:
        name: which process and stream this is, for people.

    Raises:
        BadInput: the provider cannot be had, or no flag is named for it.
    """
    if settings.ingest_provider is not None:
        return _foreign(settings.ingest_provider, settings.ingest_flag)
    flag = own_flag(settings)
    return Open() if flag is None else FlagGate(database, clock, flag, name)


def own_flag(settings: Settings) -> str | None:
    """The flag of Hark's that live ingestion goes by; None: by none, or somebody else decides."""
    return settings.ingest_flag if settings.ingest_provider is None else None


def _foreign(provider: str, flag: str | None) -> Gate:
    if flag is None:
        raise BadInput("ingest_provider needs to know which flag to ask for: set HARK_INGEST_FLAG")
    try:
        from openfeature import api

        from hark.flags.provider import OpenFeatureGate

        api.set_provider(load(PythonSource(provider))(), domain="hark-ingest")
    except ImportError:
        raise BadInput("ingest_provider needs the extra flags: pip install 'hark[flags]'") from None
    except SourceFailed as error:
        raise BadInput(f"ingest_provider: {error}") from None
    return OpenFeatureGate(api.get_client("hark-ingest"), flag)
