"""A small world to test in: a catalogue, recipients, a virtual clock, and a recorder in place of the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

import pytest
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from hark import audience, preferences
from hark.audience import Recipient, Subscription
from hark.batching import ChunkSize, FannedOut, fan_out_begun, fan_out_fresh
from hark.catalogue import (
    Calendar,
    Catalogue,
    Category,
    Channel,
    Facet,
    Feed,
    Frequency,
    Reason,
    Source,
    Templates,
    Windows,
)
from hark.clock import VirtualClock
from hark.delivery.attempt import Attempted, Sender
from hark.delivery.backoff import Backoff
from hark.delivery.claim import next_due
from hark.delivery.handover import Outcome, Prepared, Verdict
from hark.delivery.reap import Reaped, reap
from hark.digests import Planned, Planner
from hark.guarded.addresses import Allowed
from hark.guarded.client import Guarded
from hark.postgres.database import Database, open_database
from hark.rechecks import Rechecks
from hark.rendering import Message, Renderer
from hark.sources import Asking
from hark.worker import Worker
from tests.servers import Postgres

DOMAIN = "acme.example"
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
COOLDOWN = timedelta(minutes=4)
MAX_STALE = timedelta(hours=1)
LOOPBACK = Allowed.parse(["127.0.0.1"])
EVERYWHERE = (Channel.EMAIL, Channel.IN_APP)

ACCEPTED = Outcome(Verdict.ACCEPTED, "recorder: 250 ok")
DEFERRED = Outcome(Verdict.DEFERRED, "recorder: connection refused")
REFUSED = Outcome(Verdict.REFUSED, "recorder: 554 no thanks")
BAD_ADDRESS = Outcome(Verdict.REFUSED, "recorder: 550 no such user", bad_address=True)
UNKNOWN = Outcome(Verdict.UNKNOWN, "recorder: no answer within 30 s")

_OF_A_DELIVERY = (
    "recipient_id, id, channel, batch_group, frequency, state, outcome, gathering, at_least_once, due_at, items,"
    " moved_on, first_event, last_event, attempt, lease_until, worker, why, left_out, silent, created_at, changed_at"
)
"""All but stale_at, which may be infinite: more than Python's times can say."""

Row = Any
"""One row of a table, by its columns' names."""


def reason(
    name: str,
    *,
    title: str | None = None,
    channels: Sequence[Channel] = EVERYWHERE,
    types: Sequence[str] = ("Students",),
    frequency: Frequency = Frequency.BATCHED,
    cooldown: timedelta = COOLDOWN,
    max_stale: timedelta | None = MAX_STALE,
    group: str | None = None,
    templates: Templates | None = None,
    at_least_once: bool = False,
    feed: Feed | None = None,
    recheck: Source | None = None,
    narrower: Mapping[str, str] | None = None,
    auto_subscribe: Sequence[str] = (),
) -> Reason:
    """A reason, batched and by e-mail and in app for students unless told otherwise."""
    return Reason(
        name=name,
        title=title or name.replace("_", " ").capitalize(),
        channels={user_type: tuple(channels) for user_type in types},
        frequency=frequency,
        windows=Windows(cooldown, max_stale),
        group=group or name,
        category=Category.ACTIVITY,
        templates=templates or Templates(),
        at_least_once=at_least_once,
        feed=feed,
        recheck=recheck,
        narrower=tuple(Facet(name, kind) for name, kind in (narrower or {}).items()),
        auto_subscribe=tuple(auto_subscribe),
    )


COMMENT = reason("comment")
MENTION = reason("mention", frequency=Frequency.IMMEDIATE)
NEWS = reason("news", frequency=Frequency.DAILY)
ROUND_UP = reason("round_up", frequency=Frequency.WEEKLY)


def catalogue(*reasons: Reason, at: time = time(8), weekday: int = 0) -> Catalogue:
    """A catalogue of these reasons, for students and employers."""
    return Catalogue(
        user_types={"Students": "People who look for a job", "Employers": "People who offer one"},
        reasons={each.name: each for each in reasons or (COMMENT, MENTION, NEWS, ROUND_UP)},
        email=None,
        calendar=Calendar(at, weekday),
    )


def student(name: str, *, zone: str = "UTC", active: bool = True, confirmed: bool = True) -> Recipient:
    """A student that e-mail reaches, unless told otherwise."""
    return Recipient(name, "Students", f"{name}@school.example", confirmed, active=active, zone=zone)


