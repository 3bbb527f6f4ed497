"""Hark beside the forum, in one process, on a clock that can be moved; in production it is `hark worker`."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from examples.forum import posts
from hark import audience, preferences
from hark.catalogue import Catalogue, Channel, load_catalogue
from hark.channels.maildir import MaildirChannel
from hark.delivery.attempt import Sender
from hark.digests import Planner
from hark.postgres.database import Database, open_database
from hark.postgres.migrate import migrate
from hark.rechecks import Rechecks
from hark.rendering import Renderer
from hark.sources import Asking
from hark.worker import Worker

HERE = Path(__file__).parent
PEOPLE = {"ada": "Europe/Berlin", "ben": "America/New_York", "cleo": "Asia/Kolkata", "dan": "Pacific/Auckland"}


@dataclass(slots=True)
class MovedClock:
    """Real time, plus what was skipped."""

    skipped: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skipped

    def until_morning(self, zone: ZoneInfo) -> timedelta:
        """How long it is until tomorrow, eight o'clock."""
        tomorrow = self.now().astimezone(zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(8), zone) - self.now()


@dataclass(frozen=True, slots=True)
class Forum:
    """The forum's tables through `engine`, Hark's through `database`, and the worker that does what is due."""

    engine: AsyncEngine
    database: Database
    catalogue: Catalogue
    clock: MovedClock
    worker: Worker
    mails: Path
    _working: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def catch_up(self) -> None:
        """Do all that is due by the clock."""
        async with self._working:
            await self.worker.drain()

    async def skip(self, by: timedelta) -> None:
        """Let time pass, ten minutes at a time: what becomes due on the way is done on the way."""
        end = self.clock.now() + by
        while (left := end - self.clock.now()) > timedelta(0):
            self.clock.skipped += min(left, timedelta(minutes=10))
            await self.catch_up()

    async def work(self) -> None:
        """Do what is due, for as long as the forum runs."""
        while True:
            await self.catch_up()
            await asyncio.sleep(0.3)


@asynccontextmanager
async def open_forum(dsn: str, mails: Path, clock: MovedClock) -> AsyncIterator[Forum]:
    """The forum on a fresh database, with Hark's tables, its catalogue and a few people in it."""
    await migrate(dsn)
    catalogue = load_catalogue(HERE / "hark.toml", os.environ)
    engine = create_async_engine("postgresql+psycopg://", async_creator=lambda: psycopg.AsyncConnection.connect(dsn))
    async with open_database(dsn) as database:
        box = MaildirChannel(mails, sender=catalogue.email.sender if catalogue.email else "")
        renderer = Renderer(catalogue, "forum.example", await database.installation())
        sender = Sender(database, Channel.EMAIL, box, renderer, clock, "1", rechecks=Rechecks.of(catalogue, Asking()))
        worker = Worker(database, clock, [sender], planner=Planner(database, clock, catalogue))
        await preferences.install(database, catalogue, retire=True)
        await _populate(engine, database, clock.now())
        yield Forum(engine, database, catalogue, clock, worker, mails)
        await engine.dispose()


async def _populate(engine: AsyncEngine, database: Database, now: datetime) -> None:
    known = [audience.Recipient(who, "Members", f"{who}@forum.example", True, zone=PEOPLE[who]) for who in PEOPLE]
    await audience.put_recipients(database, known, now)
    async with AsyncSession(engine) as session, session.begin():
        await (await session.connection()).exec_driver_sql((HERE / "schema.sql").read_text())
        post = await posts.write(session, "ada", "Welcome", "Say hello. @ben would reach Ben.", now)
        await posts.comment(session, "ben", post, None, "Hello everybody!", now)
