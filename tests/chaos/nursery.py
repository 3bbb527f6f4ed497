"""Forks workers and mail sinks from a process that has imported everything: a start takes milliseconds, not seconds.

They are real processes all the same, each with its own id, connections and death.
"""

from __future__ import annotations

import contextlib
import importlib
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
from tests.chaos import backfill_child, hark_child, sink_child, worker_child
from tests.servers import Child, eventually, spawn

_LONGEST_ORDER = 65536
_LONGEST_START_S = 600.0
_ROLES = {
    "worker": worker_child.serve,
    "sink": sink_child.serve,
    "backfill": backfill_child.serve,
    "hark": hark_child.serve,
}


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
    """Where workers and sinks come from."""

    path: str

    def worker(self, order: worker_child.Order) -> Child:
        """A worker that has just been forked."""
        return self._child(f"worker {order.to_json()}")

    def sink(self, order: sink_child.SinkOrder) -> Child:
        """A mail sink that has just been forked."""
        return self._child(f"sink {order.to_json()}")

    def backfiller(self, order: backfill_child.Order) -> Child:
        """Somebody who takes part in a backfill, just forked."""
        return self._child(f"backfill {order.to_json()}")

    def hark(self, order: hark_child.Order) -> Child:
        """A command line of Hark's, just forked."""
        return self._child(f"hark {order.to_json()}")

    def _child(self, order: str) -> Child:
        line = socket.socket(socket.AF_UNIX)
        line.connect(self.path)
        line.sendall(order.encode())
        stdin, stdout = line.makefile("wb", buffering=0), line.makefile("rb", buffering=0)
        pid = int(stdout.readline())
        return Child(cast("Popen[bytes]", _Forked(pid, cast(BinaryIO, stdin), cast(BinaryIO, stdout), line)))


@contextlib.contextmanager
def nursery(*preloaded: str) -> Iterator[Nursery]:
    """Open one; all that came from it ends with it, at the latest.

    Args:
        preloaded: modules that it imports beforehand, for those who need more than all do.
    """
    with tempfile.TemporaryDirectory(prefix="hark-nursery-") as folder:
        path = str(Path(folder) / "door")
        with spawn("from tests.chaos.nursery import main; main()", path, *preloaded) as child:
            child.wait_for("open", _LONGEST_START_S)
            yield Nursery(path)
        eventually(
            lambda: not any(path in each.arguments for each in every_process()), "all that came from it has ended"
        )


def main() -> None:
    """Fork a child for each connection, until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets the dead at once
    for module in sys.argv[2:]:
        importlib.import_module(module)
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
                _become_child(line)
            line.close()


def _become_child(line: socket.socket) -> None:
    role, _, order = line.recv(_LONGEST_ORDER).decode().partition(" ")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for standard in (0, 1, 2):
        os.dup2(line.fileno(), standard)
    line.close()
    os.closerange(3, 64)  # the door and the other children's lines, which must not outlive their owners
    worker_child.say(str(os.getpid()))
    code = 1
    try:
        _ROLES[role](order)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)
