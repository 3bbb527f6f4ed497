"""Forks workers from a process that has imported everything already: a start takes milliseconds in place of seconds.

They are real processes all the same, each with its own id, connections and death.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import BinaryIO, cast

from hark.postgres.embedded.processes import every_process, find_process, send_signal
from tests.chaos import worker_child
from tests.servers import Child, eventually, spawn

_LONGEST_ORDER = 65536


@dataclass(slots=True)
class _Forked:
    """A process that is not our child, to be used like a `Popen`."""

    pid: int
    stdin: BinaryIO
    stdout: BinaryIO
    _line: socket.socket

    def kill(self) -> None:
        send_signal(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = 60.0) -> int:
        eventually(lambda: find_process(self.pid) is None, f"process {self.pid} ends", timeout)
        self._line.close()
        return 0


@dataclass(frozen=True, slots=True)
class Nursery:
    """Where workers come from."""

    path: str

    def worker(self, order: worker_child.Order) -> Child:
        """A worker that has just been forked."""
        line = socket.socket(socket.AF_UNIX)
        line.connect(self.path)
        line.sendall(order.to_json().encode())
        stdin, stdout = line.makefile("wb", buffering=0), line.makefile("rb", buffering=0)
        pid = int(stdout.readline())
        return Child(cast("Popen[bytes]", _Forked(pid, cast(BinaryIO, stdin), cast(BinaryIO, stdout), line)))


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Open one; all that came from it ends with it, at the latest."""
    with tempfile.TemporaryDirectory(prefix="hark-nursery-") as folder:
        path = str(Path(folder) / "door")
        with spawn("from tests.chaos.nursery import main; main()", path) as child:
            child.wait_for("open")
            yield Nursery(path)
        eventually(
            lambda: not any(path in each.arguments for each in every_process()), "all that came from it has ended"
        )


def main() -> None:
    """Fork a worker for each connection, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets the dead at once
    door = socket.socket(socket.AF_UNIX)
    door.bind(sys.argv[1])
    door.listen()
    worker_child.say("open")
    with selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while all(key.fileobj is door for key, _ in selector.select()):
            line, _ = door.accept()
            if os.fork() == 0:
                _become_worker(line)
            line.close()


def _become_worker(line: socket.socket) -> None:
    order = line.recv(_LONGEST_ORDER).decode()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for standard in (0, 1, 2):
        os.dup2(line.fileno(), standard)
    line.close()
    os.closerange(3, 64)  # the door and the other workers' lines, which must not outlive their owners
    worker_child.say(str(os.getpid()))
    code = 1
    try:
        worker_child.serve(order)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)
