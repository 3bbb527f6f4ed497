"""An evening played through the real pipeline: the same statements and the same mail, only the clock is virtual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from psycopg.types.json import Jsonb

from hark import audience, inbox
from hark.batching import FannedOut
from hark.catalogue import Channel
from hark.channels.smtp import SmtpChannel
from hark.clock import VirtualClock
from hark.delivery.attempt import Attempted, Sender
from hark.delivery.claim import next_due
from hark.doors.demo.campus import LENGTH, Campus, Happening, Look
from hark.postgres.database import Database
from hark.postgres.holder import worker_name
from hark.postgres.queries import Queries
from hark.rendering import Renderer
from hark.worker import Watch, Worker

_SQL = Queries.beside(__file__)

_Timed = TypeVar("_Timed", Happening, Look)

_TICK = timedelta(seconds=20)
_PATIENCE = timedelta(hours=2)
"""How long after the evening its last batches may still close; daily and weekly messages are left to wait."""


@dataclass(frozen=True, slots=True)
class Passed:
    """How far the evening is: the counts at each stage of the pipeline, and how many are seen in app only."""

    at: datetime
    done: float
    events: int = 0
    notifications: int = 0
    read_in_app: int = 0
    mails: int = 0
    canceled: int = 0


class Evening:
    """Plays a campus through the pipeline.

    Args:
        database: with Hark's tables and the catalogue installed.
        channel: to the local mail server.
        begins: when the evening begins, on its own clock.
        seen: told how far it is after every tick.
    """

    def __init__(
        self,
        database: Database,
        channel: SmtpChannel,
        renderer: Renderer,
        begins: datetime,
        seen: Callable[[Passed], None],
    ) -> None:
        self._database = database
        self._begins = begins
        self._clock = VirtualClock(begins)
        self._seen = seen
        self._passed = Passed(begins, 0.0)
        sender = Sender(database, Channel.EMAIL, channel, renderer, self._clock, worker_name())
        watch = Watch(fanned_out=self._fanned_out, attempted=self._attempted)
        self._worker = Worker(database, self._clock, [sender], watch=watch)

    async def play(self, campus: Campus) -> Passed:
        """Play it to its end, until every batch has closed; how it went."""
        await audience.put_recipients(self._database, campus.people, self._begins)
        await audience.subscribe(self._database, campus.follows, self._begins)
        for tick, happenings, looks in _ticks(campus, self._begins):
            self._clock.move_to(tick)
            await self._publish(happenings)
            await self._worker.drain()
            await self._read(looks)
            self._tell()
        await self._let_close()
        return self._passed

    @property
    def now(self) -> datetime:
        """What the evening's clock says."""
        return self._clock.now()

    async def _publish(self, happenings: list[Happening]) -> None:
        async with self._database.transaction() as connection, connection.cursor() as cursor:
            await cursor.executemany(_SQL["publish"].text(), [_given(each) for each in happenings])
        self._passed = replace(self._passed, events=self._passed.events + len(happenings))

    async def _read(self, looks: list[Look]) -> None:
        for look in looks:
            read = await inbox.mark_all_read(self._database, look.recipient, self._clock.now())
            self._passed = replace(self._passed, read_in_app=self._passed.read_in_app + read)

    async def _let_close(self) -> None:
        """Move the clock from one closing batch to the next."""
        latest = self._clock.now() + _PATIENCE
        while (due := await next_due(self._database, Channel.EMAIL)) is not None and due <= latest:
            self._clock.move_to(max(due, self._clock.now()))
            await self._worker.drain()
            self._tell()

    def _tell(self) -> None:
        now = self._clock.now()
        self._passed = replace(self._passed, at=now, done=min((now - self._begins) / LENGTH, 1.0))
        self._seen(self._passed)

    def _fanned_out(self, done: FannedOut) -> None:
        self._passed = replace(self._passed, notifications=self._passed.notifications + done.notifications)

    def _attempted(self, done: Attempted) -> None:
        self._passed = replace(
            self._passed, mails=self._passed.mails + done.accepted, canceled=self._passed.canceled + done.canceled
        )


def _ticks(campus: Campus, begins: datetime) -> Iterator[tuple[datetime, list[Happening], list[Look]]]:
    """The evening in small steps: until when, what happened in it, and who looked."""
    happenings, looks = list(reversed(campus.happenings)), list(reversed(campus.looks))
    tick = begins
    while happenings or looks:
        tick += _TICK
        yield tick, list(_until(tick, happenings)), list(_until(tick, looks))


def _until(tick: datetime, waiting: list[_Timed]) -> Iterator[_Timed]:
    while waiting and waiting[-1].at <= tick:
        yield waiting.pop()


def _given(each: Happening) -> dict[str, object]:
    return {
        "reason": each.reason,
        "to": list(each.to),
        "entities": list(each.entities),
        "actor": each.actor,
        "about": each.about,
        "payload": Jsonb(dict(each.payload)),
        "at": each.at,
    }