def students(count: int) -> list[Recipient]:
    """So many of them, their ids in order: s000, s001 …"""
    return [student(f"s{number:03}") for number in range(count)]


class Sent(NamedTuple):
    """One message as it was handed over."""

    at: datetime
    delivery_id: int
    address: str
    subject: str
    text: str


@dataclass(slots=True)
class Recorder:
    """Hands over to a list; `answer` plays the provider."""

    clock: VirtualClock
    answer: Callable[[Prepared], Outcome] = lambda _prepared: ACCEPTED
    handed_over: list[Sent] = field(default_factory=list)
    accepted: list[Sent] = field(default_factory=list)

    def prepare(self, message: Message) -> Prepared:
        """The subject on the first line, then the text."""
        return Prepared(message.delivery_id, message.address, f"{message.subject}\n{message.text}".encode())

    async def send(self, batch: Sequence[Prepared]) -> list[Outcome]:
        """Record all, and answer for each."""
        return [self._answer(prepared) for prepared in batch]

    async def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, prepared: Prepared) -> Outcome:
        subject, _, text = prepared.payload.decode().partition("\n")
        sent = Sent(self.clock.now(), prepared.delivery_id, prepared.address, subject, text)
        outcome = self.answer(prepared)
        self.handed_over.append(sent)
        if outcome.verdict is Verdict.ACCEPTED:
            self.accepted.append(sent)
        return outcome


