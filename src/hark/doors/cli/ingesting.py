"""`hark ingest`: streams as the settings want them, run until told to stop, or to the end of a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hark.clock import DatabaseClock
from hark.config import Settings
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.logs import log_to_stderr
from hark.doors.cli.output import Told
from hark.doors.cli.stopping import Stop
from hark.errors import BadInput
from hark.guarded.client import Guarded
from hark.history.live.contracts import Contract, Topics
from hark.history.live.gates import gate_of
from hark.history.live.ingest import Ingestor, Taken
from hark.history.live.jsonl import Lines, group_of
from hark.history.live.positions import streams
from hark.history.live.switch import Watched
from hark.history.tending import Tended
from hark.postgres.database import Database
from hark.postgres.holder import worker_name
from hark.worker import Loop, Pace, Progress

if TYPE_CHECKING:
    from hark.history.live.kafka import Stream

_PROMPT = Pace(timedelta(milliseconds=5), timedelta(milliseconds=5))
"""Streams wait by themselves, for messages."""
_SLOW = Pace(timedelta(seconds=5), timedelta(seconds=5))
_HELD = timedelta(milliseconds=500)


@dataclass(slots=True)
class Tally:
    """What was taken, from the start to the end."""

    messages: int = 0
    recorded: int = 0
    left_out: int = 0
    dead: int = 0
    changed: int = 0
    _told: Told | None = field(default=None, repr=False)

    def taken(self, done: Taken) -> None:
        """Count a chunk."""
        for name in ("messages", "recorded", "left_out", "dead", "changed"):
            setattr(self, name, getattr(self, name) + getattr(done, name))
        if self._told is not None:
            self._told(self.messages, f"{self.dead:,} dead" if self.dead else "")

    def as_json(self) -> dict[str, int]:
        """For programs."""
        return {name: getattr(self, name) for name in ("messages", "recorded", "left_out", "dead", "changed")}

    def line(self) -> str:
        """For people."""
        dead = "; hark ingest dead list" if self.dead else ""
        return (
            f"{self.messages:,} messages taken: {self.recorded:,} recorded ({self.changed:,} facts new, changed or"
            f" gone), {self.left_out:,} of users who are not let in, {self.dead:,} dead{dead}"
        )


async def run_kafka(call: Call, topic: str | None, name: str | None) -> ExitCode:
    """Take what the brokers give, until told to stop.

    Raises:
        BadInput: no brokers are set, or options of files are given; the driver is not installed.
    """
    if topic is not None or name is not None:
        raise BadInput("--topic and --name are for files; topics of Kafka are settings: ingest_receipts_topic, …")
    settings, tally = call.settings, Tally()
    topics, client = topics_with_schemas(settings)
    stream_of = _stream_maker(settings, topics)
    log_to_stderr(settings.log_level)
    call.go_on = "start it again: it goes on where it was"
    async with call.session(size=6) as session, AsyncExitStack() as opened:
        opened.push_async_callback(client.close)
        clock = await DatabaseClock.start(session.database)
        with Stop(call.output) as stop, call.output.progress("messages") as tally._told:
            running = [stream_of(session.database, clock, number, tally) for number in range(2)]
            for each in running:
                opened.push_async_callback(each.close)
                await each.ingestor.gate.view()
                await each.begin()
            loops = [Loop(each.streamed.group, _progress(each.step), clock, _PROMPT) for each in running]
            await _run([*loops, _follow(clock, session.database)], stop.event)
    call.output.show(tally, [tally.line()])
    return stop.end(call)


def _stream_maker(settings: Settings, topics: Topics) -> Callable[[Database, DatabaseClock, int, Tally], Stream]:
    try:
        from hark.history.live.brokers import options
        from hark.history.live.kafka import Stream
    except ImportError:
        raise BadInput("Kafka needs the extra graph: pip install 'hark[graph]'") from None
    options(settings)
    named = streams(settings)

    def make(database: Database, clock: DatabaseClock, number: int, tally: Tally) -> Stream:
        streamed = named[number]
        gate = gate_of(settings, database, clock, f"ingest:{streamed.group}:{worker_name()}")
        ingestor = Ingestor(database, clock, gate, topics, tally.taken)
        return Stream(settings, ingestor, Watched(database, clock), streamed, settings.ingest_chunk)

    return make


async def run_file(call: Call, name: str, topic: str | None, called: str | None) -> ExitCode:
    """Take a file's lines to its end, from where an earlier run came to.

    Raises:
        BadInput: the file cannot be read, or another one was read under its name.
    """
    settings, tally = call.settings, Tally()
    log_to_stderr(settings.log_level)
    _check_topic(settings, topic)
    call.go_on = "the same command goes on behind the last line that was taken"
    path = Path(name)
    group = "jsonl:-" if name == "-" else group_of(path, called)
    with _opened(path) as file:
        async with call.session(size=4) as session, open_ingestor(settings, session.database, group, tally) as ingestor:
            lines = Lines(ingestor, file, group, topic or "", settings.ingest_chunk, kept=name != "-")
            if begun := await lines.begin():
                call.output.note(f"{begun:,} lines were taken before; going on behind them")
            with Stop(call.output) as stop, call.output.progress("lines") as tally._told:
                reading = _Reading(lines, Watched(session.database, ingestor.clock), stop.event)
                await Loop(group, reading.chunk, ingestor.clock, _PROMPT).run(stop.event)
    if lines.torn:
        call.output.note("its last line is not whole yet; the same command takes it when it is")
    call.output.show(tally, [tally.line()])
    return ExitCode.DONE if reading.ended else stop.end(call)


@dataclass(slots=True)
class _Reading:
    """A file as chunks of a loop, which its end ends."""

    lines: Lines
    switch: Watched
    stopping: asyncio.Event
    ended: bool = False

    async def chunk(self) -> Progress:
        if await self.switch.is_paused():
            await asyncio.sleep(_HELD.total_seconds())
            return Progress(more=False)
        if not await self.lines.step():
            self.ended = True
            self.stopping.set()
        return Progress(more=True)


@asynccontextmanager
async def open_ingestor(
    settings: Settings, database: Database, name: str, tally: Tally | None = None
) -> AsyncIterator[Ingestor]:
    """What takes chunks, gated as the settings say, for the time of a block.

    Args:
        name: what this does, for those who look who acts on a flag.

    Raises:
        BadInput: there is no such flag or provider.
    """
    topics, client = topics_with_schemas(settings)
    clock = await DatabaseClock.start(database)
    gate = gate_of(settings, database, clock, f"ingest:{name}:{worker_name()}")
    ingestor = Ingestor(database, clock, gate, topics)
    if tally is not None:
        ingestor.tell = tally.taken
    await gate.view()
    try:
        yield ingestor
    finally:
        await gate.close()
        await client.close()


def topics_of(settings: Settings) -> Topics:
    """Which topic holds what, as the settings say."""
    return Topics(
        {
            settings.ingest_receipts_topic: Contract.RECEIPTS,
            settings.ingest_factoids_topic: Contract.FACTOIDS,
        }
    )


def topics_with_schemas(settings: Settings) -> tuple[Topics, Guarded]:
    """The same, with the registry that knows schemas, if one is set; and what it is asked with.

    Raises:
        BadInput: one is set, and the library for Avro is not installed.
    """
    from hark.history.live.schemas import open_schemas

    client, url = Guarded(settings.http_allow_private), settings.schema_registry_url
    schemas = None if url is None else open_schemas(url, settings.schema_registry_login, client)
    return replace(topics_of(settings), schemas=schemas), client


def _check_topic(settings: Settings, topic: str | None) -> None:
    known = topics_of(settings).contracts
    if topic is not None and topic not in known:
        raise BadInput(f'--topic: "{topic}" is none of those that are read: {" and ".join(sorted(known))}')


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
        file.peek(1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield file


async def _run(loops: list[Loop], stopping: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        for loop in loops:
            tasks.create_task(loop.run(stopping), name=loop.name)


def _progress(step: Callable[[], Awaitable[Tended]]) -> Callable[[], Awaitable[Progress]]:
    async def chunk() -> Progress:
        done = await step()
        return Progress(done.more, done.next_at)

    return chunk


def _follow(clock: DatabaseClock, database: Database) -> Loop:
    async def chunk() -> Progress:
        await clock.follow(database)
        return Progress(more=False)

    return Loop("clock", chunk, clock, _SLOW)
