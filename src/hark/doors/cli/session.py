"""The database that a verb works on: found, started if it is Hark's own, brought up to date."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from hark.catalogue import Catalogue, load_catalogue
from hark.config import Settings
from hark.doors import reports
from hark.doors.cli.output import Output
from hark.errors import BadInput
from hark.postgres.database import Database, open_database
from hark.postgres.migrate import migrate, migrations


@dataclass(frozen=True, slots=True)
class Session:
    """A database with Hark's tables, and the catalogue if one is set."""

    database: Database
    dsn: str
    catalogue: Catalogue | None

    def need_catalogue(self) -> Catalogue:
        """The catalogue.

        Raises:
            BadInput: none is set.
        """
        if self.catalogue is None:
            raise BadInput("this needs a catalogue: name one with --catalogue FILE, or stand beside a hark.toml")
        return self.catalogue


@contextmanager
def server(settings: Settings, output: Output) -> Iterator[str]:
    """Where the database is, for the time of a block: as set, or Hark's own Postgres, which is let go of again."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    from hark.postgres.embedded import default_data_dir, start

    directory = settings.data_dir or default_data_dir()
    if sys.stderr.isatty():
        output.note(f"using Hark's own Postgres in {directory}; HARK_DATABASE_URL names another")
    with start(settings.data_dir) as embedded:
        yield embedded.dsn


@asynccontextmanager
async def open_session(
    settings: Settings, output: Output, *, size: int = 4, install: bool = False
) -> AsyncIterator[Session]:
    """Open what the settings say, for the time of a block.

    Args:
        size: the most connections at once.
        install: make the database know the catalogue, if there is one.

    Raises:
        Unreachable: no server answers.
        BadInput: the tables are not up to date and migrating is turned off.
        CatalogueFaults: all that is wrong with the catalogue.
    """
    catalogue = load_catalogue(settings.catalogue, os.environ) if install and settings.catalogue else None
    with server(settings, output) as dsn:
        patience = settings.database_patience
        async with open_database(dsn, size=size, patience=patience, say=output.note) as database:
            await _bring_up_to_date(database, dsn, settings)
            if catalogue is not None:
                from hark import preferences

                await preferences.install(database, catalogue)
            yield Session(database, dsn, catalogue)


async def _bring_up_to_date(database: Database, dsn: str, settings: Settings) -> None:
    """Looked at first: a role that may only read can use a database that is up to date."""
    known = {migration.name for migration in migrations()}
    applied = await reports.applied_migrations(database)
    if applied == known:
        return
    if not settings.auto_migrate and known - applied:
        missing = ", ".join(sorted(known - applied))
        raise BadInput(f"the tables are not up to date (missing: {missing}) and --no-migrate is set; run hark migrate")
    await migrate(dsn)
