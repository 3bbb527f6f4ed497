"""The bytes of a file or object as they come, with what they were: ETag, SHA-256, size.

Whatever is not read whole, or was changed while it was read, is an error: half a file is nobody's wish.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from hark.errors import BadInput, Unreachable
from hark.lists.reach import FileReach, InStore, OnDisk, locate
from hark.lists.stores import head, open_object

BLOCK = 64 * 1024
"""Bytes read at once. A list takes some thirty times that in memory while it is read."""


@dataclass(frozen=True, slots=True)
class ObjectSeen:
    """What was read: where, and how to tell whether it is still the same. `size` is in bytes, as stored."""

    url: str
    etag: str
    sha256: str
    size: int


@dataclass(slots=True)
class Source:
    """A file or object that is open: `blocks()` gives its bytes once, `seen()` says afterwards what they were.

    `beat` is called whenever a block has come.
    """

    url: str
    etag: str
    size: int
    _read: Callable[[], Iterator[bytes]]
    _etag_now: Callable[[], str]
    _hash: Any = field(default_factory=hashlib.sha256)
    _count: int = 0
    beat: Callable[[], None] = lambda: None

    def blocks(self) -> Iterator[bytes]:
        """The bytes, a block at a time.

        Raises:
            BadInput: it was changed meanwhile; or it broke off, and is gone by now or may no longer be read.
            Unreachable: it broke off.
        """
        for block in self._unbroken():
            self._hash.update(block)
            self._count += len(block)
            self.beat()
            yield block
        self._check_unchanged()
        self._check_whole()

    def seen(self) -> ObjectSeen:
        """What was read."""
        return ObjectSeen(self.url, self.etag, self._hash.hexdigest(), self._count)

    def _unbroken(self) -> Iterator[bytes]:
        """A store does not go on with an object that was replaced, and says no more than that its body broke off."""
        try:
            yield from self._read()
        except Unreachable:
            with suppress(Unreachable):
                self._check_unchanged()
            raise

    def _check_unchanged(self) -> None:
        if self._etag_now() != self.etag:
            changed = f"{self.url} was changed while it was read; nothing was staged; try again when it is complete"
            raise BadInput(changed)

    def _check_whole(self) -> None:
        if self._count != self.size:
            raise Unreachable(f"{self.url} broke off after {self._count:,} of {self.size:,} bytes; try again")


@contextmanager
def open_source(url: str, reach: FileReach) -> Iterator[Source]:
    """Open a path or URL for the time of a block.

    Raises:
        BadInput: it may not be read, is not there, or is no file.
        Unreachable: its store does not answer.
    """
    place = locate(url, reach)
    if isinstance(place, InStore):
        yield _from_store(place, reach)
        return
    descriptor = _open(place)
    try:
        yield _from_disk(place, descriptor)
    finally:
        os.close(descriptor)


def etag_now(url: str, reach: FileReach) -> str:
    """The ETag of a path or URL at this moment; raises what `open_source` does."""
    place = locate(url, reach)
    if isinstance(place, InStore):
        return head(place, reach)
    with open_source(url, reach) as source:
        return source.etag


def _from_store(place: InStore, reach: FileReach) -> Source:
    found = open_object(place, reach, BLOCK)
    return Source(place.url, found.etag, found.size, found.blocks, lambda: head(place, reach))


# Files of this machine ------------------------------------------------------------------------------------------------


def _open(place: OnDisk) -> int:
    """Never waits, as for the other end of a pipe; what is not a plain file is refused."""
    try:
        descriptor = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it has a NUL character"
        raise BadInput(f"{place.url} cannot be read: {why}; give the path of a file") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise BadInput(f"{place.url} is not a plain file; give the path of a file, not of a directory or pipe")


def _from_disk(place: OnDisk, descriptor: int) -> Source:
    status = os.fstat(descriptor)

    def read() -> Iterator[bytes]:
        try:
            while block := os.read(descriptor, BLOCK):
                yield block
        except OSError as error:
            raise Unreachable(f"{place.url} broke off: {error.strerror}") from None

    return Source(place.url, _etag(status), status.st_size, read, lambda: _etag_of(place))


def _etag_of(place: OnDisk) -> str:
    try:
        return _etag(place.path.stat())
    except OSError:
        return "gone"


def _etag(status: os.stat_result) -> str:
    """Another one whenever somebody wrote to the file, or put another in its place."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
