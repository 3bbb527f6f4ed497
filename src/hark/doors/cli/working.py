"""`hark worker`: a worker as the settings want it, ended with grace."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hark.backfill.run import Runner
from hark.batching import ChunkSize, FannedOut
from hark.catalogue import Catalogue, Channel, Email
from hark.channels.addresses import parse_mailbox
from hark.clock import Clock, DatabaseClock
from hark.config import Settings
from hark.delivery.attempt import Attempted, Sender
from hark.delivery.backoff import Backoff
from hark.delivery.handover import Outbound
from hark.doors import reports
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.logs import log_to_stderr
from hark.doors.cli.output import Output
from hark.doors.cli.session import Session
from hark.errors import BadInput
from hark.postgres.database import Database, is_passing
from hark.rendering import Renderer
from hark.worker import Pace, Watch, Worker, worker_name

_SPARE_CONNECTIONS = 4
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker was asked for: `until_idle` to end when nothing is due, `maildir` to send nothing for real."""

    until_idle: bool = False
    maildir: Path | None = None


@dataclass(slots=True)
class Tally:
    """What a worker did, from its start to its end."""

    events: int = 0
    notifications: int = 0
    claimed: int = 0
    accepted: int = 0
    canceled: int = 0
    deferred: int = 0
    refused: int = 0
    unknown: int = 0
    given_back: int = 0

    def fanned_out(self, done: FannedOut) -> None:
        """Count a fan-out."""
        self.events += done.events - done.begun
        self.notifications += done.notifications

    def attempted(self, done: Attempted) -> None:
        """Count a round of attempts."""
        for name in ("claimed", "accepted", "canceled", "deferred", "refused", "unknown", "given_back"):
            setattr(self, name, getattr(self, name) + getattr(done, name))

    def line(self) -> str:
        """For people."""
        return (
            f"{self.events:,} events fanned out to {self.notifications:,}; of {self.claimed:,} attempts"
            f" {self.accepted:,} accepted, {self.canceled:,} canceled, {self.deferred:,} deferred,"
            f" {self.refused:,} refused, {self.unknown:,} unknown, {self.given_back:,} given back"
        )


class Stop:
    """Told by a signal to end: what is under way is finished first; told twice, at once."""

    def __init__(self, output: Output) -> None:
        self.event = asyncio.Event()
        self.interrupted = False
        self._output = output
        self._task = asyncio.current_task()

    def __enter__(self) -> Stop:
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, self._told, sign)
        return self

    def __exit__(self, *_: object) -> None:
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(sign)

    def _told(self, sign: signal.Signals) -> None:
        self.interrupted = sign is signal.SIGINT
        if self.event.is_set() and self._task is not None:
            self._task.cancel()
            return
        self._output.note("stopping: what is under way is finished first; again: at once")
        self.event.set()

    def end(self, call: Call) -> ExitCode:
        """How the command ends, once all is finished."""
        if self.interrupted:
            call.output.note(f"interrupted; {call.go_on}")
        return ExitCode.INTERRUPTED if self.interrupted else ExitCode.DONE


async def run_worker(call: Call, work: Work) -> ExitCode:
    """Work until told to stop, or until nothing is due."""
    settings = call.settings
    log_to_stderr(settings.log_level)
    call.go_on = "another worker, or this one started again, goes on where it was"
    tally = Tally()
    async with (
        call.session(size=settings.concurrency + _SPARE_CONNECTIONS, install=True) as session,
        _outbound(settings, session.need_catalogue(), work) as outbound,
    ):
        with Stop(call.output) as stop:
            worker = await build_worker(session, settings, outbound, tally, stop.event)
            await _run(worker, stop.event, until_idle=work.until_idle)
    call.output.show(tally, [tally.line()])
    return stop.end(call)


async def build_worker(
    session: Session, settings: Settings, outbound: Outbound, tally: Tally, stopping: asyncio.Event
) -> Worker:
    """A worker as the settings want it."""
    clock = await DatabaseClock.start(session.database)
    senders = await _senders(session, settings, outbound, clock, stopping)
    return Worker(
        database=session.database,
        clock=clock,
        senders=senders,
        chunk=ChunkSize(events=settings.fanout_events, begun=settings.fanout_chunk),
        pace=Pace(floor=settings.poll_floor, period=settings.poll_period),
        watch=Watch(tally.fanned_out, tally.attempted),
        backfills=Runner(session.database, clock, f"{worker_name()}/backfill", lease=settings.lease),
    )


async def _senders(
    session: Session, settings: Settings, outbound: Outbound, clock: Clock, stopping: asyncio.Event
) -> list[Sender]:
    catalogue = session.need_catalogue()
    domain = parse_mailbox(_email(catalogue).sender, "from").address.rpartition("@")[2]
    renderer = Renderer(catalogue, domain, await session.database.installation())
    backoff = Backoff(settings.backoff_base, settings.backoff_cap, settings.max_attempts)
    return [
        Sender(
            database=session.database,
            channel=Channel.EMAIL,
            outbound=outbound,
            renderer=renderer,
            clock=clock,
            worker=f"{worker_name()}/{number}",
            backoff=backoff,
            lease=settings.lease,
            claim_chunk=settings.claim_chunk,
            send_chunk=settings.send_chunk,
            stopping=stopping.is_set,
        )
        for number in range(1, settings.concurrency + 1)
    ]


async def _run(worker: Worker, stopping: asyncio.Event, *, until_idle: bool) -> None:
    async with asyncio.TaskGroup() as tasks:
        if until_idle:
            tasks.create_task(_stop_when_idle(worker.database, worker.clock, stopping))
        tasks.create_task(worker.run(stopping))


async def _stop_when_idle(database: Database, clock: Clock, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            if await reports.is_idle(database, clock.now()):
                stopping.set()
        except Exception as error:
            if not is_passing(error):
                raise
        await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _outbound(settings: Settings, catalogue: Catalogue, work: Work) -> AsyncIterator[Outbound]:
    outbound = _maildir(catalogue, work.maildir) if work.maildir else _smtp(settings, catalogue)
    try:
        yield outbound
    finally:
        await outbound.close()


def _maildir(catalogue: Catalogue, directory: Path) -> Outbound:
    from hark.channels.maildir import MaildirChannel

    email = _email(catalogue)
    return MaildirChannel(directory, sender=email.sender, reply_to=email.reply_to)


def _smtp(settings: Settings, catalogue: Catalogue) -> Outbound:
    from hark.channels.smtp import SmtpChannel

    email = _email(catalogue)
    url = settings.smtp_url or email.smtp
    if url is None:
        raise BadInput("no mail server is set: HARK_SMTP_URL=smtp://HOST:PORT, or --maildir DIR to send nothing")
    return SmtpChannel(url, sender=email.sender, reply_to=email.reply_to, pool_size=settings.smtp_connections)


def _email(catalogue: Catalogue) -> Email:
    if catalogue.email is None:
        raise BadInput('the catalogue does not say who sends: write [channels.email] and from = "…" into it')
    return catalogue.email
