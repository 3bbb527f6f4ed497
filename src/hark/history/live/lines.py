"""Lines of what may not be at its end: a file that somebody still writes, and standard input, which may never end."""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Protocol

POLL_S = 0.2
"""How long to wait for lines that are still to be written."""

_AT_ONCE = 2**16


class Source(Protocol):
    """Where lines come from.

    Attributes:
        ended: there are no more.
        torn: a line was left at the end, because only its beginning is there.
    """

    ended: bool
    torn: bool

    def read(self, most: int) -> Sequence[bytes]:
        """The next lines, as many as there are, and no more than that."""
        ...


@dataclass(slots=True)
class Written:
    """A file, read to where it ends now.

    A last line without its line end may be half of one. It is taken if it is a whole object of JSON, of which no
    beginning is one; else it is left where it is, for whoever reads the file next.
    """

    file: IO[bytes]
    ended: bool = False
    torn: bool = False

    def read(self, most: int) -> Sequence[bytes]:
        """See `Source`."""
        found: list[bytes] = []
        while len(found) < most and not self.ended:
            line = self.file.readline()
            if line.endswith(b"\n"):
                found.append(line)
                continue
            self.ended = True
            if _is_whole(line):
                found.append(line)
            else:
                self.torn = bool(line.strip())
        return found


@dataclass(slots=True)
class Piped:
    """A pipe, a terminal, or whatever else standard input is; read by nobody else.

    What is there is given after `POLL_S`, though no more comes. Nobody waits in a read, so whoever is told to stop can.
    Where it ends, nothing more is written: a last line without its line end is a line as well.
    """

    file: IO[bytes]
    ended: bool = False
    torn: bool = False
    _closed: bool = False
    _ready: deque[bytes] = field(default_factory=deque, repr=False)
    _begun: list[bytes] = field(default_factory=list, repr=False)

    def read(self, most: int) -> Sequence[bytes]:
        """See `Source`."""
        until = time.monotonic() + POLL_S
        while len(self._ready) < most and not self._closed and (left := until - time.monotonic()) > 0:
            if select.select([self.file], [], [], left)[0]:
                self._add(os.read(self.file.fileno(), _AT_ONCE))
        found = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        self.ended = self._closed and not self._ready
        return found

    def _add(self, some: bytes) -> None:
        *whole, rest = _cut(some)
        for line in whole:
            self._ready.append(b"".join((*self._begun, line)))
            self._begun.clear()
        if rest:
            self._begun.append(rest)
        if not some:
            self._closed = True
            if self._begun:
                self._ready.append(b"".join(self._begun))


def _cut(some: bytes) -> list[bytes]:
    """Lines with their ends, and what is left behind the last one."""
    *whole, rest = some.split(b"\n")
    return [*(line + b"\n" for line in whole), rest]


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
