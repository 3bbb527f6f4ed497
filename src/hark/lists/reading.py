"""From the bytes of a source to the ids that are in it, whatever its format."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from hark.errors import Unreachable
from hark.lists import parquet, rows
from hark.lists.naming import File, Format
from hark.lists.reach import FileReach
from hark.lists.rows import Chunk
from hark.lists.sources import ObjectSeen, Source, open_source
from hark.lists.text import PARQUET, peeked, texts

T = TypeVar("T")
Beat = Callable[[], None]

PATIENCE = timedelta(seconds=60)
"""How long a source may take for its first byte, and for each block after it; else it is given up. So a store that
never answers, or only by drops, holds nobody up for long."""


def chunks_of(file: File, source: Source) -> Iterator[Chunk]:
    """The ids of a file that is open, a block at a time.

    Raises:
        FileFaults: it is not what it should be.
        BadInput: it was changed meanwhile, or what reads it is not installed.
        Unreachable: it broke off.
    """
    head, blocks = peeked(source.blocks(), len(PARQUET))
    if file.format is Format.PARQUET or (file.format is None and head == PARQUET):
        yield from parquet.chunks(file, file.url, blocks)
    else:
        yield from rows.chunks(file, file.url, texts(file.url, blocks))


@dataclass(slots=True)
class Reading:
    """A file that is read by a thread of its own, a chunk ahead. `seen`: what it was, once it was read whole."""

    file: File
    reach: FileReach
    seen: ObjectSeen | None = None

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Its ids, a block at a time. Whoever stops listening waits for nothing: the thread ends by itself.

        Raises:
            BadInput: it may not be read, is not there, is no file, or was changed meanwhile.
            FileFaults: it is not what it should be.
            Unreachable: it broke off, or gives nothing for as long as `PATIENCE`.
        """
        hand: _Hand[Chunk | None] = _Hand(self.file.url, asyncio.get_running_loop())
        hand.start(self._read)
        try:
            while (chunk := await hand.take()) is not None:
                yield chunk
        finally:
            hand.let_go()

    def _read(self, hand: _Hand[Chunk | None]) -> None:
        with open_source(self.file.url, self.reach) as source:
            source.beat = hand.beat
            with closing(_generator(self.file, source)) as chunks:
                for chunk in chunks:
                    if not hand.give(chunk):
                        return
            self.seen = source.seen()
        hand.give(None)


async def watched(url: str, work: Callable[[Beat], T]) -> T:
    """What a thread finds out of a source; `work` is given what to call whenever it got a little further.

    Raises:
        Unreachable: it gives nothing for as long as `PATIENCE`; and whatever `work` raises.
    """
    hand: _Hand[T] = _Hand(url, asyncio.get_running_loop())
    hand.start(lambda hand: hand.give(work(hand.beat)))
    try:
        return await hand.take()
    finally:
        hand.let_go()


def _generator(file: File, source: Source) -> Generator[Chunk, None, None]:
    yield from chunks_of(file, source)


@dataclass(slots=True)
class _Hand(Generic[T]):
    """From a thread to the event loop, one thing at a time and one ahead; and whether the thread gets any further.

    The thread is a daemon: one that hangs in a read keeps no process from ending.
    """

    url: str
    loop: asyncio.AbstractEventLoop
    _arrived: deque[T | BaseException] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _taken: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _wanted: bool = True
    _beaten: float = field(default_factory=time.monotonic)

    def start(self, work: Callable[[_Hand[T]], object]) -> None:
        """Let a thread begin."""
        threading.Thread(target=self._run, args=(work,), daemon=True, name="hark-list").start()

    def beat(self) -> None:
        """The thread got a little further."""
        self._beaten = time.monotonic()

    def give(self, what: T | BaseException) -> bool:
        """Hand it over, and wait until it is taken, so that no more than two are held; whether more is wanted."""
        if self._wanted:
            self.beat()
            self._hand_over(what)
        if self._wanted:
            self._taken.acquire()
        return self._wanted

    async def take(self) -> T:
        """The next thing, or what went wrong."""
        begun = time.monotonic()
        while not self._arrived:
            patience = max(begun, self._beaten) + PATIENCE.total_seconds() - time.monotonic()
            if patience <= 0:
                raise Unreachable(f"{self.url} gave nothing for {PATIENCE.total_seconds():g} s; try again later")
            await self._wait(patience)
        what = self._arrived.popleft()
        self._taken.release()
        if isinstance(what, BaseException):
            raise what
        return what

    def let_go(self) -> None:
        """Nothing more is wanted."""
        self._wanted = False
        self._taken.release()

    async def _wait(self, seconds: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def _hand_over(self, what: T | BaseException) -> None:
        try:
            self.loop.call_soon_threadsafe(self._put, what)
        except RuntimeError:  # the loop is closed
            self._wanted = False

    def _put(self, what: T | BaseException) -> None:
        self._arrived.append(what)
        self._news.set()

    def _run(self, work: Callable[[_Hand[T]], object]) -> None:
        try:
            work(self)
        except BaseException as error:
            self.give(error)