@dataclass(slots=True, repr=False)
class World:
    """Hark with a virtual clock and a recorder, on a database of its own."""

    dsn: str
    database: Database
    catalogue: Catalogue
    clock: VirtualClock
    recorder: Recorder
    renderer: Renderer
    asking: Asking = field(default_factory=lambda: Asking(Guarded(LOOPBACK), timedelta(seconds=20)))

    # Given ----------------------------------------------------------------------------------------------------------

    async def install(self, *reasons: Reason, at: time = time(8), weekday: int = 0) -> None:
        """Make these the reasons of the catalogue."""
        self.catalogue = catalogue(*reasons, at=at, weekday=weekday)
        self.renderer = Renderer(self.catalogue, DOMAIN)
        await preferences.install(self.database, self.catalogue, retire=True, now=self.clock.now())

    async def know(self, *recipients: Recipient | str) -> None:
        """Recipients, or the names of ordinary students."""
        given = [student(each) if isinstance(each, str) else each for each in recipients]
        await audience.put_recipients(self.database, given, self.clock.now())

    async def follow(self, entity: str, *recipients: str) -> None:
        """Subscribe recipients to an entity."""
        wanted = [Subscription(recipient, entity) for recipient in recipients]
        await audience.subscribe(self.database, wanted, self.clock.now())

    async def choose(
        self,
        recipient: str,
        reason: str,
        *,
        channels: Iterable[Channel] | None = None,
        frequency: Frequency | None = None,
    ) -> None:
        """Store a recipient's own choice."""
        await preferences.choose(
            self.database, recipient, reason, self.clock.now(), channels=channels, frequency=frequency
        )

    # When -----------------------------------------------------------------------------------------------------------

    async def publish(
        self,
        reason: str = "comment",
        *,
        to: Sequence[str] = (),
        entities: Sequence[str] = (),
        actor: str | None = None,
        about: str | None = None,
        payload: dict[str, object] | None = None,
        at: datetime | None = None,
    ) -> int:
        """Publish an event at the virtual time, or at `at`; its id."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(
                "select hark.publish(%s, %s, %s, %s, %s, %s, published_at => %s)",
                [reason, list(to), list(entities), actor, about, Jsonb(payload or {}), at or self.clock.now()],
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def fan_out(self, size: ChunkSize | None = None) -> list[FannedOut]:
        """Fan out until nothing waits; what each statement did."""
        done: list[FannedOut] = []
        while True:
            fresh = await fan_out_fresh(self.database, self.clock.now(), size or ChunkSize())
            begun = await fan_out_begun(self.database, self.clock.now(), size or ChunkSize())
            if fresh.events == begun.events == 0:
                return done
            done += [each for each in (fresh, begun) if each.events]

    def sender(
        self,
        *,
        worker: str = "test/1",
        backoff: Backoff | None = None,
        lease: timedelta = timedelta(seconds=60),
        claim_chunk: int = 200,
        send_chunk: int = 50,
    ) -> Sender:
        """What attempts e-mail deliveries, through the recorder."""
        return Sender(
            database=self.database,
            channel=Channel.EMAIL,
            outbound=self.recorder,
            renderer=self.renderer,
            clock=self.clock,
            worker=worker,
            backoff=backoff or Backoff(),
            lease=lease,
            claim_chunk=claim_chunk,
            send_chunk=send_chunk,
            rechecks=Rechecks.of(self.catalogue, self.asking),
        )

    async def attempt(self, **given: Any) -> Attempted:
        """One round of attempts of what is due."""
        return await self.sender(**given).attempt_due()

    def planner(self, **given: Any) -> Planner:
        """What plans digests, by the virtual clock."""
        return Planner(self.database, self.clock, self.catalogue, **given)

    async def plan(self, **given: Any) -> list[Planned]:
        """Plan until nothing is due; what each step did."""
        planner, done = self.planner(**given), []
        while (step := await planner.step()).more:
            done.append(step)
        return done

    async def drain(self) -> None:
        """Do all that is due by now."""
        await Worker(self.database, self.clock, [self.sender()], planner=self.planner()).drain()

    async def run_until(self, end: datetime) -> None:
        """Work, moving the clock from one due moment to the next, up to `end`."""
        await self.drain()
        while (due := await self._next_due()) is not None and due <= end:
            self.clock.move_to(max(due, self.clock.now()))
            await self.drain()
        self.clock.move_to(end)

    async def _next_due(self) -> datetime | None:
        moments = [await next_due(self.database, Channel.EMAIL), await self.planner().next_at()]
        return min((moment for moment in moments if moment is not None), default=None)

    async def reap(
        self, *, backoff: Backoff | None = None, answer_wait: timedelta = timedelta(minutes=15), limit: int = 1000
    ) -> Reaped:
        """Take back what dead workers held."""
        return await reap(
            self.database, self.clock.now(), backoff=backoff or Backoff(), answer_wait=answer_wait, limit=limit
        )

    # Then -----------------------------------------------------------------------------------------------------------

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Whatever the database says."""
        async with self.database.connection() as connection, connection.cursor(row_factory=namedtuple_row) as cursor:
            await cursor.execute(sql, params)
            return await cursor.fetchall()

    async def execute(self, sql: str, *params: object) -> None:
        """Do something to the database that no function of Hark's does."""
        async with self.database.connection() as connection:
            await connection.execute(sql, params)

    async def told(self, event: int | None = None) -> list[Row]:
        """The notifications (of one event), in order."""
        return await self.rows(
            "select * from hark.notification where event_id = coalesce(%s, event_id) order by recipient_id, event_id",
            event,
        )

    async def names_told(self, event: int | None = None) -> Counter[str]:
        """Who was told, and how often."""
        return Counter(row.recipient_id for row in await self.told(event))

    async def deliveries(self) -> list[Row]:
        """All deliveries, oldest first."""
        return await self.rows(f"select {_OF_A_DELIVERY} from hark.delivery order by id")

    async def delivery(self) -> Row:
        """The only delivery there is."""
        (only,) = await self.deliveries()
        return only

    async def history(self) -> list[Row]:
        """What the transitions wrote, oldest first."""
        return await self.rows("select * from hark.delivery_history order by id")


@asynccontextmanager
async def open_world(dsn: str, *reasons: Reason, size: int = 8) -> AsyncIterator[World]:
    """A world on a migrated, empty database, with these reasons (or one of each frequency)."""
    clock = VirtualClock(MONDAY_NOON)
    async with open_database(dsn, size=size) as database:
        given = catalogue(*reasons)
        world = World(dsn, database, given, clock, Recorder(clock), Renderer(given, DOMAIN))
        await preferences.install(database, world.catalogue)
        yield world


@pytest.fixture(scope="session")
async def world_template(postgres: Postgres, template: str) -> str:
    """The name of a database that also has the catalogue: for cloning, since installing it takes a while."""
    name = postgres.create_database(template)
    async with open_world(postgres.dsn(name)):
        return name


@pytest.fixture
async def world(postgres: Postgres, world_template: str) -> AsyncIterator[World]:
    """A world with one reason of each frequency; `install` gives it others."""
    name = postgres.create_database(world_template)
    async with open_world(postgres.dsn(name)) as opened:
        yield opened
    postgres.drop_database(name)
