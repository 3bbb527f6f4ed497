"""`hark worker`: a worker as the settings want it, ended with grace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hark.backfill.cohort import FileReach
from hark.backfill.loads import Starter
from hark.backfill.outside import Outside
from hark.backfill.run import Runner
from hark.backfill.webhook import Hook
from hark.batching import ChunkSize, FannedOut
from hark.catalogue import Catalogue, Channel, Email
from hark.channels.addresses import parse_mailbox
from hark.clock import Clock, DatabaseClock
from hark.config import Settings
from hark.delivery.attempt import Attempted, Sender
from hark.delivery.backoff import Backoff
from hark.delivery.cap import Cap
from hark.delivery.gcra import Gcra
from hark.delivery.handover import Outbound
from hark.delivery.limits import Limits, OwnRate
from hark.digests import Planned, Planner
from hark.doors import product_sources, reports
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.loads import loading
from hark.doors.cli.logs import log_to_stderr
from hark.doors.cli.session import Session
from hark.doors.cli.stopping import Stop
from hark.errors import BadInput, CatalogueFaults
from hark.flags import Watcher
from hark.guarded.client import Guarded
from hark.history.tending import Tender, open_tender
from hark.logs import Log
from hark.postgres.database import Database, is_passing
from hark.postgres.holder import worker_name
from hark.rechecks import Rechecks
from hark.rendering import Renderer
from hark.sources import Asking
from hark.worker import Pace, Watch, Worker

_log = Log(__name__)

SPARE_CONNECTIONS = 13
"""For whatever a worker does beside its attempts; reading the lists of backfills is four of it, loading four more."""

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
    digests: int = 0
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

    def planned(self, done: Planned) -> None:
        """Count a chunk of digests."""
        self.digests += done.planned

    def attempted(self, done: Attempted) -> None:
        """Count a round of attempts."""
        for name in ("claimed", "accepted", "canceled", "deferred", "refused", "unknown", "given_back"):
            setattr(self, name, getattr(self, name) + getattr(done, name))

    def line(self) -> str:
        """For people."""
        digests = f"{self.digests:,} digests planned; " if self.digests else ""
        return (
            f"{self.events:,} events fanned out to {self.notifications:,}; {digests}of {self.claimed:,} attempts"
            f" {self.accepted:,} accepted, {self.canceled:,} canceled, {self.deferred:,} deferred,"
            f" {self.refused:,} refused, {self.unknown:,} unknown, {self.given_back:,} given back"
        )


async def run_worker(call: Call, work: Work) -> ExitCode:
    """Work until told to stop, or until nothing is due."""
    settings = call.settings
    log_to_stderr(settings.log_level)
    call.go_on = "another worker, or this one started again, goes on where it was"
    tally = Tally()
    async with (
        call.session(size=settings.concurrency + SPARE_CONNECTIONS, install=True) as session,
        open_outbound(settings, session.need_catalogue(), work) as outbound,
    ):
        with Stop(call.output) as stop:
            async with open_worker(session, settings, outbound, tally, stop.event) as worker:
                await _run(worker, stop.event, until_idle=work.until_idle)
    call.output.show(tally, [tally.line()])
    return stop.end(call)


@asynccontextmanager
async def open_worker(
    session: Session,
    settings: Settings,
    outbound: Outbound,
    tally: Tally,
    stopping: asyncio.Event,
    clock: Clock | None = None,
) -> AsyncIterator[Worker]:
    """A worker as the settings want it, and its one way out by HTTP; `clock`: the one that the process has already."""
    clock = clock or await DatabaseClock.start(session.database)
    catalogue = await _askable(session, settings)
    asking = Asking(Guarded(settings.http_allow_private), settings.feed_timeout)
    hook = Hook.of(catalogue.backfills.webhook, settings, asking.client, clock)
    rechecks = Rechecks.of(catalogue, asking)
    senders = await _senders(session, settings, outbound, clock, rechecks, stopping)
    try:
        async with (
            product_sources.graph_for(settings, catalogue) as graph,
            open_tender(session.database, settings, clock, f"{worker_name()}/project") as history,
        ):
            planner = _planner(session, settings, clock, replace(asking, graph=graph))
            outside = loading(session.database, settings, asking.client, clock)
            yield _worker(session, settings, senders, tally, clock, hook, history, planner, outside)
    finally:
        if hook is not None:
            await hook.close()
        await asking.client.close()


def _worker(
    session: Session,
    settings: Settings,
    senders: Sequence[Sender],
    tally: Tally,
    clock: Clock,
    hook: Hook | None,
    history: Tender,
    planner: Planner,
    outside: Mapping[str, Outside],
) -> Worker:
    return Worker(
        database=session.database,
        clock=clock,
        senders=senders,
        chunk=ChunkSize(events=settings.fanout_events, begun=settings.fanout_chunk),
        pace=Pace(floor=settings.poll_floor, period=settings.poll_period),
        watch=Watch(tally.fanned_out, tally.attempted, tally.planned),
        planner=planner,
        backfills=_runner(session, settings, clock, hook, outside),
        loads=Starter(session.database, clock, FileReach.of(settings, local=False), settings.source_rate),
        segments=Watcher(session.database, clock, FileReach.of(settings, local=False), f"worker:{worker_name()}"),
        history=history,
    )


def _runner(
    session: Session, settings: Settings, clock: Clock, hook: Hook | None, outside: Mapping[str, Outside]
) -> Runner:
    return Runner(
        session.database,
        clock,
        f"{worker_name()}/backfill",
        lease=settings.lease,
        reach=FileReach.of(settings, local=False),
        webhook=hook,
        outside=outside,
    )


def _planner(session: Session, settings: Settings, clock: Clock, asking: Asking) -> Planner:
    return Planner(
        session.database,
        clock,
        session.need_catalogue(),
        lead=settings.digest_lead,
        chunk=settings.digest_chunk,
        asking=asking,
    )


async def _askable(session: Session, settings: Settings) -> Catalogue:
    """The catalogue, its callables imported. What is wrong with a query is said, and stops nothing else.

    Raises:
        CatalogueFaults: callables that cannot be imported.
    """
    catalogue = session.need_catalogue()
    if faults := product_sources.callable_faults(catalogue):
        raise CatalogueFaults(str(settings.catalogue), faults)
    for fault in await product_sources.query_faults(session.database, catalogue):
        _log.warning("query_cannot_run", where=fault.where, what=fault.what)
    return catalogue


async def _senders(
    session: Session,
    settings: Settings,
    outbound: Outbound,
    clock: Clock,
    rechecks: Rechecks,
    stopping: asyncio.Event,
) -> list[Sender]:
    catalogue = session.need_catalogue()
    domain = parse_mailbox(_email(catalogue).sender, "from").address.rpartition("@")[2]
    renderer = Renderer(catalogue, domain, await session.database.installation())
    backoff = Backoff(settings.backoff_base, settings.backoff_cap, settings.max_attempts)
    limits = _limits(settings, catalogue, clock)
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
            limits=limits,
            rechecks=rechecks,
            stopping=stopping.is_set,
        )
        for number in range(1, settings.concurrency + 1)
    ]


def _limits(settings: Settings, catalogue: Catalogue, clock: Clock) -> Limits:
    own, shared, cap = settings.worker_rate_limit, settings.rate_limit, settings.recipient_cap
    return Limits(
        own=OwnRate(Gcra.of(own), clock) if own else None,
        shared=Gcra.of(shared) if shared else None,
        cap=Cap.of(cap, catalogue) if cap else None,
    )


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
async def open_outbound(settings: Settings, catalogue: Catalogue, work: Work) -> AsyncIterator[Outbound]:
    """Where e-mail goes, for the time of a block."""
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
